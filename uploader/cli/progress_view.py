"""How far a run has come: a bar in a terminal, lines in a pipe, objects for a program."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

from datanode.progress import SilentProgress, Tally
from datanode.text import printable
from datanode.units import format_bytes, format_cycles, format_duration
from uploader.cli.pace import STEADY_S, Pace

_ROOMY: Final = 120
"""Columns of a terminal that has room for a bar beside the figures."""
_BAR: Final = 24
_SPINNER: Final = 2
_SHORTEST: Final = 8
"""Least of a stage that is shown."""
_TEXT_LIMIT: Final = 200


def figures(tally: Tally, rate: float | None, *, brief: bool = False) -> str:
    """Render a tally as bytes, rate, time to go and what was sent.

    Args:
        tally: The tally.
        rate: Bytes a second; None before it is known, which leaves out what depends on it.
        brief: Leave out the bytes that were sent.
    """
    parts = [f"{format_bytes(tally.done_bytes)} of {format_bytes(tally.total_bytes)}"]
    if rate is not None:
        parts.append(f"{format_bytes(int(rate))}/s")
        parts += _to_go(tally.done_bytes, tally.total_bytes, rate)
    if tally.sent_bytes:
        parts += [] if brief else [f"sent {format_bytes(tally.sent_bytes)}"]
        parts.append(format_cycles(tally.cycles))
    return "  ".join(parts)


def counted(done: int, total: int, what: str, rate: float | None) -> str:
    """Render a count of something."""
    return "  ".join([f"{done:,} of {total:,} {what}", *_to_go(done, total, rate)])


def _to_go(done: int, total: int, rate: float | None) -> list[str]:
    return [f"{format_duration((total - done) / rate)} to go"] if rate else []


class BarView:
    """Progress on a terminal: what happens, a bar where there is room, and whole figures."""

    def __init__(self, say: Callable[[str], None], bar: Bar, width: int) -> None:
        self._say, self._bar, self._width = say, bar, width
        self._pace = Pace()
        self._stage = self._figures = ""
        self._task = bar.add_task("starting", total=None, figures="")

    def stage(self, text: str) -> None:
        """Say what happens now."""
        self._stage = printable(text, _TEXT_LIMIT)
        self._bar.update(self._task, description=self._clipped())

    def note(self, text: str) -> None:
        """Say something worth keeping."""
        self._say(text)

    def tally(self, tally: Tally) -> None:
        """Report bytes."""
        now_s = time.monotonic()
        self._pace.note(now_s, tally.done_bytes - tally.known_bytes)
        told = figures(tally, self._pace.rate(now_s), brief=self._width < _ROOMY)
        self._show(tally.done_bytes, tally.total_bytes, told)

    def count(self, done_count: int, total_count: int, what: str) -> None:
        """Report a count."""
        now_s = time.monotonic()
        self._pace.note(now_s, done_count)
        told = counted(done_count, total_count, what, self._pace.rate(now_s))
        self._show(done_count, total_count, told)

    def _show(self, done: int, total: int, told: str) -> None:
        self._figures = told
        self._bar.update(
            self._task,
            description=self._clipped(),
            total=total or None,
            completed=done,
            figures=told,
        )

    def _clipped(self) -> str:
        taken = _SPINNER + len(self._figures) + 1 + (_BAR + 1 if self._width >= _ROOMY else 0)
        text = Text(self._stage)
        text.truncate(max(_SHORTEST, self._width - taken), overflow="ellipsis")
        return text.plain


@contextmanager
def live(say: Callable[[str], None], console: Console) -> Iterator[BarView]:
    """Show how far it is while the block runs."""
    columns = (
        SpinnerColumn("dots" if console.encoding.startswith("utf") else "line"),
        TextColumn("{task.description}", markup=False),
        *((BarColumn(bar_width=_BAR),) if console.width >= _ROOMY else ()),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    # Results go to where stdout goes, not to where the bar is.
    with Bar(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        yield BarView(say, bar, console.width)


class LineView(SilentProgress):
    """Progress as lines or objects: after two seconds, then at most one a period.

    Args:
        say: Tells a line.
        period_s: The period.
        emit: Writes fields instead, for programs.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        period_s: float,
        emit: Callable[[Mapping[str, int | float | str]], None] | None = None,
    ) -> None:
        self._say, self._period_s, self._emit = say, period_s, emit
        self._started = time.monotonic()
        self._next = self._started + min(period_s, STEADY_S)
        self._pace = Pace()

    def note(self, text: str) -> None:
        """Say something worth keeping."""
        self._say(text)

    def tally(self, tally: Tally) -> None:
        """Report bytes."""
        now_s = time.monotonic()
        self._pace.note(now_s, tally.done_bytes - tally.known_bytes)
        if not self._is_due(now_s):
            return
        if self._emit:
            self._emit({**asdict(tally), "elapsed_s": now_s - self._started})
        else:
            self._say(figures(tally, self._pace.rate(now_s)))

    def count(self, done_count: int, total_count: int, what: str) -> None:
        """Report a count."""
        now_s = time.monotonic()
        self._pace.note(now_s, done_count)
        if not self._is_due(now_s):
            return
        if self._emit:
            count = {"done_count": done_count, "total_count": total_count}
            self._emit({"what": what, **count, "elapsed_s": now_s - self._started})
        else:
            self._say(counted(done_count, total_count, what, self._pace.rate(now_s)))

    def _is_due(self, now_s: float) -> bool:
        if now_s < self._next:
            return False
        self._next = now_s + self._period_s
        return True
