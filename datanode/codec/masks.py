"""Choose how to split the words of one chunk, from one histogram of them.

A candidate mask keeps the sign out (noise, unless all words have the same), takes the exponent and
0 to 4 top mantissa bits in, and then either no trailing bits or as many as are zero in a value
that came from a narrower type. Its price is the order-0 size of its symbols, plus its raw bits,
its symbol table and its patches. On real weights (MiniLM) 1, 2 and 3 top bits are within 0.02 bits
of each other, so nothing finer is tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

import numpy as np
import numpy.typing as npt

from datanode.codec.bits import WORD_BITS, Words, raw_width

Counts = npt.NDArray[np.intp]

MAX_SYMBOLS: Final = 256
WORD_VALUES: Final = 1 << WORD_BITS
ALL_BITS: Final = WORD_VALUES - 1
_SIGN: Final = 0x8000
_MOST_TOP_BITS: Final = 4
_SYMBOL_PRICE_BITS: Final = 16
_PATCH_PRICE_BITS: Final = 48
_CODE_PRICE_BITS: Final = 4
"""What zstd pays for one symbol in the Huffman table of each of its blocks, about."""
_ZSTD_BLOCK_WORDS: Final = 131_072


class WordKind(Enum):
    """Layout of a word: exponent bits, and counts of trailing bits worth trying.

    Trailing 3: a BF16 kept as F16. Trailing 13 of a lower half: an F16 kept as F32.
    """

    F16 = (5, (0, 3))
    BF16 = (8, (0,))
    LOWER_HALF = (None, (0, 8, 13))

    def __init__(self, exponent_bits: int | None, trailing_bits: tuple[int, ...]) -> None:
        self.exponent_bits = exponent_bits
        self.trailing_bits = trailing_bits


@dataclass(frozen=True, slots=True)
class Split:
    """A mask and its symbols.

    Attributes:
        mask: The bits of the symbol part.
        symbols: At most 256 values inside the mask, by falling frequency, then rising.
        patched_count: How many words have another value inside the mask.
    """

    mask: int
    symbols: Words
    patched_count: int


def choose(histogram: Counts, kind: WordKind) -> Split:
    """Return the cheapest split of the words that the histogram counts."""
    count = int(histogram.sum())
    splits = (
        (_price(counts, mask, count), mask, counts) for mask, counts in _masks(histogram, kind)
    )
    _, mask, counts = min(splits, key=lambda split: split[0])
    present = np.flatnonzero(counts)
    ranked = present[np.argsort(-counts[present], kind="stable")][:MAX_SYMBOLS]
    return Split(
        mask=mask,
        symbols=_spread(ranked, mask) if len(ranked) else np.zeros(1, np.uint16),
        patched_count=count - int(counts[ranked].sum()),
    )


def _masks(histogram: Counts, kind: WordKind) -> Iterator[tuple[int, Counts]]:
    """Yield candidate masks, each with the counts of its values, rising by value."""
    yield ALL_BITS, histogram
    if kind.exponent_bits is None:
        for trailing in kind.trailing_bits:
            yield (1 << trailing) - 1, histogram.reshape(-1, 1 << trailing).sum(axis=0)
        return
    lower, upper = histogram[:_SIGN], histogram[_SIGN:]
    # A sign that is never set costs nothing in a symbol, but a bit a word in the raw part.
    sign = 0 if upper.any() else _SIGN
    for trailing in kind.trailing_bits:
        top_bits = kind.exponent_bits + _MOST_TOP_BITS
        counts = (lower + upper).reshape(1 << top_bits, -1, 1 << trailing).sum(axis=1)
        while True:
            top = (1 << top_bits) - 1 << WORD_BITS - 1 - top_bits
            yield sign | top | (1 << trailing) - 1, counts.ravel()
            if top_bits == kind.exponent_bits:
                break
            top_bits -= 1
            counts = counts.reshape(1 << top_bits, 2, 1 << trailing).sum(axis=1)


def _price(counts: Counts, mask: int, count: int) -> float:
    """Estimate the bits of a plane; only comparisons between masks use it."""
    present = counts[counts > 0]
    if len(present) > MAX_SYMBOLS:
        present = np.partition(present, len(present) - MAX_SYMBOLS)[-MAX_SYMBOLS:]
    patched = count - int(present.sum())
    table = len(present) * (_SYMBOL_PRICE_BITS + _CODE_PRICE_BITS * -(-count // _ZSTD_BLOCK_WORDS))
    price = count * raw_width(mask) + table + patched * _PATCH_PRICE_BITS
    if len(present) <= 1:
        return float(price)
    # A patched word still stands in the stream, as the most frequent symbol.
    present[np.argmax(present)] += patched
    return float(price + (present * np.log2(count / present)).sum())


def _spread(indices: npt.NDArray[np.intp], mask: int) -> Words:
    """Put the bits of each index, lowest first, where the mask has bits."""
    words = np.zeros(len(indices), np.uint16)
    position = 0
    for bit in range(WORD_BITS):
        if mask >> bit & 1:
            words |= ((indices >> position & 1) << bit).astype(np.uint16)
            position += 1
    return words
