"""The Unicode tables of the tokenizer, as the `tokenizers` library has them.

The library's regular expressions, its digits and its NFC come from three sources of three Unicode
versions. A model was trained with what they say, so the tables are read off the library itself.
Combining classes are those of Python's `unicodedata`, for the marks that the library reorders.

`python -m tests.inference.unicode_tables` writes `canisters/llama_text/src/tokenizer/tables.rs`.
"""

import textwrap
import unicodedata
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Final

from tokenizers import Regex, normalizers, pre_tokenizers

TABLES: Final = Path(__file__).parents[2] / "canisters/llama_text/src/tokenizer/tables.rs"
CLASSES: Final = (("Letter", r"\p{L}"), ("Number", r"\p{N}"), ("Space", r"\s"))
_HANGUL: Final = range(0xAC00, 0xD7A4)
_FIRST_MARK: Final = 0x300
_HEADER: Final = """//! Unicode as the `tokenizers` library has it.
//!
//! Written by `python -m tests.inference.unicode_tables`; not edited by hand.

use super::unicode::Class::{self, Letter, Number, Space};
"""


def code_points() -> Iterable[int]:
    """Yield every code point that a string can hold."""
    return chain(range(0xD800), range(0xE000, 0x110000))


def matching(pattern: str) -> list[int]:
    """List the code points that a class of the library's regular expressions matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return [point for point in code_points() if not split.pre_tokenize_str(chr(point))]


def digits() -> list[int]:
    """List the code points that the library's `Digits` separates from a letter."""
    split = pre_tokenizers.Digits(individual_digits=True)
    return [p for p in code_points() if len(split.pre_tokenize_str("a" + chr(p))) > 1]


def ranges(points: Iterable[int]) -> list[tuple[int, int]]:
    """Join consecutive code points."""
    found: list[tuple[int, int]] = []
    for point in points:
        if found and found[-1][1] == point - 1:
            found[-1] = (found[-1][0], point)
        else:
            found.append((point, point))
    return found


def classes() -> list[tuple[int, int, str]]:
    """List ranges with their class, in order."""
    return sorted(
        (first, last, name)
        for name, pattern in CLASSES
        for first, last in ranges(matching(pattern))
    )


def combining() -> list[tuple[int, int, int]]:
    """List ranges of marks with their combining class, in order."""
    decompose = normalizers.NFD().normalize_str
    found: list[tuple[int, int, int]] = []
    for point in code_points():
        mark, value = chr(point), unicodedata.combining(chr(point))
        low, high = mark + "\u0334", "\u0345" + mark  # combining classes 1 and 240
        if not value or (decompose(low) == low and decompose(high) == high and value != 1):
            continue
        if found and found[-1][1:] == (point - 1, value):
            found[-1] = (found[-1][0], point, value)
        else:
            found.append((point, point, value))
    return found


def decompositions() -> dict[int, str]:
    """Map code points to their full canonical decomposition, without Hangul."""
    decompose = normalizers.NFD().normalize_str
    pairs = ((p, decompose(chr(p))) for p in code_points() if p not in _HANGUL)
    return {point: text for point, text in pairs if text != chr(point)}


def compositions(full: dict[int, str]) -> list[tuple[int, int, int]]:
    """List code points that two others compose to, with those, in order."""
    compose = normalizers.NFC().normalize_str
    found = []
    for point, text in full.items():
        first = compose(text[:-1])
        if compose(chr(point)) == chr(point) and len(first) == 1:
            found.append((point, ord(first), ord(text[-1])))
    return sorted(found)


def check(full: dict[int, str], pairs: list[tuple[int, int, int]]) -> None:
    """Check that taking pairs apart again and again gives the full decomposition."""
    parts = {point: (first, second) for point, first, second in pairs}

    def apart(point: int) -> str:
        if point not in parts:
            return full.get(point, chr(point))
        first, second = parts[point]
        assert second not in full, f"{second:#x} is decomposed itself"
        return apart(first) + chr(second)

    assert all(apart(point) == text for point, text in full.items())


def _table(name: str, doc: str, of: str, rows: Iterable[str]) -> str:
    listed = [row.replace(" ", "") + "," for row in rows]
    body = textwrap.fill(" ".join(listed), 100, break_long_words=False, break_on_hyphens=False)
    static = f"pub(super) static {name}: [{of}; {len(listed)}] = [\n{body}\n];\n"
    return f"\n/// {doc}\n#[rustfmt::skip]\n{static}"


def _escaped(text: str) -> str:
    return "".join(f"\\u{{{ord(character):x}}}" for character in text)


def rust() -> str:
    """Write the tables as Rust source."""
    full = decompositions()
    pairs = compositions(full)
    check(full, pairs)
    composed = {point for point, _, _ in pairs}
    others = sorted((point, text) for point, text in full.items() if point not in composed)
    beyond = sorted(set(digits()) - set(matching(r"\p{N}")))
    return _HEADER + "".join(
        (
            _table(
                "CLASSES",
                "First and last code point of each class of regular expressions.",
                "(u32, u32, Class)",
                (f"({first:#x}, {last:#x}, {name})" for first, last, name in classes()),
            ),
            _table(
                "MORE_DIGITS",
                "Code points that `Digits` separates although they are no `Number`.",
                "(u32, u32)",
                (f"({first:#x}, {last:#x})" for first, last in ranges(beyond)),
            ),
            _table(
                "COMBINING",
                "First and last code point of marks and their combining class.",
                "(u32, u32, u8)",
                (f"({first:#x}, {last:#x}, {value})" for first, last, value in combining()),
            ),
            _table(
                "DECOMPOSITIONS",
                "Code points that nothing composes to, and their full canonical decomposition.",
                "(u32, &str)",
                (f'({point:#x}, "{_escaped(found)}")' for point, found in others),
            ),
            _table(
                "COMPOSITIONS",
                "Code points and the two that compose to each, without Hangul.",
                "(u32, u32, u32)",
                (f"({c:#x}, {a:#x}, {b:#x})" for c, a, b in pairs),
            ),
        )
    )


def main() -> None:
    """Write the tables."""
    TABLES.write_text(rust())


if __name__ == "__main__":
    main()
