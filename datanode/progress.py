"""Progress reporting; the command line decides how it is shown.

A session calls a `Progress`; nothing here prints. Figures are totals since the start of the run,
so that a listener may drop any number of reports and still be right. Callers from Python may pass
less than a `Progress`: a callback, or a bar like those of tqdm (`as_progress`).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, runtime_checkable

from datanode.errors import UsageError

log: Final = logging.getLogger("datanode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far a run has come.

    Attributes:
        total_bytes: Raw bytes of the whole job; 0 while unknown.
        done_bytes: Raw bytes that need no more work.
        known_bytes: Of those, raw bytes that the node held already.
        sent_bytes: Bytes of signed messages sent, each counted once.
        frames_count: Frames that this run stored.
        messages_count: Messages that were settled.
        cycles: Estimated cycles of those messages.
    """

    total_bytes: int = 0
    done_bytes: int = 0
    known_bytes: int = 0
    sent_bytes: int = 0
    frames_count: int = 0
    messages_count: int = 0
    cycles: int = 0


@runtime_checkable
class Progress(Protocol):
    """A listener. Its methods return at once and never raise."""

    def stage(self, text: str) -> None:
        """Say what happens now, in a few words."""
        ...

    def note(self, text: str) -> None:
        """Say something worth keeping, such as a retry or a resumed message."""
        ...

    def tally(self, tally: Tally) -> None:
        """Report how far the run has come."""
        ...

    def count(self, done_count: int, total_count: int, what: str) -> None:
        """Report how many of something are done, where bytes do not tell."""
        ...


class SilentProgress:
    """Listens and says nothing; what a library call uses."""

    def stage(self, text: str) -> None:
        """Ignore the stage."""

    def note(self, text: str) -> None:
        """Ignore the note."""

    def tally(self, tally: Tally) -> None:
        """Ignore the tally."""

    def count(self, done_count: int, total_count: int, what: str) -> None:
        """Ignore the count."""


@runtime_checkable
class ProgressBar(Protocol):
    """A bar in the manner of tqdm: `tqdm(unit="B", unit_scale=True)` is one."""

    total: float | None
    n: float

    def update(self, n: float | None = 1) -> object:
        """Advance the bar by `n`."""
        ...


ProgressLike: TypeAlias = Progress | ProgressBar | Callable[[int, int], object]
"""Listeners that the functions of `datanode` take: a `Progress`, a bar, or `callback(done, total)`.

Totals are bytes where bytes are moved, and chunks in an audit; 0 while they are not known."""


def as_progress(listener: ProgressLike | None) -> Progress:
    """Adapt what a caller passed as `progress=`; None listens to nothing.

    Raises:
        UsageError: It is no listener.
    """
    if listener is None:
        return LoggedProgress(_ignore)
    if isinstance(listener, type):
        raise UsageError(
            f"progress={listener.__name__} is a class", hint="Pass an instance, e.g. tqdm()."
        )
    if isinstance(listener, Progress):
        return listener
    if isinstance(listener, ProgressBar):
        return LoggedProgress(_BarCallback(listener))
    if callable(listener):
        return LoggedProgress(listener)
    raise UsageError(
        f"progress takes a callable or a bar, not {type(listener).__name__}",
        hint="Pass a function of (done, total), or a tqdm bar.",
    )


class LoggedProgress:
    """Passes figures to a callback and notes to the logger `datanode`.

    Args:
        callback: Called with what is done and the total.
    """

    def __init__(self, callback: Callable[[int, int], object]) -> None:
        self._callback = callback

    def stage(self, text: str) -> None:
        """Log the stage."""
        log.debug("%s", text)

    def note(self, text: str) -> None:
        """Log the note."""
        log.info("%s", text)

    def tally(self, tally: Tally) -> None:
        """Report bytes."""
        self._callback(tally.done_bytes, tally.total_bytes)

    def count(self, done_count: int, total_count: int, what: str) -> None:  # noqa: ARG002 - a port
        """Report a count."""
        self._callback(done_count, total_count)


class _BarCallback:
    """Moves a bar to a total instead of by a step."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar

    def __call__(self, done: int, total: int) -> None:
        if total and self._bar.total != total:
            self._bar.total = total
        self._bar.update(done - self._bar.n)


def _ignore(_done: int, _total: int) -> None:
    pass
