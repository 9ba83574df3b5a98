"""The representation-independent hash, which identifies and is signed in place of a request.

Interface specification, "Request ids": a map hashes to SHA-256 of the sorted concatenations of
the hashes of key and value; numbers hash as LEB128, arrays as the concatenation of their hashes.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

from datanode.errors import FormatError

_LOW_BITS: Final = 0x7F
_MORE: Final = 0x80
_MAX_LEB128_BYTES: Final = 10
"""Enough for 64 bits."""


def request_id(content: Mapping[str, object]) -> bytes:
    """Hash a map of text, bytes, natural numbers, arrays and maps; 32 bytes.

    Raises:
        TypeError: A value of another type: a mistake of the caller.
    """
    pairs = sorted(_sha256(key.encode()) + _hash(value) for key, value in content.items())
    return _sha256(b"".join(pairs))


def _hash(value: object) -> bytes:
    if isinstance(value, bytes | memoryview):
        return _sha256(value)
    if isinstance(value, str):
        return _sha256(value.encode())
    if isinstance(value, Mapping):
        return request_id(value)
    if isinstance(value, Sequence):
        return _sha256(b"".join(_hash(item) for item in value))
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return _sha256(leb128(value))
    raise TypeError(f"has no representation-independent hash: {type(value).__name__}")


def _sha256(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()


def leb128(number: int) -> bytes:
    """Write a natural number in LEB128."""
    out = bytearray()
    while number > _LOW_BITS:
        out.append(number & _LOW_BITS | _MORE)
        number >>= 7
    out.append(number)
    return bytes(out)


def parse_leb128(data: bytes) -> int:
    """Read a 64-bit natural number that fills the data, as in certificates.

    Raises:
        FormatError: Not one number, or of more than 64 bits.
    """
    number = 0
    for position, byte in enumerate(data):
        number |= (byte & _LOW_BITS) << (7 * position)
        if byte < _MORE:
            if position + 1 == len(data) <= _MAX_LEB128_BYTES and number < 1 << 64:
                return number
            break
    raise FormatError("not one LEB128 number of at most 64 bits")
