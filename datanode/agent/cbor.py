"""The part of CBOR (RFC 8949) that the Internet Computer's HTTP interface uses, read strictly.

Unsigned integers, byte strings, text, arrays, maps with text keys, booleans and null, of definite
length and in their shortest form, under at most one leading self-describing tag (55799). Anything
else (floats, other tags, indefinite lengths, duplicate keys, trailing bytes) is refused: a general
decoder runs dates, regular expressions and shared references for whoever sends them, and every
freedom in the encoding is a bit that could be flipped in a certificate unnoticed.

Nothing is allocated for a length before as many bytes are known to be there.
"""

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from datanode.errors import FormatError

Cbor: TypeAlias = bool | int | bytes | str | list["Cbor"] | dict[str, "Cbor"] | None
"""What `decode` returns."""

Encodable: TypeAlias = (
    bool | int | bytes | memoryview | str | Sequence["Encodable"] | Mapping[str, "Encodable"] | None
)
"""What `encode` takes: the same, and any sequence, mapping or buffer in its place."""

SELF_DESCRIBED: Final = b"\xd9\xd9\xf7"
MAX_DEPTH: Final = 16
MAX_ITEMS: Final = 65_536
"""Most items (numbers, strings, containers) in one message; a certificate has some hundreds."""

_UINT, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_FALSE: Final = 20
_TRUE: Final = 21
_NULL: Final = 22
_UNDEFINED: Final = 23
_SIMPLES: Final = {_FALSE: False, _TRUE: True, _NULL: None, _UNDEFINED: None}
_INLINE: Final = 24
"""Arguments below this one sit in the first byte."""
_LONGEST: Final = 27


def encode(value: Encodable, *, tagged: bool = False) -> bytes:
    """Write a value; long byte strings are copied once, into the result.

    Args:
        value: The value. Maps keep their order.
        tagged: Put the self-describing tag in front.

    Raises:
        TypeError: A type that CBOR is not used for here: a mistake of the caller.
    """
    parts: list[bytes | memoryview] = [SELF_DESCRIBED] if tagged else []
    _write(value, parts)
    return b"".join(parts)


def _head(major: int, argument: int) -> bytes:
    if 0 <= argument < _INLINE:
        return bytes([major << 5 | argument])
    for size_log2 in range(4):
        if 0 <= argument < 1 << (8 << size_log2):
            return bytes([major << 5 | _INLINE + size_log2]) + argument.to_bytes(1 << size_log2)
    raise TypeError(f"not an unsigned 64-bit number: {argument}")


def _write(value: Encodable, parts: list[bytes | memoryview]) -> None:
    if isinstance(value, bytes | memoryview):
        parts += (_head(_BYTES, len(value)), value)
    elif isinstance(value, str):
        data = value.encode()
        parts += (_head(_TEXT, len(data)), data)
    elif isinstance(value, Mapping):
        parts.append(_head(_MAP, len(value)))
        for key, item in value.items():
            _write(key, parts)
            _write(item, parts)
    elif isinstance(value, Sequence):
        parts.append(_head(_ARRAY, len(value)))
        for item in value:
            _write(item, parts)
    else:
        parts.append(_scalar(value))


def _scalar(value: int | None) -> bytes:
    if value is None or isinstance(value, bool):
        return _head(_SIMPLE, {None: _NULL, False: _FALSE, True: _TRUE}[value])
    return _head(_UINT, value)


def decode(data: bytes, *, max_depth: int = MAX_DEPTH) -> Cbor:
    """Read one value that fills the data.

    Args:
        data: Untrusted bytes.
        max_depth: How deep arrays and maps may nest.

    Raises:
        FormatError: The bytes are not one value of the subset above.
    """
    reader = _Reader(data, 3 if data.startswith(SELF_DESCRIBED) else 0)
    value = reader.item(max_depth)
    if reader.at != len(data):
        raise FormatError(f"CBOR: {len(data) - reader.at} bytes after the end")
    return value


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self.at = at
        self.items_left = MAX_ITEMS

    def head(self) -> tuple[int, int]:
        if self.at >= len(self.data):
            raise FormatError("CBOR: the data ends early")
        first = self.data[self.at]
        self.at += 1
        short = first & 31
        if short < _INLINE:
            return first >> 5, short
        if short > _LONGEST:
            raise FormatError("CBOR: an indefinite length")
        size = 1 << (short - _INLINE)
        argument = int.from_bytes(self.take(size))
        if argument < _INLINE or (size > 1 and argument < 1 << (4 * size)):
            raise FormatError("CBOR: a number is not in its shortest form")
        return first >> 5, argument

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise FormatError("CBOR: a length runs past the end")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def item(self, depth: int) -> Cbor:
        self.items_left -= 1
        if self.items_left < 0:
            raise FormatError(f"CBOR: more than {MAX_ITEMS} items")
        major, argument = self.head()
        if major == _BYTES:
            return self.take(argument)
        if major == _UINT:
            return argument
        if major in (_ARRAY, _MAP):
            return self.container(major, depth, argument)
        if major == _TEXT:
            return self.text(argument)
        if major == _SIMPLE and argument in _SIMPLES:
            return _SIMPLES[argument]
        raise FormatError("CBOR: a type that this interface does not use")

    def container(self, major: int, depth: int, count: int) -> Cbor:
        if depth <= 0:
            raise FormatError("CBOR: nested too deep")
        if count > len(self.data) - self.at:
            raise FormatError("CBOR: a length runs past the end")
        if major == _ARRAY:
            return [self.item(depth - 1) for _ in range(count)]
        return self.map(depth - 1, count)

    def text(self, count: int) -> str:
        try:
            return self.take(count).decode()
        except UnicodeDecodeError:
            raise FormatError("CBOR: text that is not UTF-8") from None

    def map(self, depth: int, count: int) -> dict[str, Cbor]:
        entries: dict[str, Cbor] = {}
        for _ in range(count):
            key = self.item(0)
            if not isinstance(key, str):
                raise FormatError("CBOR: a map key that is not text")
            if key in entries:
                raise FormatError("CBOR: a map key appears twice")
            entries[key] = self.item(depth)
        return entries
