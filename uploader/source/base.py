"""What it takes to be a source, and the rules for the paths inside one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from datanode.errors import SourceError
from datanode.limits import MAX_NAME_BYTES
from datanode.model import FileSpec, TensorSpec

_PATH: Final = re.compile(r"[A-Za-z0-9._/-]+")
_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """A file, or an object of a bucket, as it was when the source was opened.

    Attributes:
        path: Relative to the source, as in the manifest.
        length_bytes: Its size.
        stamp: What changes with the content: the time of its last change, ns; of an object, a
            hash of its ETag.
        inode: Which file it is; compared within a run only, a copied folder has others. 0: an
            object.
    """

    path: str
    length_bytes: int
    stamp: int
    inode: int


class Source(Protocol):
    """A checkpoint whose bytes can be read by range, in any order, by any thread."""

    @property
    def location(self) -> str:
        """Where it lies, as an operator would name it."""
        ...

    @property
    def skipped(self) -> tuple[str, ...]:
        """Paths of the folder that do not belong to the checkpoint and are not read."""
        ...

    def files(self) -> Sequence[FileSpec]:
        """List the files, sorted by path, bytewise."""
        ...

    def pinned(self) -> Sequence[PinnedFile]:
        """List what the same files looked like when the source was opened."""
        ...

    def tensors(self) -> Sequence[TensorSpec]:
        """List the tensors of all files, sorted by file index, offset and name."""
        ...

    def read(self, file_index: int, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly `length_bytes` bytes of one file.

        Raises:
            SourceChangedError: The file is not the one that was opened.
            TruncatedSourceError: It ends early.
        """
        ...

    def check_unchanged(self) -> None:
        """Compare every file with what it was when the source was opened.

        Raises:
            SourceChangedError: One differs or is gone.
        """
        ...

    def close(self) -> None:
        """Give up what the source holds open; it is not read again."""
        ...


def shown(text: str) -> str:
    """Render untrusted text for a message: quoted, short, everything but plain ASCII escaped.

    Stricter than `datanode.text.printable`, because names are ASCII by rule: a blank at the end of
    one, or a letter that only looks like another, is what the message is about.
    """
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return ascii(cut)


def check_path(path: str) -> str:
    """Return `path` if a manifest may carry it.

    Raises:
        SourceError: It has other characters, leads out of its folder, or is too long.
    """
    if not _PATH.fullmatch(path):
        raise SourceError(
            f"the file name {shown(path)} has characters outside A-Z a-z 0-9 . _ / -",
            hint="Rename the file, or leave it out with --exclude.",
        )
    if ".." in path:
        raise SourceError(f"the file name {shown(path)} contains '..'")
    if path.startswith("/") or any(part in {"", "."} for part in path.split("/")):
        raise SourceError(f"the file name {shown(path)} is not a plain relative path")
    if len(path) > MAX_NAME_BYTES:
        raise SourceError(f"the file name {shown(path)} is longer than {MAX_NAME_BYTES} bytes")
    return path
