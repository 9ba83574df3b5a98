"""Files that are either whole or not there: written aside, fsynced, renamed."""

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

from datanode.cleanup import rollback_on_error
from datanode.errors import NO_SPACE, DiskFullError, UsageError

_HOLDER_BYTES: Final = 512
"""Most bytes of a lock file that are shown."""

try:
    import fcntl
except ModuleNotFoundError:
    raise ImportError(
        "datanode needs the file locks of POSIX: run it on Linux or macOS; on Windows, use WSL"
    ) from None

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700


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
        UsageError: The folder cannot be written, or its file system has no locks.
    """
    descriptor = _open_lock(path)
    try:
        _flock(descriptor, path, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


class LockFile:
    """A lock that one process holds at a time, released by the system even after kill -9.

    Args:
        path: The file; it is made when needed, and stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def try_acquire(self, holder: str) -> str | None:
        """Acquire for `holder` and return None, or return who holds it.

        Raises:
            DiskFullError: No space is left.
            UsageError: The folder cannot be written, or its file system has no locks.
        """
        descriptor = _open_lock(self._path)
        with rollback_on_error(partial(os.close, descriptor)):
            held = _flock(descriptor, self._path, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if held:
                with disk_errors(self._path):
                    os.truncate(descriptor, 0)
                    os.write(descriptor, holder.encode())
                self._descriptor = descriptor
                return None
        with contextlib.closing(os.fdopen(descriptor, "rb")) as file:
            return file.read(_HOLDER_BYTES).decode(errors="replace") or "another process"

    def release(self) -> None:
        """Release; also what was never acquired."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _open_lock(path: Path) -> int:
    with disk_errors(path):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)


def _flock(descriptor: int, path: Path, operation: int) -> bool:
    """Lock a file; False if another holds it and `operation` does not wait."""
    try:
        fcntl.flock(descriptor, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        raise UsageError(
            f"{path} cannot be locked: {error.strerror or error}",
            safe="Nothing was changed.",
            hint="Its file system has no locks: set XDG_STATE_HOME and XDG_CONFIG_HOME to folders "
            "of a local disk.",
        ) from error
    return True


def make_private(path: Path) -> None:
    """Make a file that only its owner may read: created empty, or its permissions narrowed.

    An existing file is not opened: closing it would release the locks that SQLite holds on it in
    this process.

    Raises:
        OSError: The folder cannot be written, or the file is another user's.
    """
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
    except FileExistsError:
        if path.is_file() and path.stat().st_mode & ~PRIVATE_FILE & 0o777:
            path.chmod(PRIVATE_FILE)


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
        with rollback_on_error(partial(aside.unlink, missing_ok=True)):
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        sync_folder(path.parent)
