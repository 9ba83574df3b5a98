"""Where the state lies: the database, the outbox, and the locks.

Everything is under the user's state folder, keyed by what it belongs to, never in the current one::

    $XDG_STATE_HOME/datanode/state-<net>.db    uploads, messages, what nodes of a network hold
    $XDG_STATE_HOME/datanode/outbox/<key>/     signed messages of one identity to one node
    $XDG_STATE_HOME/datanode/lock/<key>        held while an upload of that identity to it runs

The key names network, identity and node, and nothing that has two spellings: neither the database's
URL nor the model. The outbox stays on this machine when the database is elsewhere (`--state
postgresql://...`).
"""

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from datanode.errors import DiskFullError, StateDamagedError, UsageError
from datanode.folders import state_folder
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
        network: SHA-256 of the network's root key, hex: a local network that was reset gives its
            new canisters the ids of old ones.
    """

    folder: Path
    url: str
    network: str = ""

    def key(self, node: Principal, identity: Principal) -> str:
        """Name the uploads of one identity to one node, however the state is spelled."""
        named = f"{self.network} {identity.text} {node.text}"
        return hashlib.sha256(named.encode()).hexdigest()[:_KEY_DIGITS]

    def outbox(self, node: Principal, identity: Principal) -> Path:
        """Return the folder for the signed messages of one identity to one node."""
        return self.folder / "outbox" / self.key(node, identity)


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
        root_key: The network's; each network has a default database of its own.

    Raises:
        UsageError: The URL is not one.
    """
    folder = state_folder(environment)
    network = hashlib.sha256(root_key).hexdigest()
    if state is None:
        url = _sqlite(str(folder / f"state-{network[:_NETWORK_DIGITS]}.db"))
    elif "://" not in state:
        url = _sqlite(state)
    else:
        url = _given(state)
    return StateLocation(folder=folder, url=url, network=network)


def _sqlite(path: str) -> str:
    """Return the URL of a SQLite file; `?`, `#` and `%` in a path are characters like others."""
    return URL.create("sqlite", database=_absolute(path)).render_as_string(hide_password=False)


def _absolute(path: str) -> str:
    try:
        expanded = Path(path).expanduser() if path.startswith("~") else Path(path)
        return str(expanded.absolute())
    except RuntimeError as error:
        raise UsageError(f"--state: {path} is in the home of an unknown user") from error


def _given(state: str) -> str:
    try:
        url = make_url(state)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError) as error:
        raise UsageError("--state is not the URL of a database") from error
    if backend != "sqlite" or url.database in {None, "", ":memory:"}:
        return state
    query = state.partition("?")[2]
    if query and not all("=" in part for part in query.split("&")):
        raise UsageError(
            "--state has a `?` in the name of its file",
            hint="Write it as %3F in a URL, or name the file by its path, without sqlite://.",
        )
    path = _absolute(str(url.database))
    return url.set(database=path).render_as_string(hide_password=False)


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
