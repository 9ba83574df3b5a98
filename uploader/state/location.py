"""Where the state lies: the database, the outbox, and the lock of one upload.

Everything is under the user's state folder, keyed by what it belongs to, never in the current one::

    $XDG_STATE_HOME/datanode/state-<net>.db    uploads, messages, what nodes of a network hold
    $XDG_STATE_HOME/datanode/outbox/<key>/     signed messages of one (database, node, model)
    $XDG_STATE_HOME/datanode/lock/<key>        held while that upload runs

The outbox stays on this machine when the database is elsewhere (`--state postgresql://...`).
"""

import errno
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from datanode.errors import DiskFullError, LeaseHeldError, StateDamagedError, UsageError
from datanode.principal import Principal

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_DENIED: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
)
_KEY_DIGITS: Final = 32
_NETWORK_DIGITS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLocation:
    """Where one user's state lies.

    Attributes:
        folder: The user's state folder of this project.
        url: URL of the database.
    """

    folder: Path
    url: str

    def outbox(self, node: Principal, model: str) -> Path:
        """Return the folder for the signed messages of one upload."""
        return self.folder / "outbox" / self._key(node, model)

    @contextmanager
    def lock(self, node: Principal, model: str) -> Iterator[None]:
        """Hold an upload for this process; the system lets go of it even after kill -9.

        Raises:
            LeaseHeldError: Another process of this machine holds it.
        """
        path = self.folder / "lock" / self._key(node, model)
        with mapped_os_errors(self.folder):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not _try_lock(descriptor):
                holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
                raise LeaseHeldError(
                    f"another process (pid {holder}) uploads {model} to {node} from this state",
                    hint="Wait for it to end, or stop it; it resumes where it stopped.",
                )
            os.truncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
            yield
        finally:
            os.close(descriptor)

    def _key(self, node: Principal, model: str) -> str:
        named = "\0".join((make_url(self.url).render_as_string(), node.text, model))
        return hashlib.sha256(named.encode()).hexdigest()[:_KEY_DIGITS]


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for this user's state; it need not exist."""
    if (base := environment.get("XDG_STATE_HOME")) and Path(base).is_absolute():
        return Path(base) / "datanode"
    if sys.platform == "win32" and (base := environment.get("LOCALAPPDATA")):
        return Path(base) / "datanode"
    return Path.home() / ".local" / "state" / "datanode"


def locate(
    state: str | None = None,
    environment: Mapping[str, str] = os.environ,
    *,
    root_key: bytes = b"",
) -> StateLocation:
    """Find the state.

    Args:
        state: URL of a database, or path of a SQLite file; None for the default.
        environment: Where XDG_STATE_HOME is looked up.
        root_key: The network's. Each has a default database of its own, because a local network
            that was reset gives its new canisters the ids of old ones.

    Raises:
        UsageError: The URL is not one.
    """
    folder = state_folder(environment)
    if state is None:
        network = hashlib.sha256(root_key).hexdigest()[:_NETWORK_DIGITS]
        return StateLocation(folder=folder, url=f"sqlite:///{folder / f'state-{network}.db'}")
    if "://" not in state:
        return StateLocation(folder=folder, url=f"sqlite:///{Path(state).expanduser().absolute()}")
    try:
        make_url(state)
    except (ArgumentError, ValueError) as error:
        raise UsageError("--state is not the URL of a database") from error
    return StateLocation(folder=folder, url=state)


@contextmanager
def mapped_os_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the file system into ours.

    Raises:
        DiskFullError: There is no room.
        UsageError: The folder cannot be written.
        StateDamagedError: The disk fails.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _FULL:
            raise DiskFullError(f"the disk of {folder} is full: {reason}") from error
        if error.errno in _DENIED:
            raise UsageError(
                f"{folder} cannot be written: {reason}", hint="Check its permissions."
            ) from error
        raise StateDamagedError(f"the disk of {folder} fails: {reason}") from error


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
