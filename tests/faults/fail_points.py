"""Named points of an upload at which a test strikes: before and after each step at our ports.

A point is called `Outbox.put before` or `Transport.exchange after`; it is met as often as the step
is taken. Installed in a forked child only, because it replaces methods of the product's classes.
"""

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from datanode.agent.transport import Transport
from datanode.errors import DiskFullError, NetworkError, StateDamagedError
from datanode.node.canister import CanisterNode
from datanode.reader import Reader
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore

STEPS: Final[dict[type, tuple[str, ...]]] = {
    StateStore: (
        "begin_upload",
        "finish_file",
        "learn",
        "record_known",
        "record_intent",
        "settle",
        "seal",
    ),
    Outbox: ("put", "drop", "sweep"),
    CanisterNode: (
        "begin_upload",
        "find_contents",
        "pin_frames",
        "prepare",
        "send",
        "seal_model",
    ),
    Reader: ("remember",),
    Transport: ("exchange",),
    Path: ("replace", "unlink"),
}


class Action(StrEnum):
    """Kind of fault at a point."""

    KILL = "kill"
    ENOSPC = "enospc"
    EIO = "eio"
    DELAY = "delay"


_ERRORS: Final[dict[type, dict[Action, Callable[[], Exception]]]] = {
    StateStore: {
        Action.ENOSPC: lambda: DiskFullError("the disk is full: a fail point"),
        Action.EIO: lambda: StateDamagedError("the database cannot be read: a fail point"),
    },
    Outbox: {
        Action.ENOSPC: lambda: DiskFullError("the disk is full: a fail point"),
        Action.EIO: lambda: OSError(5, "input/output error: a fail point"),
    },
    Path: {
        Action.ENOSPC: lambda: OSError(28, "no space left on device: a fail point"),
        Action.EIO: lambda: OSError(5, "input/output error: a fail point"),
    },
}
_NO_ANSWER: Final = lambda: NetworkError("no answer: a fail point")  # noqa: E731


@dataclass(slots=True)
class FailPoints:
    """Counts the points, and strikes at one of them.

    Attributes:
        point: Where to strike; None only counts.
        nth: At which time that it is met, from 1.
        action: What to do there.
        met: How often each point was met.
    """

    point: str | None = None
    nth: int = 1
    action: Action = Action.KILL
    met: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def install(self) -> None:
        """Replace every step by one with a point before and behind it."""
        for owner, names in STEPS.items():
            for name in names:
                setattr(owner, name, self._watched(owner, name))

    def _watched(self, owner: type, name: str) -> Callable[..., object]:
        step = getattr(owner, name)

        def watched(*args: object, **kwargs: object) -> object:
            self._meet(owner, f"{owner.__name__}.{name} before")
            result = step(*args, **kwargs)
            self._meet(owner, f"{owner.__name__}.{name} after")
            return result

        return watched

    def _meet(self, owner: type, point: str) -> None:
        with self._lock:
            count = self.met[point] = self.met.get(point, 0) + 1
        if point == self.point and count == self.nth:
            self._strike(owner)

    def _strike(self, owner: type) -> None:
        match self.action:
            case Action.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Action.DELAY:
                time.sleep(0.3)
            case _:
                error = _ERRORS.get(owner, {}).get(self.action, _NO_ANSWER)
                raise error()
