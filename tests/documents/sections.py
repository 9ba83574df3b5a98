"""Generated sections of Markdown pages: found by their markers, written in place.

A page keeps hand-written text around::

    <!-- generated: NAME -->
    anything here is replaced
    <!-- end -->
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_SECTION: Final = re.compile(r"(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def pages() -> Iterator[Path]:
    """List the pages that may hold generated sections."""
    yield ROOT / "README.md"
    yield ROOT / "canisters" / "storage" / "INTERFACE.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def filled(text: str, generators: Mapping[str, Callable[[], str]]) -> str:
    """Replace every generated section of a page.

    Raises:
        KeyError: A marker names no generator.
    """

    def section(match: re.Match[str]) -> str:
        return f"{match[1]}{generators[match[2]]().strip()}\n{match[3]}"

    return _SECTION.sub(section, text)


def cell(text: str) -> str:
    """Escape a text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """Show a text as code in a cell; renderers do not agree on bars between backticks."""
    if "|" not in text:
        return f"`{text}`"
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"<code>{escaped.replace('|', '&#124;')}</code>"


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Lay out a Markdown table; cells are Markdown already."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
