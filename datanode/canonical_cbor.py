"""Deterministic CBOR (RFC 8949, 4.2.1), as much of it as the manifest needs, read strictly.

Unsigned integers, byte strings, text strings, arrays and maps; integers and lengths in their
shortest form, lengths definite, map keys rising by the bytes of their encodings. One value has
one encoding, so a digest of the bytes is a digest of the value. The reader is driven by the
schema of its caller: no recursion, and a count is checked against the bytes that are left before
anybody loops over it. The Rust twin is `canisters/codec/src/cbor.rs`.
"""

from collections.abc import Iterable
from typing import Final

from datanode.digest import DIGEST_BYTES
from datanode.errors import FormatError

UNSIGNED: Final = 0
BYTES: Final = 2
TEXT: Final = 3
ARRAY: Final = 4
MAP: Final = 5

_MAX_U64: Final = 2**64 - 1
_MAX_U32: Final = 2**32 - 1
_DIRECT: Final = 24
"""Arguments below this value stand in the first byte."""

_MAJOR_SHIFT: Final = 5
_ARGUMENT_MASK: Final = 0x1F
_LONG: Final = {24: (1, 24), 25: (2, 2**8), 26: (4, 2**16), 27: (8, 2**32)}
"""Additional information -> (bytes of the argument, least argument that needs them)."""


def head(major: int, argument: int) -> bytes:
    """Encode an item's head in its shortest form."""
    if not 0 <= argument <= _MAX_U64:
        raise FormatError(f"{argument} is not an unsigned 64-bit integer")
    if argument < _DIRECT:
        return bytes((major << _MAJOR_SHIFT | argument,))
    code, size = next((c, size) for c, (size, _) in _LONG.items() if argument >> 8 * size == 0)
    return bytes((major << _MAJOR_SHIFT | code,)) + argument.to_bytes(size, "big")


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


class Reader:
    """The items of an untrusted encoding, one after the other.

    Every method raises FormatError when the next item is not what it asks for.

    Args:
        data: The whole encoding.
        what: What the bytes should be, for messages.
    """

    def __init__(self, data: bytes | memoryview, what: str) -> None:
        self._data = bytes(data)
        self._what = what
        self._at = 0

    def _fail(self, trouble: str) -> FormatError:
        return FormatError(f"{self._what}: {trouble} at byte {self._at}")

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise self._fail("cut off")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _head(self, major: int) -> int:
        first = self._take(1)[0]
        if first >> _MAJOR_SHIFT != major:
            raise self._fail("an item of another type")
        argument = first & _ARGUMENT_MASK
        if argument < _DIRECT:
            return argument
        if argument not in _LONG:
            raise self._fail("an indefinite or reserved length")
        size, least = _LONG[argument]
        value = int.from_bytes(self._take(size), "big")
        if value < least:
            raise self._fail("an integer that is not in its shortest form")
        return value

    def _count(self, major: int, item_bytes: int) -> int:
        count = self._head(major)
        if count * item_bytes > len(self._data) - self._at:
            raise self._fail("cut off")
        return count

    def u64(self) -> int:
        """Read an unsigned integer."""
        return self._head(UNSIGNED)

    def u32(self) -> int:
        """Read an unsigned integer of at most 32 bits."""
        value = self._head(UNSIGNED)
        if value > _MAX_U32:
            raise self._fail("an integer of more than 32 bits")
        return value

    def digest(self) -> bytes:
        """Read a byte string of 32 bytes."""
        if self._head(BYTES) != DIGEST_BYTES:
            raise self._fail("a digest of another length")
        return self._take(DIGEST_BYTES)

    def text(self, most_bytes: int) -> str:
        """Read a text of at most `most_bytes`."""
        length = self._head(TEXT)
        if length > most_bytes:
            raise self._fail("too long a text")
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            raise self._fail("a text that is not UTF-8") from None

    def array(self, item_bytes: int) -> int:
        """Read the count of an array whose items take at least `item_bytes` each."""
        return self._count(ARRAY, item_bytes)

    def tuple(self, count: int) -> None:
        """Read the head of an array of exactly `count` items."""
        if self._head(ARRAY) != count:
            raise self._fail(f"an array that has not {count} items")

    def map(self) -> int:
        """Read the count of a map's pairs."""
        return self._count(MAP, 2)

    def key(self, name: str) -> None:
        """Read one particular text."""
        if self.text(len(self._data)) != name:
            raise self._fail(f"another key where {name!r} belongs")

    def text_pairs(self, most_bytes: int) -> dict[str, str]:
        """Read a map from texts to texts whose keys rise by their encodings."""
        pairs: dict[str, str] = {}
        last = b""
        for _ in range(self.map()):
            start = self._at
            key = self.text(most_bytes)
            encoded = self._data[start : self._at]
            if encoded <= last:
                raise self._fail("map keys that do not rise")
            last = encoded
            pairs[key] = self.text(most_bytes)
        return pairs

    def end(self) -> None:
        """Check that nothing is left."""
        if self._at != len(self._data):
            raise self._fail("trailing bytes")
