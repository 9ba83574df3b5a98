"""Take a safetensors header apart entry by entry, so that memory is bounded by what is kept.

`json.loads` builds every object of a header before anyone can look at one: 32 MiB of empty lists
would be a gigabyte. Here a pattern finds the next `"name": {...}`, whose object holds no other
object, and only those bytes are parsed. What the pattern does not find is no header; a small one is
then read as a whole, so that the message can say what is wrong.
"""

import re
from collections.abc import Iterator
from typing import Final

from datanode.errors import SourceError
from datanode.limits import MAX_METADATA_BYTES, MAX_TENSORS
from datanode.strict_json import StrictJson
from datanode.text import shown
from datanode.units import KIB, MIB

METADATA: Final = "__metadata__"
_JSON: Final = StrictJson(refused=SourceError, max_entries=2 * MAX_TENSORS)

_STRING: Final = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_OBJECT: Final = rb'\{[^{}"]*+(?:' + _STRING + rb'[^{}"]*+)*+\}'
_SPACE: Final = rb"[ \t\n\r]*+"
_ENTRY: Final = re.compile(
    _SPACE + b"(" + _STRING + b")" + _SPACE + b":" + _SPACE + b"(" + _OBJECT + b")"
    + _SPACE + b"([,}])",
    re.DOTALL,
)  # fmt: skip
_PLAIN: Final = re.compile(
    rb'"([A-Za-z0-9._/-]{1,512}+)":\{"dtype":"([A-Z0-9_]{1,16}+)","shape":\[([0-9,]{0,99}+)\],'
    rb'"data_offsets":\[([0-9,]{3,39}+)\]\}([,}])'
)
"""An entry as the safetensors library writes it: read without JSON, in a third of the time."""

_NUMBER: Final = re.compile(rb"0|[1-9][0-9]{0,18}+")
_EMPTY: Final = re.compile(rb"\{" + _SPACE + rb"\}")

_MAX_NAME_BYTES: Final = 4 * KIB
"""Longest key as it is written, bytes: 512 bytes of UTF-8, each escaped, and more."""
_MAX_ENTRY_BYTES: Final = 4 * KIB
"""Longest entry of a tensor as it is written, bytes: eight extents need 300."""
_MAX_ESCAPED: Final = 6
"""Bytes that JSON may write for one byte of text."""
_MAX_EXPLAINED_BYTES: Final = 1 * MIB


def entries(raw: bytes) -> Iterator[tuple[str, object]]:
    """Yield the names and values of a header, in order; names may repeat.

    Args:
        raw: An object in JSON, padded with spaces.

    Raises:
        SourceError: It is not one; the values before the fault have been yielded.
    """
    end = len(raw.rstrip(b" "))
    if _EMPTY.fullmatch(raw, 0, end):
        return
    at = len(b"{")
    last = b","
    while last == b",":
        if plain := _PLAIN.match(raw, at, end):
            shape, offsets = _numbers(plain[3]), _numbers(plain[4])
            if shape is not None and offsets is not None:
                fields = {"dtype": plain[2].decode(), "shape": shape, "data_offsets": offsets}
                yield plain[1].decode(), fields
                at, last = plain.end(), plain[5]
                continue
        match = _ENTRY.match(raw, at, end)
        if match is None:
            yield from _explained(raw, at)
            return
        yield _entry(match)
        at, last = match.end(), match[3]
    if at != end:
        yield from _explained(raw, at)


def _numbers(raw: bytes) -> list[int] | None:
    """Read integers with commas between them; None: JSON would write them differently."""
    if not raw:
        return []
    parts = raw.split(b",")
    return [int(part) for part in parts] if all(map(_NUMBER.fullmatch, parts)) else None


def _entry(match: "re.Match[bytes]") -> tuple[str, object]:
    name_bytes = match.end(1) - match.start(1) - len(b'""')
    if name_bytes > _MAX_NAME_BYTES:
        start = match[1][1:101].decode(errors="replace")
        raise SourceError(f"the name {shown(start)} has {name_bytes} bytes")
    name = _JSON.read_string(match[1], "the header")
    start, end = match.span(2)
    limit_bytes = _MAX_ESCAPED * MAX_METADATA_BYTES if name == METADATA else _MAX_ENTRY_BYTES
    if end - start > limit_bytes:
        raise SourceError(
            f"the entry {shown(name)} has {end - start} bytes, the limit is {limit_bytes}"
        )
    what = "__metadata__" if name == METADATA else f"the entry of tensor {shown(name)}"
    return name, _JSON.read_object(match[2], what)


def _explained(raw: bytes, at: int) -> Iterator[tuple[str, object]]:
    """Read a small header as a whole: it is broken, or an entry of it is no object."""
    if len(raw) > _MAX_EXPLAINED_BYTES:
        raise SourceError(f"the header has no entry of a tensor at byte {at}")
    yield from _JSON.read_object(raw, "the header").items()
