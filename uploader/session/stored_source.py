"""A version on a node as a checkpoint to upload from, for a fleet that cuts it another way."""

from typing import Final

from datanode.errors import SourceChangedError
from datanode.model import FileSpec, TensorSpec
from datanode.reader import VerifiedVersion, range_of_file
from datanode.reader.tensors import read_range
from uploader import stamps
from uploader.source.base import LeftOut, PinnedFile


class StoredSource:
    """A `Source` that reads a proven version; every chunk is verified.

    Args:
        version: The version; one over a fleet is read from its members.
    """

    def __init__(self, version: VerifiedVersion) -> None:
        self._version = version
        self._files: Final = version.head.files

    @property
    def location(self) -> str:
        """The version as `datanode status` shows it."""
        trusted = self._version.trusted
        return f"version {trusted.version} of {trusted.model} on {trusted.node}"

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
            FileSpec(path=entry.path, length_bytes=entry.length_bytes) for entry in self._files
        )

    def pinned(self) -> tuple[PinnedFile, ...]:
        """List the files with stamps of their content, so that any copy of it resumes."""
        return tuple(
            PinnedFile(
                path=entry.path,
                length_bytes=entry.length_bytes,
                stamp=stamps.of_tag(entry.sha256.hex()),
                inode=0,
            )
            for entry in self._files
        )

    def tensors(self) -> tuple[TensorSpec, ...]:
        """List the tensors."""
        return tuple(
            TensorSpec(
                name=entry.name,
                dtype=entry.dtype,
                shape=entry.shape,
                file_index=entry.file_index,
                offset_bytes=entry.offset_bytes,
                length_bytes=entry.length_bytes,
            )
            for entry in self._version.tensors()
        )

    def read(self, file_index: int, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly `length_bytes` bytes of one file.

        Raises:
            CorruptionError: A chunk is not what the manifest names.
        """
        whole = range_of_file(self._version, self._files[file_index])
        wanted = whole.part(offset_bytes, length_bytes)
        return b"".join(read_range(self._version, wanted, jobs=1))

    def check_digest(self, file_index: int, sha256: bytes) -> None:
        """Compare the SHA-256 of what was read with that of the manifest.

        Raises:
            SourceChangedError: They differ.
        """
        entry = self._files[file_index]
        if entry.sha256 != sha256:
            raise SourceChangedError(
                f"{entry.path} of {self.location} has another SHA-256 than its manifest states: "
                "it was sealed wrong"
            )

    def check_unchanged(self) -> None:
        """Accept it: a version never changes."""

    def close(self) -> None:
        """Leave the node open: another owns it."""
