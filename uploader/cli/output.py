"""How a command speaks: tables and bars to a person, one JSON object a line to a program.

Results go to stdout, the rest to stderr. With `--json` every line is an object whose `type` is
`item`, `summary` (stdout), `status` or `error` (stderr). Integers stay integers; bytes are hex.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, TextIO, TypeAlias

import typer

from datanode.errors import DataNodeError, UsageError
from datanode.progress import Progress
from datanode.text import printable

if TYPE_CHECKING:
    from rich.console import Console

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

_PIPE_PERIOD_S: Final = 60.0
_STATUS_PERIOD_S: Final = 1.0
_TEXT_LIMIT: Final = 4_000
_USAGE: Final = "`datanode --help` lists the commands, `datanode COMMAND --help` what one takes."
_PIPE_COLUMNS: Final = 240
"""Width of a table that no terminal bounds, so that nothing in it is folded."""
_LEAST_COLUMNS: Final = 20
"""Into less, which is an error of the environment, nothing would be shown at all."""


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console  # noqa: PLC0415 - help needs none

    # What looks like markup or like the code of a picture is a name to us.
    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


class Output:
    """Writes what a command has to say.

    Attributes:
        as_json: Speak JSON.
    """

    def __init__(self, *, as_json: bool = False) -> None:
        self.as_json = as_json

    @cached_property
    def _out(self) -> "Console":
        console = _console()
        if not console.is_terminal and not os.environ.get("COLUMNS", "").isdigit():
            console.width = _PIPE_COLUMNS
        console.width = max(console.width, _LEAST_COLUMNS)
        return console

    @cached_property
    def _err(self) -> "Console":
        return _console(stderr=True)

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

    def stream(self, text: str) -> None:
        """Write a piece of a longer text to a person; programs read it in the items."""
        if not self.as_json:
            self._out.print(_safe(text), markup=False, end="")
            self._out.file.flush()

    def say(self, text: str) -> None:
        """Tell what is going on."""
        if self.as_json:
            _line(sys.stderr, "status", {"text": text})
        else:
            self._err.print(_safe(text), markup=False)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show rows, if there are any, to a person; with --json the items have said it already."""
        if self.as_json or not rows:
            return
        from uploader.cli.table_view import fitted  # noqa: PLC0415 - see `_console`

        cells = [[printable(cell, _TEXT_LIMIT, spaces=True) for cell in row] for row in rows]
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

    def confirm(self, question: str, *, yes: bool, what: str = "delete") -> None:
        """Ask for confirmation, unless `yes`.

        Args:
            question: The question.
            yes: The user has confirmed on the command line.
            what: Verb of what is asked about.

        Raises:
            UsageError: There is no terminal to ask at.
            Abort: The answer is no.
        """
        if yes:
            return
        if self.as_json or not sys.stdin.isatty():
            raise UsageError(
                f"cannot ask whether to {what}: stdin is not a terminal",
                safe="Nothing was changed.",
                hint="Run the same command with --yes.",
            )
        typer.confirm(_safe(question), abort=True, err=True)

    def usage(self, text: str) -> None:
        """Say what is wrong with the command line."""
        self.error(UsageError(text, hint=_USAGE))

    @contextmanager
    def progress(self) -> Iterator[Progress]:
        """Show progress while the block runs: a bar, JSON lines, or few lines in a pipe."""
        from uploader.cli.progress_view import LineView, live  # noqa: PLC0415 - see `_console`

        if self.as_json:
            yield LineView(
                self.say, period_s=_STATUS_PERIOD_S, emit=partial(_line, sys.stderr, "status")
            )
        elif self._err.is_terminal and not self._err.is_dumb_terminal:
            with live(self.say, self._err) as shown:
                yield shown
        else:
            yield LineView(self.say, period_s=_PIPE_PERIOD_S)

    @contextmanager
    def working(self, text: str) -> Iterator[None]:
        """Show in a terminal that something goes on whose end nobody can tell."""
        with self.progress() as progress:
            progress.stage(text)
            yield


def _safe(text: str) -> str:
    return "\n".join(printable(line, _TEXT_LIMIT) for line in text.split("\n"))


def _line(stream: TextIO, kind: str, fields: Mapping[str, Json]) -> None:
    stream.write(json.dumps({"type": kind, **fields}, ensure_ascii=True) + "\n")
    stream.flush()
