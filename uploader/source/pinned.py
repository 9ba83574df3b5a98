"""Files on disk, pinned: each read proves first that the file is still the one that was opened.

A file is opened for each read and closed again. That costs microseconds beside megabytes, needs no
lock between threads and no limit of open files, and sees a replaced file at once.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from datanode.errors import SourceChangedError, SourceError, TruncatedSourceError
from datanode.text import shown
from uploader import stamps
from uploader.source.base import PinnedFile

_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


def pin(path: Path, name: str, *, ignore_inode: bool = False) -> PinnedFile:
    """Note what a file looks like now.

    Args:
        path: Where it is.
        name: Its path inside the source.
        ignore_inode: Do not compare inode numbers.

    Raises:
        SourceError: It is not a regular file, or cannot be read.
    """
    try:
        if not path.is_file():  # asked before opening: to open a pipe would wait for a writer
            raise _no_file(path, name)
        with path.open("rb", buffering=0) as file:
            found = os.fstat(file.fileno())
        has_inode = not ignore_inode and path.stat().st_ino == found.st_ino
    except OSError as error:
        raise SourceError(f"{shown(name)} cannot be read: {error.strerror}") from error
    return PinnedFile(
        path=name,
        length_bytes=found.st_size,
        stamp=stamps.of_times(found.st_mtime_ns, found.st_ctime_ns),
        inode=found.st_ino if has_inode else 0,
    )


def check(path: Path, pinned: PinnedFile) -> None:
    """Compare a file with its pin.

    Raises:
        SourceChangedError: It differs, or is gone.
    """
    with _mapped(pinned):
        _compare(path.stat(), pinned, path)


def read_exact(path: Path, pinned: PinnedFile, offset_bytes: int, length_bytes: int) -> bytes:
    """Return exactly `length_bytes` bytes of a pinned file.

    Raises:
        SourceChangedError: It is not the file that was pinned.
        TruncatedSourceError: It ends early.
        SourceError: The disk fails.
    """
    with _mapped(pinned), path.open("rb", buffering=0) as file:
        _compare(os.fstat(file.fileno()), pinned, path)
        file.seek(offset_bytes)
        parts = []
        missing = length_bytes
        while missing:
            part = file.read(missing)
            if not part:
                raise TruncatedSourceError(
                    f"{pinned.path} ends {missing} bytes early, at {offset_bytes + length_bytes}"
                )
            parts.append(part)
            missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _no_file(path: Path, name: str) -> SourceError:
    if path.exists():
        return SourceError(f"{shown(name)} is not a regular file")
    if path.is_symlink():
        return SourceError(
            f"{shown(name)} is a link to a file that is not there",
            hint="The download is probably incomplete: fetch the file again.",
        )
    return SourceError(f"there is no file {shown(name)}")


def _compare(found: os.stat_result, pinned: PinnedFile, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SourceChangedError(f"{pinned.path} is no longer a regular file")
    stamp = stamps.of_times(found.st_mtime_ns, found.st_ctime_ns)
    hint = ""
    if found.st_size != pinned.length_bytes:
        what = f"{pinned.length_bytes} bytes then, {found.st_size} now"
    elif stamps.is_doubt(stamp, pinned.stamp):
        what = "its time of change (ctime) differs, its size and time of writing do not"
        hint = "Run the same command again: the file is read again, and nothing is paid twice."
    elif stamp != pinned.stamp:
        what = "it was written to"
    elif pinned.inode not in {0, found.st_ino} and path.stat().st_ino == path.stat().st_ino:
        what = "another file lies in its place"
        hint = "Run with --ignore-inode if its file system makes inode numbers up."
    else:
        return
    raise SourceChangedError(f"{pinned.path} has changed since it was opened: {what}", hint=hint)


@contextmanager
def _mapped(pinned: PinnedFile) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _GONE:
            raise SourceChangedError(f"{pinned.path} is gone") from error
        raise SourceError(f"{pinned.path} cannot be read: {error.strerror}") from error
