"""The part of a checkpoint that one member of a fleet holds, as a checkpoint of its own.

A slice of tensors becomes a safetensors file: a header for what lies in it, then the bytes as they
stand in the original. Everything else is a file of the same bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from datanode.errors import SourceError
from datanode.model import FileSpec, TensorSpec
from uploader.chunker import Layout
from uploader.fleet_slices import Slice, slice_header, slice_tensors
from uploader.source.base import LeftOut, PinnedFile, Source, check_together


@dataclass(frozen=True, slots=True)
class _PartFile:
    slice: Slice
    header: bytes
    tensors: tuple[TensorSpec, ...]

    @property
    def length_bytes(self) -> int:
        return len(self.header) + self.slice.length_bytes


class PartSource:
    """A `Source` over slices of another one, which it does not own.

    Args:
        source: The whole checkpoint.
        layout: Its files, tensors and chunks.
        slices: What the member holds.

    Raises:
        SourceError: The names of the checkpoint's files collide with those of the slices.
    """

    def __init__(self, source: Source, layout: Layout, slices: Sequence[Slice]) -> None:
        self._source = source
        ordered = sorted(slices, key=lambda each: each.path)
        paths = [each.path for each in ordered]
        if len(set(paths)) < len(paths):
            raise SourceError(
                "a file of the checkpoint has the name of a slice of a fleet",
                hint="Rename the folder `slices` of the checkpoint.",
            )
        check_together(set(paths))
        self._files: Final = [
            _part_file(each, tensors)
            for each, tensors in zip(ordered, slice_tensors(layout, ordered), strict=True)
        ]

    @property
    def slices(self) -> tuple[Slice, ...]:
        """The slices, in the order of the part's files."""
        return tuple(file.slice for file in self._files)

    def header_bytes(self, file_index: int) -> int:
        """Count the bytes of the header that a file of the part has before its slice."""
        return len(self._files[file_index].header)

    @property
    def location(self) -> str:
        """Where the whole lies."""
        return self._source.location

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Nothing is left out of a part."""
        return ()

    @property
    def notes(self) -> tuple[str, ...]:
        """The whole has the notes."""
        return ()

    def files(self) -> tuple[FileSpec, ...]:
        """List the files of the part, sorted by path."""
        return tuple(
            FileSpec(path=file.slice.path, length_bytes=file.length_bytes) for file in self._files
        )

    def pinned(self) -> tuple[PinnedFile, ...]:
        """List the files of the part with the stamps of those that they are cut from."""
        originals = self._source.pinned()
        return tuple(
            PinnedFile(
                path=file.slice.path,
                length_bytes=file.length_bytes,
                stamp=originals[file.slice.file_index].stamp,
                inode=originals[file.slice.file_index].inode,
            )
            for file in self._files
        )

    def tensors(self) -> tuple[TensorSpec, ...]:
        """List the tensors of the part."""
        return tuple(
            TensorSpec(
                name=tensor.name,
                dtype=tensor.dtype,
                shape=tensor.shape,
                file_index=index,
                offset_bytes=len(file.header) + tensor.offset_bytes - file.slice.start_bytes,
                length_bytes=tensor.length_bytes,
            )
            for index, file in enumerate(self._files)
            for tensor in file.tensors
        )

    def read(self, file_index: int, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly `length_bytes` bytes of one file of the part."""
        file = self._files[file_index]
        ahead = file.header[offset_bytes : offset_bytes + length_bytes]
        if len(ahead) == length_bytes:
            return ahead
        start = file.slice.start_bytes + max(0, offset_bytes - len(file.header))
        return ahead + self._source.read(file.slice.file_index, start, length_bytes - len(ahead))

    def check_digest(self, file_index: int, sha256: bytes) -> None:
        """Compare the SHA-256 of a file that the part holds whole."""
        file = self._files[file_index].slice
        if not file.has_tensors and file.path == self._source.files()[file.file_index].path:
            self._source.check_digest(file.file_index, sha256)

    def check_unchanged(self) -> None:
        """Compare the files of the whole with what they were."""
        self._source.check_unchanged()

    def close(self) -> None:
        """Leave the whole open: another owns it."""


def _part_file(each: Slice, tensors: Sequence[TensorSpec]) -> _PartFile:
    header = slice_header(tensors, each.start_bytes) if each.has_tensors else b""
    return _PartFile(each, header, tuple(tensors))
