"""Types in the words of a `.did` file, for messages; bounded, since one of them may be hostile."""

from collections.abc import Sequence
from typing import Final

from datanode.agent.candid.types import (
    OPT,
    RECORD,
    VARIANT,
    VEC,
    Blob,
    Nat8,
    Opt,
    Primitive,
    Record,
    Type,
    Vec,
)
from datanode.agent.candid.wire import TypeEntry

_NAMES: Final = {
    -1: "null",
    -2: "bool",
    -3: "nat",
    -4: "int",
    -5: "nat8",
    -6: "nat16",
    -7: "nat32",
    -8: "nat64",
    -9: "int8",
    -10: "int16",
    -11: "int32",
    -12: "int64",
    -13: "float32",
    -14: "float64",
    -15: "text",
    -16: "reserved",
    -17: "empty",
    -22: "func",
    -23: "service",
    -24: "principal",
}
_KINDS: Final = {RECORD: "record", VARIANT: "variant"}
_DEPTH: Final = 3
_FIELDS: Final = 6
_MORE: Final = "..."


def type_text(kind: Type, depth: int = _DEPTH) -> str:
    """Write a type down, e.g. `opt record { name : text; size : nat64 }`."""
    if kind == Blob:
        return "blob"
    if isinstance(kind, Primitive):
        return _NAMES.get(kind.code, "any type")
    if depth == 0:
        return _MORE
    if isinstance(kind, Opt | Vec):
        return f"{'opt' if isinstance(kind, Opt) else 'vec'} {type_text(kind.inner, depth - 1)}"
    word = "record" if isinstance(kind, Record) else "variant"
    fields = [(name, type_text(part, depth - 1)) for _, name, part in kind.fields[:_FIELDS]]
    return _braced(word, fields, more=len(kind.fields) > _FIELDS)


def wire_type_text(table: Sequence[TypeEntry], kind: int, depth: int = _DEPTH) -> str:
    """Write a type of a message down; its fields have numbers, since names are not sent."""
    if kind < 0:
        return _NAMES.get(kind, "an unknown type")
    entry = table[kind]
    if entry.code in _NAMES:
        return _NAMES[entry.code]
    if depth == 0:
        return _MORE
    inner = entry.parts[:_FIELDS]
    if entry.code in (OPT, VEC):
        part = inner[0][1]
        if entry.code == VEC and part == Nat8.code:
            return "blob"
        return f"{'opt' if entry.code == OPT else 'vec'} {wire_type_text(table, part, depth - 1)}"
    fields = [(str(number), wire_type_text(table, part, depth - 1)) for number, part in inner]
    return _braced(_KINDS[entry.code], fields, more=len(entry.parts) > _FIELDS)


def _braced(word: str, fields: list[tuple[str, str]], *, more: bool) -> str:
    bare = word == "variant"
    parts = [name if bare and part == "null" else f"{name} : {part}" for name, part in fields]
    return f"{word} {{ {'; '.join([*parts, _MORE] if more else parts)} }}"
