"""The one place where errors of databases become errors of ours."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from datanode.errors import (
    DataNodeError,
    DiskFullError,
    LeaseHeldError,
    NetworkError,
    StateDamagedError,
    UsageError,
)

_PRIMARY_CODE: Final = 0xFF
_SQLITE_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_READ_FAILED: Final = frozenset({sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ})
_LOCK_FAILED: Final = frozenset(
    {
        sqlite3.SQLITE_IOERR_LOCK,
        sqlite3.SQLITE_IOERR_UNLOCK,
        sqlite3.SQLITE_IOERR_RDLOCK,
        sqlite3.SQLITE_IOERR_CHECKRESERVEDLOCK,
        sqlite3.SQLITE_IOERR_SHMLOCK,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_PROTOCOL,
    }
)
"""A file system without locks, or whose locks fail."""
_SQLITE_DENIED: Final = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
)
_DISK_FULL_STATE: Final = "53100"
_REFUSING_STATES: Final = ("28", "3D", "3F", "42501", "25006")
"""No right, no such database or schema, a server that is read-only."""

_BUSY_STATES: Final = ("08", "25P", "40", "53", "55", "57", "58")
"""Connection lost, timeouts, conflicts, out of resources, locked, shutting down, system errors."""

_ASK: Final = "Ask who runs the server, or name another database with --state."
"""What to do about a server: there is no file to move away."""


@contextmanager
def mapped(shown_url: str) -> Iterator[None]:
    """Turn what SQLAlchemy and its drivers raise into the error tree, with the cause kept."""
    try:
        yield
    except (sqlite3.Error, SQLAlchemyError, ImportError, UnicodeDecodeError) as error:
        raise translate(error, shown_url) from error


def translate(error: Exception, shown_url: str) -> DataNodeError:
    """Choose the error of ours for one of theirs."""
    if isinstance(error, UnicodeDecodeError):  # sqlite3 lets a flipped bit in text escape as this
        return StateDamagedError(f"the state database {shown_url} is damaged: text is not UTF-8")
    if isinstance(error, (ArgumentError, NoSuchModuleError)):
        return UsageError(f"{shown_url} is not the URL of a database", hint="See --state.")
    if isinstance(error, ImportError):
        return UsageError(
            f"{shown_url} needs a driver that is not installed: {error.name}",
            hint="Install datanode[postgres].",
        )
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if isinstance(cause, sqlite3.Error):
        return _of_sqlite(cause, shown_url)
    if isinstance(error, DBAPIError):
        return _of_server(error, getattr(cause, "sqlstate", None) or "", shown_url)
    return StateDamagedError(f"the state database {shown_url} cannot be used: {error}")


def _of_sqlite(cause: sqlite3.Error, shown_url: str) -> DataNodeError:
    # Errors of the Python module itself carry no code.
    cause_code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = cause_code & _PRIMARY_CODE
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError(f"the disk of the state database {shown_url} is full")
    if cause_code in _LOCK_FAILED:
        return UsageError(
            f"the state database {shown_url} cannot be locked: {cause}",
            hint="Its file system has no locks: name a file on a local disk with --state.",
        )
    if code == sqlite3.SQLITE_IOERR and cause.sqlite_errorcode not in _READ_FAILED:
        # Short writes (a quota, a file size limit) come as I/O errors too.
        return DiskFullError(f"the state database {shown_url} cannot be written: {cause}")
    if code in _SQLITE_BUSY:
        return LeaseHeldError(
            f"another program holds the state database {shown_url}",
            hint="Wait for it to end, or name another database with --state.",
        )
    if code in _SQLITE_DENIED:
        return UsageError(
            f"the state database {shown_url} cannot be opened for writing: {cause}",
            hint="Check the permissions of its folder, or name another with --state.",
        )
    return StateDamagedError(f"the state database {shown_url} is damaged: {cause}")


def _of_server(error: DBAPIError, state: str, shown_url: str) -> DataNodeError:
    reason = str(error.orig).splitlines()[0] if str(error.orig) else type(error.orig).__name__
    if state == _DISK_FULL_STATE:
        return DiskFullError(
            f"the disk of the database server of {shown_url} is full",
            hint="Make room on the server and run the same command again.",
        )
    server = f"the database server of {shown_url}"
    if state.startswith(_REFUSING_STATES):
        return UsageError(f"{server} refuses: {reason}", hint=_ASK)
    unreachable = not state and isinstance(error, (OperationalError, InterfaceError))
    if unreachable or error.connection_invalidated:
        return NetworkError(f"{server} does not answer: {reason}")
    if state.startswith(_BUSY_STATES):
        return NetworkError(f"{server} cannot serve this now: {reason}")
    return StateDamagedError(f"{server} reports an error: {reason}", hint=_ASK)
