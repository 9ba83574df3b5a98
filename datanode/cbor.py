"""CBOR (RFC 8949), as much of it as is needed here, written and read strictly.

Unsigned integers, byte strings, text, arrays and maps, of definite length and in their shortest
form. `CborReader` is the one reader of untrusted bytes: nothing is allocated for a length before as
many bytes are known to be there. It is used in two ways:

- A format with a schema (the manifest) asks it for item after item. `uint`, `blob`, `text`, `array`
  and `text_map` write such a format deterministically (4.2.1): map keys rise by the bytes of their
  encodings, one value has one encoding, and a digest of the bytes is a digest of the value. The
  Rust twin is `canisters/codec/src/cbor.rs`.
- The Internet Computer's HTTP interface is decoded whole: `encode` and `decode` know booleans and
  null besides, maps with text keys in any order, and one leading self-describing tag (55799).

Anything else (floats, other tags, indefinite lengths, duplicate keys, trailing bytes) is refused: a
general decoder runs dates, regular expressions and shared references for whoever sends them, and
every freedom in the encoding is a bit that could be flipped in a certificate unnoticed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from datanode.digest import DIGEST_BYTES
from datanode.errors import FormatError

Cbor: TypeAlias = bool | int | bytes | str | list["Cbor"] | dict[str, "Cbor"] | None
"""What `decode` returns."""

Encodable: TypeAlias = (
    bool | int | bytes | memoryview | str | Sequence["Encodable"] | Mapping[str, "Encodable"] | None
)
"""What `encode` takes: the same, and any sequence, mapping or buffer in its place."""

UNSIGNED: Final = 0
BYTES: Final = 2
TEXT: Final = 3
ARRAY: Final = 4
MAP: Final = 5
_SIMPLE: Final = 7

SELF_DESCRIBED: Final = b"\xd9\xd9\xf7"
MAX_DEPTH: Final = 16
MAX_ITEMS: Final = 65_536
"""Most items (numbers, strings, containers) in one message; a certificate has some hundreds."""

_MAX_U32: Final = 2**32 - 1
_DIRECT: Final = 24
"""Arguments below this value stand in the first byte."""

_MAJOR_SHIFT: Final = 5
_ARGUMENT_MASK: Final = 0x1F
_LONG: Final = {24: (1, 24), 25: (2, 2**8), 26: (4, 2**16), 27: (8, 2**32)}
"""Additional information -> (bytes of the argument, least argument that needs them)."""

_FALSE: Final = 20
_TRUE: Final = 21
_NULL: Final = 22
_UNDEFINED: Final = 23
_SIMPLES: Final = {_FALSE: False, _TRUE: True, _NULL: None, _UNDEFINED: None}


def head(major: int, argument: int) -> bytes:
    """Encode an item's head in its shortest form.

    Raises:
        FormatError: The argument is not an unsigned 64-bit integer.
    """
    if 0 <= argument < _DIRECT:
        return bytes((major << _MAJOR_SHIFT | argument,))
    for code, (size, _) in _LONG.items():
        if 0 <= argument < 1 << 8 * size:
            return bytes((major << _MAJOR_SHIFT | code,)) + argument.to_bytes(size, "big")
    raise FormatError(f"{argument} is not an unsigned 64-bit integer")


def uint(value: int) -> bytes:
    """Encode an unsigned integer."""
    return head(UNSIGNED, value)


def blob(value: bytes) -> bytes:
    """Encode a byte string."""
    return head(BYTES, len(value)) + value


def text(value: str) -> bytes:
    """Encode a text string.

    Raises:
        FormatError: The text has surrogates, so it has no UTF-8.
    """
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise FormatError(f"not a text of Unicode: {value[:80]!a}") from None
    return head(TEXT, len(data)) + data


def array(items: Iterable[bytes]) -> bytes:
    """Encode an array of encoded items."""
    encoded = list(items)
    return head(ARRAY, len(encoded)) + b"".join(encoded)


def text_map(pairs: Iterable[tuple[str, bytes]]) -> bytes:
    """Encode a map from texts to encoded values, sorting the keys."""
    encoded = sorted((text(key), value) for key, value in pairs)
    return head(MAP, len(encoded)) + b"".join(key + value for key, value in encoded)


def encode(value: Encodable, *, tagged: bool = False) -> bytes:
    """Encode a value; long byte strings are copied once, into the result.

    Args:
        value: The value. Maps keep their order.
        tagged: Put the self-describing tag in front.

    Raises:
        TypeError: A type or a number that has no encoding here: a mistake of the caller.
    """
    parts: list[bytes | memoryview] = [SELF_DESCRIBED] if tagged else []
    _write(value, parts)
    return b"".join(parts)


def _write(value: Encodable, parts: list[bytes | memoryview]) -> None:
    if isinstance(value, bytes | memoryview):
        parts += (head(BYTES, len(value)), value)
    elif isinstance(value, str):
        parts.append(text(value))
    elif isinstance(value, Mapping):
        parts.append(head(MAP, len(value)))
        for key, item in value.items():
            _write(key, parts)
            _write(item, parts)
    elif isinstance(value, Sequence):
        parts.append(head(ARRAY, len(value)))
        for item in value:
            _write(item, parts)
    else:
        parts.append(_scalar(value))


def _scalar(value: int | None) -> bytes:
    if value is None or isinstance(value, bool):
        return head(_SIMPLE, {None: _NULL, False: _FALSE, True: _TRUE}[value])
    try:
        return uint(value)
    except FormatError as error:
        raise TypeError(str(error)) from None


def decode(data: bytes, *, max_depth: int = MAX_DEPTH) -> Cbor:
    """Decode one value that fills the data.

    Args:
        data: Untrusted bytes.
        max_depth: How deep arrays and maps may nest.

    Raises:
        FormatError: The bytes are not one value of the subset above.
    """
    reader = CborReader(data, "CBOR", at=len(SELF_DESCRIBED) * data.startswith(SELF_DESCRIBED))
    value = _Values(reader).item(max_depth)
    reader.end()
    return value


class CborReader:
    """The items of an untrusted encoding, one after the other.

    Every method raises FormatError when the next item is not what it asks for.

    Args:
        data: The whole encoding.
        what: What the bytes should be, for messages.
        at: Where the first item begins.
    """

    def __init__(self, data: bytes | memoryview, what: str, *, at: int = 0) -> None:
        self._data = bytes(data)
        self._what = what
        self._at = at

    def fail(self, trouble: str) -> FormatError:
        """Return an error that names the part and the byte."""
        return FormatError(f"{self._what}: {trouble} at byte {self._at}")

    def any_head(self) -> tuple[int, int]:
        """Read the head of an item of any type: its major type and its argument."""
        if self._at >= len(self._data):
            raise self.fail("cut off")
        first = self._data[self._at]
        self._at += 1
        argument = first & _ARGUMENT_MASK
        if argument >= _DIRECT:
            argument = self._long_argument(argument)
        return first >> _MAJOR_SHIFT, argument

    def _long_argument(self, code: int) -> int:
        if code not in _LONG:
            raise self.fail("an indefinite or reserved length")
        size, least = _LONG[code]
        argument = int.from_bytes(self.take(size), "big")
        if argument < least:
            raise self.fail("an integer that is not in its shortest form")
        return argument

    def take(self, count: int) -> bytes:
        """Read `count` bytes, as the head before them says."""
        end = self._at + count
        if end > len(self._data):
            raise self.fail("cut off")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def take_text(self, count: int) -> str:
        """Read `count` bytes of UTF-8, as the head before them says."""
        try:
            return self.take(count).decode()
        except UnicodeDecodeError:
            raise self.fail("a text that is not UTF-8") from None

    def check_count(self, count: int, item_bytes: int = 1) -> int:
        """Return a count of items that take at least `item_bytes` each, if they can be there."""
        if count * item_bytes > len(self._data) - self._at:
            raise self.fail("cut off")
        return count

    def _head(self, major: int) -> int:
        found, argument = self.any_head()
        if found != major:
            raise self.fail("an item of another type")
        return argument

    def u64(self) -> int:
        """Read an unsigned integer."""
        return self._head(UNSIGNED)

    def u32(self) -> int:
        """Read an unsigned integer of at most 32 bits."""
        value = self._head(UNSIGNED)
        if value > _MAX_U32:
            raise self.fail("an integer of more than 32 bits")
        return value

    def digest(self) -> bytes:
        """Read a byte string of 32 bytes."""
        if self._head(BYTES) != DIGEST_BYTES:
            raise self.fail("a digest of another length")
        return self.take(DIGEST_BYTES)

    def text(self, most_bytes: int) -> str:
        """Read a text of at most `most_bytes`."""
        length = self._head(TEXT)
        if length > most_bytes:
            raise self.fail("too long a text")
        return self.take_text(length)

    def array(self, item_bytes: int) -> int:
        """Read the count of an array whose items take at least `item_bytes` each."""
        return self.check_count(self._head(ARRAY), item_bytes)

    def tuple(self, count: int) -> None:
        """Read the head of an array of exactly `count` items."""
        if self._head(ARRAY) != count:
            raise self.fail(f"an array that has not {count} items")

    def map(self) -> int:
        """Read the count of a map's pairs."""
        return self.check_count(self._head(MAP), 2)

    def key(self, name: str) -> None:
        """Read one particular text."""
        if self.text(len(self._data)) != name:
            raise self.fail(f"another key where {name!r} belongs")

    def text_pairs(self, most_bytes: int) -> dict[str, str]:
        """Read a map from texts to texts whose keys rise by their encodings."""
        pairs: dict[str, str] = {}
        last = b""
        for _ in range(self.map()):
            start = self._at
            key = self.text(most_bytes)
            encoded = self._data[start : self._at]
            if encoded <= last:
                raise self.fail("map keys that do not rise")
            last = encoded
            pairs[key] = self.text(most_bytes)
        return pairs

    def end(self) -> None:
        """Check that nothing is left."""
        if self._at != len(self._data):
            raise self.fail("trailing bytes")


