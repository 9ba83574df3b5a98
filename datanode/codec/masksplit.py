"""Codec 2: split each 16-bit word by a mask into noise, stored as it is, and symbols for zstd.

In a float the exponent is skewed, the top mantissa bits a little, and the other bits are noise
that no compressor helps. So a mask, chosen for each chunk, splits the words: the bits outside it
are the *raw part*, packed without gaps; the bits inside it are the *symbol part*, of which the at
most 256 most frequent values are mapped to bytes, by falling frequency, and the rest are patched.
Trailing mantissa bits that are mostly zero (a BF16 value kept as F16) belong to the symbol part.

F16 and BF16 are one plane of words. F32 is two: the upper halves (a BF16 each), then the lower
halves (all zero when the values were BF16 once). Other element types have no codec 2.
The raw bytes are n whole elements, little-endian, and a tail shorter than an element.

The payload, little-endian::

    offset size field
         0    1 plane count: 1 for F16 and BF16, 2 for F32
         1    3 reserved, zero
         4   16 header of each plane:
                   0    2 mask
                   2    2 symbol count s, 1 to 256
                   4    4 patch count p, at most n
                   8    4 stream length z, bytes; 0 exactly if s is 1
                  12    4 reserved, zero
         .    - body of each plane:
                 2 * s    symbols, u16; no bit outside the mask
                 4 * p    patch positions, u32; rising, below n
                 2 * p    patch symbols, u16; no bit outside the mask
        b * ceil(n/8)     raw plane, b = count of the bits outside the mask (datanode/codec/bits.py)
                     z    zstd stream (rules: datanode/codec/zstd.py) of n bytes: for each word the
                          index of its symbol, below s; any below s for a patched word
                          (written: 0)
         .    - tail, as it is; a trailing byte is an error

A word is its symbol, or its patch symbol if it is patched, together with its raw part. Without a
stream every index is 0: a constant plane has mask 0xFFFF and one symbol, pure noise has mask 0.
"""

import struct
from dataclasses import dataclass
from typing import Final

import numpy as np

from datanode.codec import bits, masks, zstd
from datanode.codec.bits import Words
from datanode.codec.masks import ALL_BITS, MAX_SYMBOLS, WORD_VALUES, WordKind
from datanode.errors import FormatError
from datanode.limits import MAX_CHUNK_BYTES
from datanode.model import ElementType

PREFIX: Final = struct.Struct("<B3s")
PLANE: Final = struct.Struct("<HHII4s")
LEVEL: Final = 1
"""All positive levels give the same size within 0.2 %; a negative one has no Huffman stage."""

_PLANES: Final = {
    ElementType.F16: (WordKind.F16,),
    ElementType.BF16: (WordKind.BF16,),
    ElementType.F32: (WordKind.BF16, WordKind.LOWER_HALF),
}
"""Planes of each element type, the most significant words first."""

_ALL_WORDS: Final = np.arange(WORD_VALUES, dtype=np.uint16)


def models(element: ElementType) -> bool:
    """Tell whether this codec can encode chunks of an element type."""
    return element in _PLANES


class MaskSplit:
    """16-bit and 32-bit floats."""

    id: Final = 2

    def encode(
        self, raw: bytes | memoryview, element: ElementType, row_elements: int
    ) -> bytes | memoryview:
        """Split every plane by the cheapest mask."""
        del row_elements
        kinds = _kinds(element)
        count, tail_bytes = divmod(len(raw), element.width_bytes)
        words = np.frombuffer(raw, "<u2", count * len(kinds))
        planes = [
            # A little-endian element starts with its least significant word.
            _encode_plane(np.ascontiguousarray(words[len(kinds) - 1 - index :: len(kinds)]), kind)
            for index, kind in enumerate(kinds)
        ]
        headers, bodies = zip(*planes, strict=True)
        prefix = PREFIX.pack(len(kinds), bytes(3))
        return b"".join((prefix, *headers, *bodies, memoryview(raw)[len(raw) - tail_bytes :]))

    def decode(
        self, payload: bytes | memoryview, raw_bytes: int, element: ElementType, row_elements: int
    ) -> bytes | memoryview:
        """Merge the planes, checking every length before anything is read."""
        del row_elements
        kinds = _kinds(element)
        if not 0 <= raw_bytes <= MAX_CHUNK_BYTES:
            raise FormatError(f"{raw_bytes} bytes are not a chunk")
        count, tail_bytes = divmod(raw_bytes, element.width_bytes)
        payload = memoryview(payload)
        headers = _parse_headers(payload, len(kinds), count)
        start = PREFIX.size + PLANE.size * len(kinds)
        ends = [start := start + header.body_bytes(count) for header in headers]
        if ends[-1] + tail_bytes != len(payload):
            raise FormatError("the lengths of a mask split payload do not sum to its size")
        words = np.empty((count, len(kinds)), "<u2")
        for index, (header, end) in enumerate(zip(headers, ends, strict=True)):
            body = payload[end - header.body_bytes(count) : end]
            words[:, len(kinds) - 1 - index] = _decode_plane(header, body, count)
        merged = words.reshape(-1).view(np.uint8).data
        return merged if not tail_bytes else b"".join((merged, payload[ends[-1] :]))


