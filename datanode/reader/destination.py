"""Where a fetched file goes: beside its place first, and then into it, if that may be.

The unfinished file lies beside the place under a name that no manifest can contain (`~` is not
among its letters). Only a plain file with one name is replaced: whatever else lies in the place, a
link, a folder, a pipe, a device or a file with several names, is left alone.
"""

import contextlib
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from datanode.errors import DestinationError, UsageError
from datanode.files import sync_folder

_ASIDE: Final = "~datanode"
_MAX_NAME_BYTES: Final = 255
"""Longest name of a file, bytes. Source: NAME_MAX of Linux; macOS has the same."""

_DIGEST_CHARACTERS: Final = 16
_KINDS: Final = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISCHR, "a character device"),
)


def place_of(destination: Path, path: str) -> Path:
    """Find where a file of a model goes below a folder, and check that it may.

    Raises:
        DestinationError: Something lies there that is not replaced.
        UsageError: A link on the way leads out of the folder, or in a circle.
    """
    place = destination / path
    try:
        is_inside = place.parent.resolve().is_relative_to(destination.resolve())
    except (OSError, RuntimeError) as error:  # RuntimeError: how Python 3.12 calls a circle
        raise UsageError(f"{place.parent} leads nowhere: {error}") from error
    if not is_inside:
        raise UsageError(f"{place.parent} leads out of {destination}: nothing is written there")
    for folder in place.parents:
        if folder == destination.parent:
            break
        if folder.exists() and not folder.is_dir():
            raise DestinationError(
                f"{folder} is a file where a folder is needed", safe="It is left alone."
            )
    check_place(place)
    return place


def check_place(place: Path) -> None:
    """Check that nothing lies in a place, or a plain file with one name.

    Raises:
        DestinationError: Something else does; it is left alone.
    """
    try:
        found = place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    _check_plain(place, found)


def _check_plain(path: Path, found: os.stat_result) -> None:
    kind = next((name for fits, name in _KINDS if fits(found.st_mode)), None)
    if kind is None and found.st_nlink > 1:
        kind = f"a file with {found.st_nlink} names (hard links)"
    if kind is not None:
        raise DestinationError(
            f"{path} is {kind}: it is not replaced by a file of the model",
            safe="It is left alone.",
        )


@contextlib.contextmanager
def unfinished(place: Path) -> Iterator[BinaryIO]:
    """Open the unfinished file of a place, for this process alone.

    Raises:
        DestinationError: Something else lies there; it is left alone.
        UsageError: Another process writes it.
    """
    path = _aside(place)
    check_place(path)
    # A link in its place would make us write somewhere else, a pipe would make us wait.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        _check_plain(path, os.fstat(descriptor))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(place) from None
        if not _is_still_at(path, descriptor):
            # Whoever had the lock has renamed it to its place: this is the finished file now.
            raise _busy(place)
        yield file


def finish(file: BinaryIO, place: Path) -> None:
    """Put the unfinished file into its place, durably."""
    file.flush()
    os.fsync(file.fileno())
    check_place(place)
    _aside(place).replace(place)
    sync_folder(place.parent)


def _aside(place: Path) -> Path:
    """Name the unfinished file; a name that would be too long is cut and told apart by a digest."""
    name = os.fsencode(place.name)
    if len(name) + len(_ASIDE) <= _MAX_NAME_BYTES:
        return place.with_name(place.name + _ASIDE)
    digest = hashlib.sha256(name).hexdigest()[:_DIGEST_CHARACTERS]
    start = name[: _MAX_NAME_BYTES - len(_ASIDE) - 1 - _DIGEST_CHARACTERS]
    return place.with_name(f"{os.fsdecode(start)}~{digest}{_ASIDE}")


def _busy(place: Path) -> UsageError:
    return UsageError(f"another process is writing {place}")


def _is_still_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
