"""A checkpoint on disk: some files, their tensors, and reads by range."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from datanode.errors import SourceError
from datanode.model import FileSpec, TensorSpec
from uploader.source import index, pinned, safetensors
from uploader.source.base import PinnedFile


class Checkpoint:
    """The one implementation of `Source` for local files; nothing is held open between reads.

    Args:
        location: Where it lies, as the operator named it.
        paths: Path in the source -> file on disk.
        skipped: What a folder holds beside them.

    Raises:
        SourceError: A file is malformed, or the files do not belong together.
    """

    def __init__(
        self, location: str, paths: Mapping[str, Path], skipped: Sequence[str] = ()
    ) -> None:
        self._location = location
        self._skipped = tuple(skipped)
        names = sorted(paths)  # ASCII, so code points sort as bytes do
        self._paths = tuple(paths[name] for name in names)
        self._pinned = tuple(pinned.pin(paths[name], name) for name in names)
        self._tensors = self._read_tensors()

    @property
    def location(self) -> str:
        """Where it lies, as the operator named it."""
        return self._location

    @property
    def skipped(self) -> tuple[str, ...]:
        """Paths of the folder that do not belong to the checkpoint."""
        return self._skipped

    def files(self) -> tuple[FileSpec, ...]:
        """List the files, sorted by path, bytewise."""
        return tuple(
            FileSpec(path=file.path, length_bytes=file.length_bytes) for file in self._pinned
        )

    def pinned(self) -> tuple[PinnedFile, ...]:
        """List what the files looked like when the source was opened."""
        return self._pinned

    def tensors(self) -> tuple[TensorSpec, ...]:
        """List the tensors of all files, sorted by file index, offset and name."""
        return self._tensors

    def read(self, file_index: int, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly `length_bytes` bytes of one file."""
        return pinned.read_exact(
            self._paths[file_index], self._pinned[file_index], offset_bytes, length_bytes
        )

    def check_unchanged(self) -> None:
        """Compare every file with what it was when the source was opened."""
        for path, file in zip(self._paths, self._pinned, strict=True):
            pinned.check(path, file)

    def close(self) -> None:
        """Do nothing: no file stays open between reads."""

    def _read_tensors(self) -> tuple[TensorSpec, ...]:
        tensors: list[TensorSpec] = []
        names: dict[str, frozenset[str]] = {}
        for number, (path, file) in enumerate(zip(self._paths, self._pinned, strict=True)):
            if file.path.endswith(safetensors.SUFFIX):
                found = safetensors.read_tensors(path, file, number)
                names[file.path] = frozenset(tensor.name for tensor in found)
                tensors += found
        for path, file in zip(self._paths, self._pinned, strict=True):
            if file.path.endswith(index.SUFFIX):
                index.check_index(read_index(path, file), names)
        index.check_numbered_shards(names)
        return tuple(tensors)


def read_index(path: Path, file: PinnedFile) -> index.ShardIndex:
    """Read an index file, bounded.

    Raises:
        SourceError: It is too large or malformed.
    """
    if file.length_bytes > index.MAX_INDEX_BYTES:
        raise SourceError(
            f"{file.path} has {file.length_bytes} bytes, the limit is {index.MAX_INDEX_BYTES}"
        )
    return index.parse_index(file.path, pinned.read_exact(path, file, 0, file.length_bytes))
