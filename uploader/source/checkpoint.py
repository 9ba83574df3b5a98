"""A checkpoint: some files, their tensors, and reads by range."""

from collections.abc import Sequence

from datanode.errors import SourceError
from datanode.model import FileSpec, TensorSpec
from uploader.source import index, safetensors
from uploader.source.base import PinnedFile
from uploader.source.files import Files


class Checkpoint:
    """The one implementation of `Source`; it owns `files`.

    Args:
        files: Where they lie.
        names: Which of them belong to the checkpoint.
        skipped: What lies beside them.

    Raises:
        SourceError: A file is malformed, or the files do not belong together.
    """

    def __init__(self, files: Files, names: Sequence[str], skipped: Sequence[str] = ()) -> None:
        self._files = files
        self._skipped = tuple(skipped)
        # ASCII, so code points sort as bytes do
        self._pinned = tuple(files.pin(name) for name in sorted(names))
        self._tensors = self._read_tensors()

    @property
    def location(self) -> str:
        """Where it lies, as the operator named it."""
        return self._files.location

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
        return self._files.read(self._pinned[file_index], offset_bytes, length_bytes)

    def check_unchanged(self) -> None:
        """Compare every file with what it was when the source was opened."""
        for file in self._pinned:
            self._files.check(file)

    def close(self) -> None:
        """Give up what the files hold open."""
        self._files.close()

    def _read_tensors(self) -> tuple[TensorSpec, ...]:
        tensors: list[TensorSpec] = []
        names: dict[str, frozenset[str]] = {}
        for number, file in enumerate(self._pinned):
            if file.path.endswith(safetensors.SUFFIX):
                found = safetensors.read_tensors(self._files, file, number)
                names[file.path] = frozenset(tensor.name for tensor in found)
                tensors += found
        for file in self._pinned:
            if file.path.endswith(index.SUFFIX):
                index.check_index(read_index(self._files, file), names)
        index.check_numbered_shards(names)
        return tuple(tensors)


def read_index(files: Files, file: PinnedFile) -> index.ShardIndex:
    """Read an index file, bounded.

    Raises:
        SourceError: It is too large or malformed.
    """
    if file.length_bytes > index.MAX_INDEX_BYTES:
        raise SourceError(
            f"{file.path} has {file.length_bytes} bytes, the limit is {index.MAX_INDEX_BYTES}"
        )
    return index.parse_index(file.path, files.read(file, 0, file.length_bytes))
