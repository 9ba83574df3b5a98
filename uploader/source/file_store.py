"""Where the files of a checkpoint lie: the port that a disk, a bucket and a hub implement."""

import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from uploader.source.base import PinnedFile


class Files(Protocol):
    """Some files by name, a path below their root; any thread may read."""

    @property
    def location(self) -> str:
        """Where they lie, as an operator would name it."""
        ...

    def names(self) -> Iterator[str]:
        """List every file below the root, hidden ones and those in hidden folders left out."""
        ...

    def holds(self, name: str) -> bool:
        """Whether there is such a file."""
        ...

    def pin(self, name: str) -> PinnedFile:
        """Note what a file looks like now; reads hold it to that.

        Raises:
            SourceError: It is not there, is no file, or cannot be read.
        """
        ...

    def read(self, file: PinnedFile, offset_bytes: int, length_bytes: int) -> bytes:
        """Return exactly `length_bytes` bytes of a pinned file.

        Raises:
            SourceChangedError: It is not the file that was pinned.
            TruncatedSourceError: It ends early.
            SourceError: It cannot be read.
            NetworkError: Where it lies does not answer.
        """
        ...

    def check(self, file: PinnedFile) -> None:
        """Compare a file with its pin.

        Raises:
            SourceChangedError: It differs, or is gone.
        """
        ...

    def opened(self, file: PinnedFile, head: bytes) -> AbstractContextManager[Path]:
        """Give a path for a library that wants one: the file, or its first bytes at its length.

        Args:
            file: A pinned file.
            head: How it begins.
        """
        ...

    def close(self) -> None:
        """Give up what is held open."""
        ...


@contextmanager
def head_copy(file: PinnedFile, head: bytes) -> Iterator[Path]:
    """Give a temporary file with a file's first bytes and, as a hole, its length."""
    with tempfile.TemporaryDirectory(prefix="datanode-") as folder:
        path = Path(folder) / "head"
        with path.open("wb") as copy:
            copy.write(head)
            copy.truncate(file.length_bytes)
        yield path


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder that it is in, is hidden."""
    return any(part.startswith(".") for part in name.split("/"))
