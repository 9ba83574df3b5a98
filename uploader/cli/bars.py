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

from datanode.text import printable
from datanode.units import format_bytes, format_cycles, format_duration
from uploader.progress import Silent, Tally

_STEADY_S: Final = 2.0
"""How long a rate must have been measured before it tells the time to go."""
_ROOMY: Final = 120
"""Columns of a terminal that has room for a bar beside the figures."""
_BAR: Final = 24
_SPINNER: Final = 2
_SHORTEST: Final = 8
"""Least of a stage that is shown."""
_TEXT_LIMIT: Final = 200


def figures(tally: Tally, elapsed_s: float, *, brief: bool = False) -> str:
    """Render a tally as bytes, rate, time to go and what was sent; briefly without its bytes."""
    parts = [
        f"{format_bytes(tally.done_bytes)} of {format_bytes(tally.total_bytes)}",
        f"{format_bytes(int(_rate(tally.done_bytes, elapsed_s)))}/s",
        _to_go(tally.done_bytes, tally.total_bytes, elapsed_s),
    ]
    if tally.sent_bytes:
        parts += [] if brief else [f"sent {format_bytes(tally.sent_bytes)}"]
        parts.append(format_cycles(tally.cycles))
    return "  ".join(parts)


def counted(done: int, total: int, what: str, elapsed_s: float) -> str:
    """Render a count of something."""
    return f"{done:,} of {total:,} {what}  {_to_go(done, total, elapsed_s)}"


def _rate(done: int, elapsed_s: float) -> float:
    return done / elapsed_s if elapsed_s > 0 else 0.0


def _to_go(done: int, total: int, elapsed_s: float) -> str:
    rate = _rate(done, elapsed_s)
    known = rate > 0 and (elapsed_s >= _STEADY_S or done >= total)
    return f"{format_duration((total - done) / rate) if known else '?'} to go"


class Live:
    """Progress on a terminal: what happens, a bar where there is room, and whole figures."""

    def __init__(self, say: Callable[[str], None], bar: Bar, width: int) -> None:
        self._say, self._bar, self._width = say, bar, width
        self._started = time.monotonic()
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
        brief = self._width < _ROOMY
        told = figures(tally, time.monotonic() - self._started, brief=brief)
        self._show(tally.done_bytes, tally.total_bytes, told)

    def count(self, done_count: int, total_count: int, what: str) -> None:
        """Report a count."""
        told = counted(done_count, total_count, what, time.monotonic() - self._started)
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
def live(say: Callable[[str], None], console: Console) -> Iterator[Live]:
    """Show how far it is while the block runs."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *((BarColumn(bar_width=_BAR),) if console.width >= _ROOMY else ()),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    # Results go to where stdout goes, not to where the bar is.
    with Bar(*columns, console=console, transient=True, redirect_stdout=False) as bar:
        yield Live(say, bar, console.width)


class Lines(Silent):
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
        self._next = self._started + min(period_s, _STEADY_S)

    def note(self, text: str) -> None:
        """Say something worth keeping."""
        self._say(text)

    def tally(self, tally: Tally) -> None:
        """Report bytes."""
        if (elapsed_s := self._due()) is None:
            return
        if self._emit:
            self._emit({**asdict(tally), "elapsed_s": elapsed_s})
        else:
            self._say(figures(tally, elapsed_s))

    def count(self, done_count: int, total_count: int, what: str) -> None:
        """Report a count."""
        if (elapsed_s := self._due()) is None:
            return
        if self._emit:
            count = {"done_count": done_count, "total_count": total_count}
            self._emit({"what": what, **count, "elapsed_s": elapsed_s})
        else:
            self._say(counted(done_count, total_count, what, elapsed_s))

    def _due(self) -> float | None:
        now = time.monotonic()
        if now < self._next:
            return None
        self._next = now + self._period_s
        return now - self._started
