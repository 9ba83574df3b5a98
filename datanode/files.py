"""Files that are either whole or not there: written aside, fsynced, renamed."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from datanode.cleanup import undoing
from datanode.errors import NO_SPACE, DiskFullError, UsageError


@contextlib.contextmanager
def disk_errors(path: Path, *, safe: str = "Nothing was replaced.") -> Iterator[None]:
    """Turn the operating system's refusals into ours.

    Args:
        path: What is written or read.
        safe: What a full disk leaves unharmed.

    Raises:
        DiskFullError: No space, or no quota, is left.
        UsageError: The place cannot be written or read.
    """
    try:
        yield
    except OSError as error:
        if error.errno in NO_SPACE:
            raise DiskFullError(f"no space left to write {path}", safe=safe) from error
        raise UsageError(f"{path}: {error.strerror or error}") from error


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, which is made when needed: what is read inside is still so when written.

    Raises:
        DiskFullError: No space is left.
        UsageError: The folder cannot be written.
    """
    with disk_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        with disk_errors(path):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a small file atomically and durably.

    Raises:
        DiskFullError: No space is left; the old file is unchanged.
        UsageError: The folder cannot be written.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}.new")
    with disk_errors(path):
        with undoing(partial(aside.unlink, missing_ok=True)):
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        sync_folder(path.parent)
