"""A checkpoint: some files, their tensors, and reads by range."""

from collections.abc import Iterable, Sequence
from typing import Final

from datanode.errors import SourceChangedError, SourceError
from datanode.model import FileSpec, TensorSpec
from uploader.source import index, safetensors
from uploader.source.base import LeftOut, PinnedFile, check_together
from uploader.source.file_store import Files
from uploader.source.kinds import HEAD_BYTES, MAX_POINTER_BYTES, refuse_stand_in

_JSON: Final = ".json"


class Checkpoint:
    """The one implementation of `Source`; it owns `files`.

    Args:
        files: Where they lie.
        names: Which of them belong to the checkpoint.
        left_out: What lies beside them, and why it does not belong to it.

    Raises:
        SourceError: A file is malformed, or the files do not belong together.
    """

    def __init__(
        self, files: Files, names: Sequence[str], left_out: Sequence[LeftOut] = ()
    ) -> None:
        self._files = files
        self._left_out = tuple(left_out)
        self._notes: list[str] = []
        check_together(set(names))
        # ASCII, so code points sort as bytes do
        self._pinned = tuple(files.pin(name) for name in sorted(names))
        self._refuse_stand_ins()
        self._tensors = self._read_tensors()

    @property
    def location(self) -> str:
        """Where it lies, as the operator named it."""
        return self._files.location

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Files of the folder that do not belong to the checkpoint, and why."""
        return self._left_out

    @property
    def notes(self) -> tuple[str, ...]:
        """Return notes about the files that are no errors."""
        return tuple(self._notes)

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

    def check_digest(self, file_index: int, sha256: bytes) -> None:
        """Compare the SHA-256 of what was read of a file with the one that its place states."""
        file = self._pinned[file_index]
        if file.sha256 is not None and file.sha256 != sha256:
            raise SourceChangedError(
                f"{file.path} is not what {self.location} names: its SHA-256 is {sha256.hex()}, "
                f"named is {file.sha256.hex()}"
            )

    def check_unchanged(self) -> None:
        """Compare every file with what it was when the source was opened."""
        for file in self._pinned:
            self._files.check(file)

    def close(self) -> None:
        """Give up what the files hold open."""
        self._files.close()

    def _refuse_stand_ins(self) -> None:
        """Refuse a Git LFS pointer in place of any file, and a web page in place of JSON."""
        for file in self._pinned:
            is_json = file.path.endswith(_JSON)
            if not file.path.endswith(safetensors.SUFFIX) and (
                is_json or file.length_bytes <= MAX_POINTER_BYTES
            ):
                head = self._files.read(file, 0, min(HEAD_BYTES, file.length_bytes))
                refuse_stand_in(file.path, head, is_json=is_json)

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
                self._note(index.compare_index(read_index(self._files, file), names))
        self._note(index.compare_numbered_shards(names))
        return tuple(tensors)

    def _note(self, notes: Iterable[str]) -> None:
        self._notes += [note for note in notes if note not in self._notes]


def read_index(files: Files, file: PinnedFile) -> index.ShardIndex:
    """Read an index file, bounded.

    Raises:
        SourceError: It is too large or malformed.
    """
    if file.length_bytes > index.MAX_INDEX_BYTES:
        raise SourceError(
            f"{file.path} has {file.length_bytes} bytes, the limit is {index.MAX_INDEX_BYTES}"
        )
    raw = files.read(file, 0, file.length_bytes)
    refuse_stand_in(file.path, raw[:HEAD_BYTES], is_json=True)
    return index.parse_index(file.path, raw)
