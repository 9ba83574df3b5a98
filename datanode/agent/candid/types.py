"""The types of Candid that canisters here and the management canister use, and their values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

from datanode.principal import Principal as PrincipalValue

MAGIC: Final = b"DIDL"

Value: TypeAlias = (
    bool
    | int
    | float
    | str
    | bytes
    | memoryview
    | PrincipalValue
    | Sequence["Value"]
    | Mapping[str, "Value"]
    | tuple[str, "Value"]
    | None
)
"""A value: record = mapping, variant = (case, value), vec = sequence, blob = bytes."""


@dataclass(frozen=True, slots=True)
class Primitive:
    """A type without parts.

    Attributes:
        code: Its number on the wire, negative.
        width_bytes: Size of a value of fixed size; 0 for the others.
    """

    code: int
    width_bytes: int = 0


Null: Final = Primitive(-1)
Bool: Final = Primitive(-2, 1)
Nat: Final = Primitive(-3)
Int: Final = Primitive(-4)
Nat8: Final = Primitive(-5, 1)
Nat16: Final = Primitive(-6, 2)
Nat32: Final = Primitive(-7, 4)
Nat64: Final = Primitive(-8, 8)
Int32: Final = Primitive(-11, 4)
Int64: Final = Primitive(-12, 8)
Float32: Final = Primitive(-13, 4)
Float64: Final = Primitive(-14, 8)
Text: Final = Primitive(-15)
Reserved: Final = Primitive(-16)
Principal: Final = Primitive(-24)
Func: Final = Primitive(-22)
"""A reference to a method, read only: (its name, its canister)."""
Opaque: Final = Primitive(0)
"""A value of any type, read only: the bytes of a message that holds it alone, to be passed on."""

OPT: Final = -18
VEC: Final = -19
RECORD: Final = -20
VARIANT: Final = -21


@dataclass(frozen=True)
class Opt:
    """A value or None."""

    inner: "Type"


@dataclass(frozen=True)
class Vec:
    """Many values of one type; `Vec(Nat8)` is a blob."""

    inner: "Type"


class _Fields:
    """Named parts, ordered by the hash of their names as on the wire."""

    def __init__(self, fields: Mapping[str, "Type"]) -> None:
        self.fields = tuple(sorted((field_id(name), name, part) for name, part in fields.items()))
        ids = [number for number, _, _ in self.fields]
        if len(set(ids)) < len(ids):
            raise TypeError("two names with the same hash")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.fields == self.fields

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"{type(self).__name__}({ {name: part for _, name, part in self.fields} })"

    @cached_property
    def _hash(self) -> int:
        return hash((type(self).__name__, self.fields))

    @cached_property
    def by_id(self) -> dict[int, tuple[str, "Type"]]:
        """Name and type of each part."""
        return {number: (name, part) for number, name, part in self.fields}


class Record(_Fields):
    """All of several named values."""


class Variant(_Fields):
    """One of several named values."""

    @cached_property
    def index(self) -> dict[str, tuple[int, "Type"]]:
        """Position on the wire and type of each case."""
        return {name: (at, part) for at, (_, name, part) in enumerate(self.fields)}


Type: TypeAlias = Primitive | Opt | Vec | Record | Variant

Blob: Final = Vec(Nat8)


def field_id(name: str) -> int:
    """Hash a name to its number on the wire; `_7_` is the number 7, as in a tuple."""
    if name.startswith("_") and name.endswith("_") and name[1:-1].isdecimal():
        return int(name[1:-1])
    number = 0
    for byte in name.encode():
        number = (number * 223 + byte) & 0xFFFFFFFF
    return number
