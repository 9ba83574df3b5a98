"""Uploads of one identity to one node run one after another.

Two at once would each send what the other is about to send. So an upload holds a lock that every
spelling of the state leads to: a file in the user's state folder, another beside a SQLite database,
which several users may share, and an advisory lock in a PostgreSQL server, where uploads of several
hosts meet. The operating system or the server releases them, even after kill -9.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sqlalchemy import make_url

from datanode.errors import LeaseHeldError, StoppedByUserError
from datanode.files import LockFile
from datanode.principal import Principal
from uploader.state.location import StateLocation
from uploader.state.server_lock import ServerLock

_LOOK_UP_S: Final = 0.25
"""How often a waiting upload tries again, seconds."""


class _Lock(Protocol):
    def try_acquire(self, holder: str) -> str | None:
        """Acquire for `holder` and return None, or return who holds it."""
        ...

    def release(self) -> None:
        """Release; also what was never acquired."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Queueing:
    """How an upload behaves while another one holds the lock.

    Attributes:
        wait: Wait for it; otherwise fail at once.
        say: Told once, when the waiting begins.
        stopping: Turns true when the user wants to stop.
        sleep: Waits, seconds.
    """

    wait: bool = True
    say: Callable[[str], None] = lambda _: None
    stopping: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep


@contextmanager
def upload_lock(
    location: StateLocation,
    node: Principal,
    identity: Principal,
    model: str,
    queueing: Queueing | None = None,
) -> Iterator[None]:
    """Hold the uploads of one identity to one node for the block.

    Raises:
        LeaseHeldError: Another upload holds them, and waiting was not asked for.
        StoppedByUserError: The user wants to stop while it waits.
        UsageError: The file system or the server cannot lock.
        NetworkError: The server does not answer.
    """
    holder = f"{model}, pid {os.getpid()} on {socket.gethostname()}"
    with ExitStack() as stack:
        for lock in _locks(location, location.key(node, identity)):
            stack.callback(lock.release)
            _acquire(lock, holder, node, queueing or Queueing())
        yield


def _locks(location: StateLocation, key: str) -> Iterator[_Lock]:
    yield LockFile(location.folder / "lock" / key)
    url = make_url(location.url)
    if url.get_backend_name() == "postgresql":
        yield ServerLock(url, key)
        return
    database = Path(str(url.database)).resolve()
    yield LockFile(database.with_name(f"{database.name}.lock-{key}"))


def _acquire(lock: _Lock, holder: str, node: Principal, queueing: Queueing) -> None:
    waiting = False
    while (other := lock.try_acquire(holder)) is not None:
        if not queueing.wait:
            raise LeaseHeldError(
                f"another upload of this identity to {node} is running ({other})",
                safe="Nothing was sent.",
                hint="Wait for it to end, or leave out --no-wait to start when it has ended.",
            )
        if not waiting:
            queueing.say(f"waiting for another upload of this identity to {node} ({other})")
            waiting = True
        if queueing.stopping():
            raise StoppedByUserError("stopped while waiting", safe="Nothing was sent.")
        queueing.sleep(_LOOK_UP_S)
