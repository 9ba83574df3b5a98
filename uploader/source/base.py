"""The protocol that sources implement, and the rules for paths."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from datanode.errors import SourceError
from datanode.limits import MAX_NAME_BYTES
from datanode.model import FileSpec, TensorSpec
from datanode.text import shown

_PATH: Final = re.compile(r"[A-Za-z0-9._/-]+")
_MAX_PART_BYTES: Final = 255
"""Longest name of a file in its folder, bytes. Source: NAME_MAX of Linux."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """A file, or an object of a bucket, as it was when the source was opened.

    Attributes:
        path: Relative to the source, as in the manifest.
        length_bytes: Its size.
        stamp: What changes with the content (`uploader/stamps.py`): the times of its last write and
            change; of an object, its ETag.
        inode: Which file it is; compared within a run only, a copied folder has others. 0: an
            object, or a file system that makes the numbers up.
        sha256: SHA-256 of the content, where the place states one.
    """

    path: str
    length_bytes: int
    stamp: int
    inode: int
    sha256: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A file of the folder that is not read.

    Attributes:
        path: Relative to the source.
        reason: Why, as a noun phrase.
    """

    path: str
    reason: str


class Source(Protocol):
    """A checkpoint whose bytes can be read by range, in any order, by any thread."""

    @property
    def location(self) -> str:
        """Where it lies, as an operator would name it."""
        ...

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """Files of the folder that do not belong to the checkpoint and are not read, and why."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Return notes about the files that are no errors."""
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

    def check_digest(self, file_index: int, sha256: bytes) -> None:
        """Compare the SHA-256 of what was read of a file with the one that its place states.

        Raises:
            SourceChangedError: They differ.
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
    if any(len(part) > _MAX_PART_BYTES for part in path.split("/")):
        raise SourceError(
            f"the file name {shown(path)} has a part of more than {_MAX_PART_BYTES} bytes: "
            "it could not be fetched to a disk"
        )
    return path


def check_together(paths: Collection[str]) -> None:
    """Check that files can lie in one folder: a bucket may hold both `a` and `a/b`, a disk not.

    Raises:
        SourceError: One is a file and a folder at once.
    """
    for path in paths:
        parent = path
        while "/" in parent:
            parent = parent.rpartition("/")[0]
            if parent in paths:
                raise SourceError(
                    f"{shown(parent)} is a file and also the folder of {shown(path)}: "
                    "they could not be fetched to a disk",
                    hint="Leave one of them out with --exclude.",
                )
