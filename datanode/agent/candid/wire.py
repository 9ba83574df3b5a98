"""Reads the self-description of Candid and reads over values, from hostile bytes.

Every value costs a step and there are at most `MAX_STEPS`, so that values of no size (`vec null`)
cannot stand for more work than their bytes; values nest at most `MAX_DEPTH` deep. References to
functions and services are known as far as reading over them goes; new kinds of types are refused.
"""

from dataclasses import dataclass
from typing import Final

from datanode.agent.candid.types import (
    MAGIC,
    OPT,
    RECORD,
    VARIANT,
    VEC,
    Func,
    Int,
    Nat,
    Principal,
    Text,
)
from datanode.errors import FormatError
from datanode.principal import Principal as PrincipalValue

MAX_STEPS: Final = 500_000
"""Most values in one message. Ours: a lease's largest page holds 180,000."""
MAX_DEPTH: Final = 64
MAX_TYPES: Final = 1_000
MAX_FIELDS: Final = 1_000
MAX_ARGUMENTS: Final = 64
MAX_LEB128_BYTES: Final = 40
"""Longest number: 280 bits. Ours: cycles have 128."""
EMPTY: Final = -17

_SERVICE: Final = -23
_PRIMITIVES: Final = frozenset([*range(EMPTY, 0), Principal.code])
_WIDTHS: Final = {-2: 1, -5: 1, -6: 2, -7: 4, -8: 8, -9: 1, -10: 2, -11: 4, -12: 8, -13: 4, -14: 8}
_MAX_FIELD_ID: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class TypeEntry:
    """A line of the wire's type table; `parts` are (id, type), with id 0 for opt and vec."""

    code: int
    parts: tuple[tuple[int, int], ...] = ()


class Bytes:
    """A position in the data, and the numbers of Candid."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """Take so many bytes."""
        end = self.at + count
        if end > len(self.data):
            raise FormatError("Candid: a length runs past the end")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def _byte(self) -> int:
        return self.take(1)[0]

    def flag(self) -> bool:
        """Read a byte that is 0 or 1."""
        value = self._byte()
        if value > 1:
            raise FormatError("Candid: a byte that is neither 0 nor 1")
        return value == 1

    def leb128(self) -> int:
        """Read a natural number."""
        number, shift = 0, 0
        for at in range(self.at, min(self.at + MAX_LEB128_BYTES, len(self.data))):
            byte = self.data[at]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the bit that says whether more follows
                self.at = at + 1
                return number
            shift += 7
        raise FormatError("Candid: a number is too long or runs past the end")

    def sleb128(self) -> int:
        """Read an integer."""
        start = self.at
        number = self.leb128()
        bits = 7 * (self.at - start)
        return number - (1 << bits) if number >> (bits - 1) else number

    def count(self, limit: int, what: str) -> int:
        """Read a natural number that must not exceed a limit."""
        number = self.leb128()
        if number > limit:
            raise FormatError(f"Candid: {number} {what}, at most {limit} are read")
        return number

    def length(self) -> int:
        """How many items follow; every item is taken to have a byte at least."""
        number = self.leb128()
        if number > len(self.data) - self.at:
            raise FormatError("Candid: a length runs past the end")
        return number


class Wire(Bytes):
    """A message whose types are read and whose values can be read over."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.table: list[TypeEntry] = []
        self.table_end = 0
        self.steps_left = MAX_STEPS

    def header(self) -> list[int]:
        """Read the type table and the types of the arguments."""
        if self.take(len(MAGIC)) != MAGIC:
            raise FormatError("Candid: does not begin with DIDL")
        for _ in range(self.count(MAX_TYPES, "types")):
            self.table.append(self._entry())
        for entry in self.table:
            for _, part in entry.parts:
                self._check_reference(part)
        self.table_end = self.at
        kinds = [self.sleb128() for _ in range(self.count(MAX_ARGUMENTS, "arguments"))]
        for kind in kinds:
            self._check_reference(kind)
        return kinds

    def _check_reference(self, kind: int) -> None:
        if kind not in _PRIMITIVES and not 0 <= kind < len(self.table):
            raise FormatError("Candid: a type that is not in the table")

    def _entry(self) -> TypeEntry:
        code = self.sleb128()
        if code in (OPT, VEC):
            return TypeEntry(code, ((0, self.sleb128()),))
        if code in (RECORD, VARIANT):
            parts = []
            last = -1
            for _ in range(self.count(MAX_FIELDS, "fields")):
                number = self.leb128()
                if not last < number <= _MAX_FIELD_ID:
                    raise FormatError("Candid: fields are not in order")
                last = number
                parts.append((number, self.sleb128()))
            return TypeEntry(code, tuple(parts))
        if code == Func.code:
            for _ in range(2):
                for _ in range(self.count(MAX_FIELDS, "types")):
                    self.sleb128()
            self.take(self.length())
            return TypeEntry(code)
        if code == _SERVICE:
            for _ in range(self.count(MAX_FIELDS, "methods")):
                self.take(self.length())
                self.sleb128()
            return TypeEntry(code)
        raise FormatError("Candid: a kind of type that this release does not know")

    def step(self, depth: int) -> None:
        """Count a value and check how deep it stands."""
        self.steps_left -= 1
        if self.steps_left < 0:
            raise FormatError(f"Candid: more than {MAX_STEPS} values")
        if depth <= 0:
            raise FormatError("Candid: nested too deep")

    def text(self) -> str:
        """Read a text."""
        try:
            return self.take(self.length()).decode()
        except UnicodeDecodeError:
            raise FormatError("Candid: text that is not UTF-8") from None

    def principal(self) -> PrincipalValue:
        """Read a principal."""
        if not self.flag():
            raise FormatError("Candid: an opaque reference")
        return PrincipalValue(self.take(self.length()))

    def skip(self, kind: int, depth: int) -> None:
        """Read over a value of any type."""
        self.step(depth)
        if kind in _WIDTHS:
            self.take(_WIDTHS[kind])
        elif kind in (Nat.code, Int.code):
            self.leb128()
        elif kind == Text.code:
            self.take(self.length())
        elif kind == Principal.code:
            self.principal()
        elif kind == EMPTY:
            raise FormatError("Candid: a value of the type without values")
        elif kind >= 0:
            self._skip_entry(self.table[kind], depth - 1)

    def _skip_entry(self, entry: TypeEntry, depth: int) -> None:
        if entry.code == OPT:
            if self.flag():
                self.skip(entry.parts[0][1], depth)
        elif entry.code == VEC:
            part = entry.parts[0][1]
            count = self.leb128()
            if part in _WIDTHS:
                self.take(count * _WIDTHS[part])
                return
            for _ in range(count):
                self.skip(part, depth)
        elif entry.code == RECORD:
            for _, part in entry.parts:
                self.skip(part, depth)
        elif entry.code == VARIANT:
            at = self.leb128()
            if at >= len(entry.parts):
                raise FormatError("Candid: a case that is not in the type")
            self.skip(entry.parts[at][1], depth)
        else:
            self.reference(entry.code)

    def reference(self, code: int) -> None:
        """Read over a reference to a method or a service."""
        if code == Func.code:
            self.func()
        else:
            self.principal()

    def func(self) -> tuple[str, PrincipalValue]:
        """Read a reference to a method."""
        if not self.flag():
            raise FormatError("Candid: an opaque reference")
        canister = self.principal()
        return self.text(), canister
