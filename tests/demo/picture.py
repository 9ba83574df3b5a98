"""Record the demo as an SVG picture of a terminal, short enough for the README."""

import io
import re
from pathlib import Path
from typing import Any, Final

from rich import _export_format
from rich.console import Console
from rich.table import Table

from datanode.units import format_bytes, format_cycles

WIDTH: Final = 100
_PLAN_ROWS: Final = ("raw ", "to send ", "upload in all ", "naive way ")
# Nothing is fetched by whoever looks at the picture.
_WITHOUT_WEB_FONTS: Final = re.sub(
    r"@font-face \{\{.*?\}\}\n", "", _export_format.CONSOLE_SVG_FORMAT, flags=re.DOTALL
)


class Picture:
    """A terminal of fixed width that shows each command and the result of it."""

    def __init__(self, folder: Path) -> None:
        self._console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
        self._folder = folder

    def command(self, args: tuple[str, ...], note: str = "") -> None:
        """Show a command line."""
        self._show(f"$ datanode {' '.join(args)}", style="bold green", end="" if note else "\n")
        if note:
            self._console.print(f"   {note}", style="red", markup=False)

    def output(self, text: str) -> None:
        """Show the result of a command: of a plan its totals, of others the last line."""
        lines = text.strip().splitlines()
        wanted = [line for line in lines if line.startswith(_PLAN_ROWS)] or lines[-1:]
        self._show("\n".join(line.rstrip() for line in wanted))

    def uploaded(self, summary: dict[str, Any]) -> None:
        """Show what an upload did."""
        sent, known = format_bytes(summary["sent_bytes"]), format_bytes(summary["known_bytes"])
        self._show(
            f"version {summary['version']} is sealed: {known} known before, "
            f"{summary['frames']} frames in {sent} sent, {format_cycles(summary['cycles'])}"
        )

    def note(self, text: str) -> None:
        """Show what happens outside of commands."""
        self._show(text, style="red")

    def table(self, table: Table) -> None:
        """Show the last table."""
        self._console.print()
        self._console.print(table)

    def save(self, path: Path) -> None:
        """Write the picture; equal recordings give equal files."""
        path.parent.mkdir(parents=True, exist_ok=True)
        svg = self._console.export_svg(
            title="make demo", code_format=_WITHOUT_WEB_FONTS, unique_id="datanode-demo"
        )
        path.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")

    def _show(self, text: str, style: str = "", end: str = "\n") -> None:
        shown = text.replace(f"{self._folder}/", "")
        self._console.print(shown, style=style, markup=False, end=end)