@dataclass(frozen=True, slots=True)
class _Header:
    mask: int
    symbol_count: int
    patch_count: int
    stream_bytes: int

    def body_bytes(self, count: int) -> int:
        table_bytes = 2 * self.symbol_count + 6 * self.patch_count
        return table_bytes + bits.plane_bytes(self.mask, count) + self.stream_bytes


def _kinds(element: ElementType) -> tuple[WordKind, ...]:
    if element not in _PLANES:
        raise FormatError(f"codec 2 does not model {element.name}")
    return _PLANES[element]


def _encode_plane(words: Words, kind: WordKind) -> tuple[bytes, bytes]:
    """Return header and body of one plane."""
    positions = words.astype(np.intp)  # numpy indexes with nothing narrower
    split = masks.choose(np.bincount(positions, minlength=WORD_VALUES), kind)
    symbols = split.symbols
    masked = _ALL_WORDS & np.uint16(split.mask)
    patches = np.zeros(0, np.intp)
    if split.patched_count:
        rare = np.ones(WORD_VALUES, np.bool_)
        rare[symbols] = False
        patches = np.flatnonzero(rare[masked].take(positions))
    stream = b""
    if len(symbols) > 1:
        ranks = np.zeros(WORD_VALUES, np.uint8)
        ranks[symbols] = np.arange(len(symbols), dtype=np.uint8)
        indices = ranks[masked].take(positions)
        stream = zstd.compress(indices.data, LEVEL)
    header = PLANE.pack(split.mask, len(symbols), len(patches), len(stream), bytes(4))
    body = (
        symbols.astype("<u2").tobytes(),
        patches.astype("<u4").tobytes(),
        (words[patches] & np.uint16(split.mask)).astype("<u2").tobytes(),
        bits.pack(words, split.mask),
        stream,
    )
    return header, b"".join(body)


def _parse_headers(payload: memoryview, plane_count: int, count: int) -> list[_Header]:
    if len(payload) < PREFIX.size + PLANE.size * plane_count:
        raise FormatError("a mask split payload is shorter than its headers")
    stated_count, zero = PREFIX.unpack_from(payload)
    if stated_count != plane_count or any(zero):
        raise FormatError(f"a mask split payload of {stated_count} planes, or reserved bytes set")
    headers = []
    for index in range(plane_count):
        *fields, zero = PLANE.unpack_from(payload, PREFIX.size + PLANE.size * index)
        header = _Header(*fields)
        if any(zero) or not 1 <= header.symbol_count <= MAX_SYMBOLS or header.patch_count > count:
            raise FormatError("a plane's counts are out of range, or its reserved bytes set")
        if (header.symbol_count == 1) != (header.stream_bytes == 0):
            raise FormatError("a plane has a stream exactly if it has several symbols")
        headers.append(header)
    return headers


def _decode_plane(header: _Header, body: memoryview, count: int) -> Words:
    at = 0

    def array(dtype: str, items: int) -> "np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]":
        nonlocal at
        taken = np.frombuffer(body, dtype, items, at)
        at += taken.nbytes
        return taken

    symbols = array("<u2", header.symbol_count)
    positions = array("<u4", header.patch_count)
    patches = array("<u2", header.patch_count)
    outside = np.uint16(ALL_BITS ^ header.mask)
    if (symbols & outside).any() or (patches & outside).any():
        raise FormatError("a symbol of a plane has bits outside of its mask")
    if len(positions) and (positions[-1] >= count or (positions[1:] <= positions[:-1]).any()):
        raise FormatError("the patches of a plane do not rise, or lie beyond its end")
    words = bits.unpack(body[at : at + bits.plane_bytes(header.mask, count)], header.mask, count)
    if not header.stream_bytes:
        words |= symbols[0]
    else:
        stream = body[len(body) - header.stream_bytes :]
        indices = np.frombuffer(zstd.decompress(stream, count), np.uint8)
        if len(indices) and indices.max() >= header.symbol_count:
            raise FormatError("a plane's stream names a symbol that it does not have")
        words |= symbols.take(indices)
    words[positions] = words[positions] & outside | patches
    return words
