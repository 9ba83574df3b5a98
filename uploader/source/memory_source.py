"""A checkpoint of files that were made here, such as the index of a fleet."""

import hashlib
from collections.abc import Mapping
from typing import Final

from datanode.model import FileSpec, TensorSpec
from uploader import stamps
from uploader.source.base import LeftOut, PinnedFile


class MemorySource:
    """A `Source` whose files are in memory; they hold no tensors.

    Args:
        location: Where they come from, as an operator would name it.
        files: Bytes by path.
    """

    def __init__(self, location: str, files: Mapping[str, bytes]) -> None:
        self._location = location
        self._paths: Final = sorted(files)
        self._data: Final = [files[path] for path in self._paths]

    @property
    def location(self) -> str:
        """Where the files come from."""
        return self._location

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Nothing is left out."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """There are no notes."""
        return ()

    def files(self) -> tuple[FileSpec, ...]:
        """List the files, sorted by path."""
        return tuple(
            FileSpec(path=path, length_bytes=len(data))
            for path, data in zip(self._paths, self._data, strict=True)
        )

    def pinned(self) -> tuple[PinnedFile, ...]:
        """List the files, with stamps of their content."""
        return tuple(
            PinnedFile(
                path=path,
                length_bytes=len(data),
                stamp=stamps.of_tag(hashlib.sha256(data).hexdigest()),
                inode=0,
            )
            for path, data in zip(self._paths, self._data, strict=True)
        )

    def tensors(self) -> tuple[TensorSpec, ...]:
        """Return nothing: there are no tensors."""
        return ()

    def read(self, file_index: int, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly `length_bytes` bytes of one file."""
        return self._data[file_index][offset_bytes : offset_bytes + length_bytes]

    def check_digest(self, file_index: int, sha256: bytes) -> None:
        """Accept it: memory does not change."""

    def check_unchanged(self) -> None:
        """Accept it: memory does not change."""

    def close(self) -> None:
        """Nothing is open."""
