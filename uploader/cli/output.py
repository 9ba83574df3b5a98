"""How a command speaks: tables and bars to a person, one JSON object a line to a program.

Results go to stdout, the rest to stderr. With `--json` every line is an object whose `type` is
`item`, `summary` (stdout), `status` or `error` (stderr). Integers stay integers; bytes are hex.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final, TextIO, TypeAlias

import typer
from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar

from datanode.errors import DataNodeError, UsageError
from datanode.text import printable
from datanode.units import format_bytes, format_cycles, format_duration
from uploader.cli.tables import fitted
from uploader.progress import Progress, Silent, Tally

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

_PIPE_PERIOD_S: Final = 60.0
_STATUS_PERIOD_S: Final = 1.0
_TEXT_LIMIT: Final = 4_000
_PIPE_COLUMNS: Final = 240
"""Width of a table that no terminal bounds, so that nothing in it is folded."""


class Output:
    """Writes what a command has to say.

    Attributes:
        as_json: Speak JSON.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json
        self._out = Console(highlight=False, soft_wrap=True)
        if not self._out.is_terminal and "COLUMNS" not in os.environ:
            self._out.width = _PIPE_COLUMNS
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)

    def item(self, **fields: Json) -> None:
        """Emit one result for programs; people get a table or lines instead."""
        if self.as_json:
            _line(sys.stdout, "item", fields)

    def summary(self, text: str, **fields: Json) -> None:
        """Emit the outcome of the command."""
        if self.as_json:
            _line(sys.stdout, "summary", fields)
        elif text:
            self._out.print(_safe(text), markup=False)

    def say(self, text: str) -> None:
        """Tell what is going on."""
        if self.as_json:
            _line(sys.stderr, "status", {"text": text})
        else:
            self._err.print(_safe(text), markup=False)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows to a person; with --json the items have said it already."""
        if self.as_json:
            return
        cells = [[printable(cell, _TEXT_LIMIT) for cell in row] for row in rows]
        self._out.print(fitted(columns, cells, self._out.width))

    def error(self, error: DataNodeError, *, code: int | None = None) -> None:
        """Say what happened, what is safe and what to do next; `code` if it is not its own."""
        if self.as_json:
            fields: dict[str, Json] = {
                "error": type(error).__name__,
                "exit_code": error.exit_code if code is None else code,
                "what": error.what,
                "safe": error.safe,
                "hint": error.hint,
            }
            _line(sys.stderr, "error", fields)
            return
        self._err.print(f"error: {_safe(error.what)}", markup=False, style="red")
        if error.safe:
            self._err.print(f"safe:  {_safe(error.safe)}", markup=False)
        if error.hint:
            self._err.print(f"next:  {_safe(error.hint)}", markup=False)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something is deleted, unless `yes`.

        Raises:
            UsageError: Nobody is there to be asked.
            Abort: The answer is no.
        """
        if yes:
            return
        if self.as_json or not sys.stdin.isatty():
            raise UsageError(
                "nobody can be asked whether to delete",
                safe="Nothing was deleted.",
                hint="Run the same command with --yes.",
            )
        typer.confirm(_safe(question), abort=True, err=True)

    def usage(self, text: str) -> None:
        """Say what is wrong with the command line."""
        self.error(UsageError(text, hint="`datanode COMMAND --help` shows what it takes."))

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Show progress while the block runs: a bar, JSON lines, or a line a minute in a pipe."""
        if self.as_json:
            yield _Lines(self, period_s=_STATUS_PERIOD_S)
        elif self._err.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[figures]}", markup=False),
            )
            with Bar(*columns, console=self._err, transient=True) as bar:
                yield _Live(self, bar)
        else:
            yield _Lines(self, period_s=_PIPE_PERIOD_S)


def figures(tally: Tally, elapsed_s: float) -> str:
    """Render a tally as bytes, rate, time to go and cycles."""
    rate = tally.done_bytes / elapsed_s if elapsed_s > 0 else 0.0
    left = tally.total_bytes - tally.done_bytes
    eta = format_duration(left / rate) if rate > 0 else "?"
    return (
        f"{format_bytes(tally.done_bytes)} of {format_bytes(tally.total_bytes)}"
        f"  {format_bytes(int(rate))}/s  {eta} to go"
        f"  sent {format_bytes(tally.sent_bytes)}  {format_cycles(tally.cycles)}"
    )


class _Live:
    """Progress on a terminal."""

    def __init__(self, output: Output, bar: Bar) -> None:
        self._output, self._bar = output, bar
        self._started = time.monotonic()
        self._task = bar.add_task("starting", total=None, figures="")

    def stage(self, text: str) -> None:
        self._bar.update(self._task, description=_safe(text))

    def note(self, text: str) -> None:
        self._output.say(text)

    def tally(self, tally: Tally) -> None:
        elapsed_s = time.monotonic() - self._started
        self._bar.update(
            self._task,
            total=tally.total_bytes or None,
            completed=tally.done_bytes,
            figures=figures(tally, elapsed_s),
        )


class _Lines(Silent):
    """Progress as lines, at most one a period."""

    def __init__(self, output: Output, *, period_s: float) -> None:
        self._output, self._period_s = output, period_s
        self._started = self._last = time.monotonic()

    def note(self, text: str) -> None:
        self._output.say(text)

    def tally(self, tally: Tally) -> None:
        now = time.monotonic()
        if now - self._last < self._period_s:
            return
        self._last = now
        if self._output.as_json:
            _line(sys.stderr, "status", {**asdict(tally), "elapsed_s": now - self._started})
        else:
            self._output.say(figures(tally, now - self._started))


def _safe(text: str) -> str:
    return "\n".join(printable(line, _TEXT_LIMIT) for line in text.split("\n"))


def _line(stream: TextIO, kind: str, fields: Mapping[str, Json]) -> None:
    stream.write(json.dumps({"type": kind, **fields}, ensure_ascii=True) + "\n")
    stream.flush()
