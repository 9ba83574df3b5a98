"""Turns Candid from hostile bytes into values of the types that are asked for.

Candid's subtyping holds: fields that nobody asked for are read over, optional ones may lack, and
an option whose content does not fit is None. The bounds are those of `wire`.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from datanode.agent.candid.encode import FIXED, sleb128
from datanode.agent.candid.type_text import type_text, wire_type_text
from datanode.agent.candid.types import (
    OPT,
    RECORD,
    VARIANT,
    VEC,
    Bool,
    Func,
    Int,
    Nat,
    Nat8,
    Null,
    Opaque,
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
from datanode.agent.candid.wire import EMPTY, MAX_DEPTH, Wire
from datanode.errors import FormatError

_Plan: TypeAlias = tuple[list[tuple[str | None, int, Type]], dict[str, Value]]
"""How to read a record: its fields on the wire (no name: read over), and what it lacks."""


def decode(types: Sequence[Type], data: bytes) -> tuple[Value, ...]:
    """Read arguments of the given types.

    Raises:
        FormatError: Not Candid, not of these types, or beyond a limit.
    """
    reader = _ValueReader(data)
    kinds = reader.header()
    values = []
    for at, wanted in enumerate(types):
        if at < len(kinds):
            values.append(reader.value(kinds[at], wanted, MAX_DEPTH))
        elif _may_lack(wanted):
            values.append(None)
        else:
            found = ", ".join(wire_type_text(reader.table, kind) for kind in kinds)
            expected = ", ".join(map(type_text, types))
            raise FormatError(f"Candid: ({found}) where ({expected}) is expected")
    for kind in kinds[len(types) :]:
        reader.skip(kind, MAX_DEPTH)
    if reader.at != len(data):
        raise FormatError(f"Candid: {len(data) - reader.at} bytes after the end")
    return tuple(values)


def _may_lack(wanted: Type) -> bool:
    return isinstance(wanted, Opt) or wanted in (Null, Reserved)


class _ValueReader(Wire):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.plans: dict[tuple[int, Type], _Plan] = {}
        self.fits: dict[tuple[int, Type], bool] = {}

    def value(self, kind: int, wanted: Type, depth: int) -> Value:
        self.step(depth)
        if isinstance(wanted, Primitive):
            return self.primitive(kind, wanted, depth)
        if isinstance(wanted, Opt):
            return self.option(kind, wanted, depth)
        code = self.table[kind].code if kind >= 0 else kind
        if isinstance(wanted, Vec) and code == VEC:
            return self.vec(self.table[kind].parts[0][1], wanted.inner, depth)
        if isinstance(wanted, Record) and code == RECORD:
            return self.record(kind, wanted, depth)
        if isinstance(wanted, Variant) and code == VARIANT:
            parts = self.table[kind].parts
            at = self.leb128()
            if at >= len(parts) or parts[at][0] not in wanted.by_id:
                raise self.mismatch(kind, wanted)
            name, inner = wanted.by_id[parts[at][0]]
            return name, self.value(parts[at][1], inner, depth - 1)
        raise self.mismatch(kind, wanted)

    def mismatch(self, kind: int, wanted: Type) -> FormatError:
        """Word an error that names the type that came and the type that was asked for."""
        found = wire_type_text(self.table, kind)
        return FormatError(f"Candid: {found} where {type_text(wanted)} is expected")

    def primitive(self, kind: int, wanted: Primitive, depth: int) -> Value:
        if wanted == Reserved:
            self.skip(kind, depth)
            return None
        if wanted == Opaque:
            start = self.at
            self.skip(kind, depth)
            return self.alone(kind, start)
        if wanted == Func and self.is_func(kind):
            return self.func()
        if kind == Nat.code and wanted in (Nat, Int):
            return self.leb128()
        if kind != wanted.code:
            raise self.mismatch(kind, wanted)
        if wanted.code in FIXED and wanted != Bool:
            layout, width = "<" + FIXED[kind], wanted.width_bytes
            number: int | float = struct.unpack(layout, self.take(width))[0]
            return number
        return _PLAIN[wanted](self)

    def alone(self, kind: int, start: int) -> bytes:
        """Put a value that ends here into a message of its own, with the same type table."""
        return self.data[: self.table_end] + b"\x01" + sleb128(kind) + self.data[start : self.at]

    def is_func(self, kind: int) -> bool:
        return kind >= 0 and self.table[kind].code == Func.code

    def option(self, kind: int, wanted: Opt, depth: int) -> Value:
        if kind in (Null.code, Reserved.code):
            return None
        if kind >= 0 and self.table[kind].code == OPT:
            if not self.flag():
                return None
            kind = self.table[kind].parts[0][1]
        elif _may_lack(wanted.inner):
            self.skip(kind, depth)
            return None
        if self.is_subtype(kind, wanted.inner):
            return self.value(kind, wanted.inner, depth - 1)
        self.skip(kind, depth)
        return None

    def vec(self, kind: int, wanted: Type, depth: int) -> Value:
        # Not bounded by the bytes left, because items may have none; the steps bound it.
        count = self.leb128()
        if wanted == Nat8:
            if kind != Nat8.code and (count or kind != EMPTY):
                raise self.mismatch(kind, wanted)
            return self.take(count)
        if isinstance(wanted, Primitive) and kind == wanted.code and kind in FIXED:
            if wanted == Bool:
                return [self.flag() for _ in range(count)]
            data = self.take(count * wanted.width_bytes)
            return list(struct.unpack(f"<{count}{FIXED[kind]}", data))
        return [self.value(kind, wanted, depth - 1) for _ in range(count)]

    def record(self, kind: int, wanted: Record, depth: int) -> Value:
        plan = self.plans.get((kind, wanted))
        if plan is None:
            plan = self.plans[kind, wanted] = self.plan(kind, wanted)
        steps, lacking = plan
        values = dict(lacking)
        for name, part, inner in steps:
            if name is None:
                self.skip(part, depth - 1)
            else:
                values[name] = self.value(part, inner, depth - 1)
        return values

    def plan(self, kind: int, wanted: Record) -> _Plan:
        parts = self.table[kind].parts
        there = {number for number, _ in parts}
        lacking: dict[str, Value] = {}
        for number, name, inner in wanted.fields:
            if number not in there:
                if not _may_lack(inner):
                    raise FormatError(
                        f"Candid: {wire_type_text(self.table, kind)} lacks {name} : "
                        f"{type_text(inner)}"
                    )
                lacking[name] = None
        unnamed: tuple[str | None, Type] = (None, Reserved)
        steps = [(*wanted.by_id.get(number, unnamed), part) for number, part in parts]
        return [(name, part, inner) for name, inner, part in steps], lacking

    def is_subtype(self, kind: int, wanted: Type) -> bool:
        key = (kind, wanted)
        if key not in self.fits:
            self.fits[key] = self.compare(kind, wanted)
        return self.fits[key]

    def compare(self, kind: int, wanted: Type) -> bool:
        if isinstance(wanted, Opt) or wanted in (Reserved, Opaque):
            return True
        if isinstance(wanted, Primitive):
            named = kind == wanted.code or (kind == Nat.code and wanted == Int) or kind == EMPTY
            return named or (wanted == Func and self.is_func(kind))
        if kind < 0:
            return kind == EMPTY
        entry = self.table[kind]
        if isinstance(wanted, Vec):
            return entry.code == VEC and self.is_subtype(entry.parts[0][1], wanted.inner)
        if isinstance(wanted, Record):
            parts = dict(entry.parts)
            return entry.code == RECORD and all(
                self.is_subtype(parts[number], inner) if number in parts else _may_lack(inner)
                for number, _, inner in wanted.fields
            )
        return entry.code == VARIANT and all(
            number in wanted.by_id and self.is_subtype(part, wanted.by_id[number][1])
            for number, part in entry.parts
        )


_PLAIN: Final[dict[Primitive, Callable[[Wire], Value]]] = {
    Text: Wire.text,
    Bool: Wire.flag,
    Int: Wire.sleb128,
    Principal: Wire.principal,
    Null: lambda _: None,
}