class _Values:
    """Values of any type, bounded in number and depth."""

    def __init__(self, reader: CborReader) -> None:
        self._reader = reader
        self._items_left = MAX_ITEMS

    def item(self, depth: int) -> Cbor:
        self._items_left -= 1
        if self._items_left < 0:
            raise self._reader.fail(f"more than {MAX_ITEMS} items")
        major, argument = self._reader.any_head()
        if major == BYTES:
            return self._reader.take(argument)
        if major == UNSIGNED:
            return argument
        if major in (ARRAY, MAP):
            return self._container(major, depth, argument)
        if major == TEXT:
            return self._reader.take_text(argument)
        if major == _SIMPLE and argument in _SIMPLES:
            return _SIMPLES[argument]
        raise self._reader.fail("a type that this interface does not use")

    def _container(self, major: int, depth: int, count: int) -> Cbor:
        if depth <= 0:
            raise self._reader.fail("nested too deep")
        self._reader.check_count(count)
        if major == ARRAY:
            return [self.item(depth - 1) for _ in range(count)]
        return self._map(depth - 1, count)

    def _map(self, depth: int, count: int) -> dict[str, Cbor]:
        entries: dict[str, Cbor] = {}
        for _ in range(count):
            key = self.item(0)
            if not isinstance(key, str):
                raise self._reader.fail("a map key that is not text")
            if key in entries:
                raise self._reader.fail("a map key appears twice")
            entries[key] = self.item(depth)
        return entries
