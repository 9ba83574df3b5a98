"""Writes Candid. Blobs are copied once, into the message."""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

from datanode.agent.candid.type_text import type_text
from datanode.agent.candid.types import (
    MAGIC,
    OPT,
    RECORD,
    VARIANT,
    VEC,
    Blob,
    Bool,
    Int,
    Nat,
    Null,
    Opt,
    Primitive,
    Principal,
    Record,
    Reserved,
    Text,
    Type,
    Value,
    Variant,
    Vec,
)
from datanode.agent.request_id import leb128
from datanode.errors import UsageError
from datanode.principal import Principal as PrincipalValue

FIXED: Final = {-2: "?", -5: "B", -6: "H", -7: "I", -8: "Q", -11: "i", -12: "q", -13: "f", -14: "d"}
"""`struct` codes of the types of fixed size, by their number on the wire."""

_LOW_BITS: Final = 0x7F
_SIGN: Final = 0x40


def encode(types: Sequence[Type], values: Sequence[Value]) -> bytes:
    """Write arguments.

    Raises:
        TypeError: A value is not of its type: a mistake of the caller.
        UsageError: A text has no UTF-8, as names from a command line in another encoding.
    """
    parts: list[bytes | memoryview] = [_header(tuple(types))]
    if len(types) != len(values):
        raise TypeError(f"{len(types)} types, {len(values)} values")
    for kind, value in zip(types, values, strict=True):
        _write(kind, value, parts)
    return b"".join(parts)


@lru_cache(maxsize=256)
def _header(types: tuple[Type, ...]) -> bytes:
    table: dict[Type, int] = {}
    entries: list[bytes] = []
    references = [_reference(kind, table, entries) for kind in types]
    return b"".join((MAGIC, leb128(len(entries)), *entries, leb128(len(references)), *references))


def _reference(kind: Type, table: dict[Type, int], entries: list[bytes]) -> bytes:
    if isinstance(kind, Primitive):
        return sleb128(kind.code)
    if kind not in table:
        table[kind] = len(entries)
        entries.append(b"")
        if isinstance(kind, Opt | Vec):
            body = sleb128(OPT if isinstance(kind, Opt) else VEC)
            body += _reference(kind.inner, table, entries)
        else:
            body = sleb128(RECORD if isinstance(kind, Record) else VARIANT)
            body += leb128(len(kind.fields))
            for number, _, part in kind.fields:
                body += leb128(number) + _reference(part, table, entries)
        entries[table[kind]] = body
    return sleb128(table[kind])


def sleb128(number: int) -> bytes:
    """Write an integer in signed LEB128."""
    out = bytearray()
    while not -_SIGN <= number < _SIGN:
        out.append(number & _LOW_BITS | 0x80)
        number >>= 7
    out.append(number & _LOW_BITS)
    return bytes(out)


def _write(kind: Type, value: Value, parts: list[bytes | memoryview]) -> None:
    if isinstance(kind, Vec):
        _write_vec(kind, value, parts)
    elif isinstance(kind, Primitive):
        parts.append(_primitive(kind, value))
    elif isinstance(kind, Opt):
        parts.append(b"\0" if value is None else b"\1")
        if value is not None:
            _write(kind.inner, value, parts)
    elif isinstance(kind, Record):
        if not isinstance(value, Mapping) or len(value) > len(kind.fields):
            raise _mismatch(kind, value)
        for _, name, part in kind.fields:
            if name not in value and not isinstance(part, Opt):
                raise TypeError(f"Candid: the record lacks {name} : {type_text(part)}")
            _write(part, value.get(name), parts)
    else:
        _write_variant(kind, value, parts)


def _write_variant(kind: Variant, value: Value, parts: list[bytes | memoryview]) -> None:
    if not isinstance(value, tuple) or value[:1] == () or value[0] not in kind.index:
        raise _mismatch(kind, value)
    at, part = kind.index[value[0]]
    parts.append(leb128(at))
    _write(part, value[1], parts)


def _write_vec(kind: Vec, value: Value, parts: list[bytes | memoryview]) -> None:
    if kind == Blob:
        if not isinstance(value, bytes | memoryview):
            raise _mismatch(kind, value)
        parts += (leb128(len(value)), value)
        return
    if not isinstance(value, Sequence) or isinstance(value, str | bytes | memoryview):
        raise _mismatch(kind, value)
    parts.append(leb128(len(value)))
    inner = kind.inner
    if isinstance(inner, Primitive) and inner.code in FIXED and inner != Bool:
        parts.append(_pack(f"<{len(value)}{FIXED[inner.code]}", *value))
        return
    for item in value:
        _write(inner, item, parts)


def _pack(layout: str, *values: Value) -> bytes:
    try:
        return struct.pack(layout, *values)
    except struct.error as error:
        raise TypeError(f"a number does not fit: {error}") from None


def _primitive(kind: Primitive, value: Value) -> bytes:
    if isinstance(value, bool):
        if kind == Bool:
            return b"\1" if value else b"\0"
    elif isinstance(value, str) and kind == Text:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            raise UsageError(f"not a text of Unicode: {value[:80]!a}") from None
        return leb128(len(data)) + data
    elif isinstance(value, PrincipalValue) and kind == Principal:
        return b"\1" + leb128(len(value.raw)) + value.raw
    elif isinstance(value, int | float):
        return _number(kind, value)
    elif value is None and kind in (Null, Reserved):
        return b""
    raise _mismatch(kind, value)


def _number(kind: Primitive, value: float) -> bytes:
    if isinstance(value, int) and kind == Nat and value >= 0:
        return leb128(value)
    if isinstance(value, int) and kind == Int:
        return sleb128(value)
    if kind.code in FIXED and kind != Bool:
        return _pack("<" + FIXED[kind.code], value)
    raise _mismatch(kind, value)


def _mismatch(kind: Type, value: Value) -> TypeError:
    """Word an error that names the type of a value and the type that it should have."""
    shown = f"{value!r:.60}" if isinstance(value, int | float | str) else ""
    return TypeError(f"Candid: {type(value).__name__} {shown} where {type_text(kind)} is expected")
