"""Tables that fit the terminal: numbers stay whole, principals break where their groups do.

Room is taken from the widest columns of text. A principal for which too little is left is shown by
its first and last group, which is enough to tell canisters apart; `--json` has it whole.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from datanode.errors import FormatError
from datanode.principal import Principal

if TYPE_CHECKING:
    from rich.console import JustifyMethod

_GAP: Final = 2
_NARROWEST: Final = 11
"""Narrowest column of text; one of numbers is never narrowed."""
_TWO_LINES: Final = 34
"""Room in which the longest principal, of 63 letters, takes two lines."""


def fitted(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Table:
    """Lay a table out.

    Args:
        columns: Headers; one that begins with `>` stands over numbers.
        rows: A text a column.
        width: Of the terminal. Numbers that need more get it.
    """
    numbers = [column[0] == ">" for column in columns]
    cells = [[column.strip("> ") for column in columns], *map(list, rows)]
    widths = _widths(cells, numbers, width)
    cells = [[_fit(cell, room) for cell, room in zip(row, widths, strict=True)] for row in cells]
    # What was shortened leaves room to others.
    widths = _widths(cells, numbers, width)
    gaps = _GAP * (len(widths) - 1)
    table = Table(box=None, header_style="bold", pad_edge=False, width=sum(widths) + gaps)
    for header, number, room in zip(cells[0], numbers, widths, strict=True):
        side: JustifyMethod = "right" if number else "left"
        table.add_column(Text(header), justify=side, overflow="fold", width=room)
    for row in cells[1:]:
        # What rich reads as a style in brackets is a name to us.
        table.add_row(*map(Text, row))
    return table


def _widths(cells: Sequence[Sequence[str]], numbers: Sequence[bool], width: int) -> list[int]:
    widths = [
        max(cell_len(line) for cell in column for line in cell.split("\n"))
        for column in zip(*cells, strict=True)
    ]
    over = sum(widths) + _GAP * (len(widths) - 1) - width
    texts = [index for index, number in enumerate(numbers) if not number]
    while over > 0 and texts:
        widest = max(texts, key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
        over -= 1
    return widths


def _fit(cell: str, room: int) -> str:
    if cell_len(cell) <= room:
        return cell
    return " ".join(_fit_word(word, room) for word in cell.split(" "))


def _fit_word(word: str, room: int) -> str:
    if len(word) <= room or not _is_principal(word):
        return word
    if room < _TWO_LINES:
        return f"{word[: word.index('-')]}-…-{word[word.rindex('-') + 1 :]}"
    end = word.rindex("-", 0, room) + 1
    return f"{word[:end]}\n{word[end:]}"


def _is_principal(word: str) -> bool:
    try:
        Principal.parse(word)
    except FormatError:
        return False
    return True
