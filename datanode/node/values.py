"""Decoded Candid as Python types: a record is read field by field, as what it is.

`decode` has checked every value against the type that was asked for, so a value of another kind
here is a mistake in this release, and says so as `TypeError`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from datanode.agent.candid import Value
from datanode.principal import Principal

_T = TypeVar("_T")


def narrow(value: Value, kind: type[_T]) -> _T:
    """Return the value if it is of that kind.

    Raises:
        TypeError: It is not.
    """
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} where a {kind.__name__} is decoded")
    return value


def case(value: Value) -> tuple[str, Value]:
    """Return the name and the value of a variant's case."""
    if isinstance(value, tuple):
        name, inner = value
        return narrow(name, str), inner
    raise TypeError(f"{type(value).__name__} where a variant is decoded")


def items(value: Value) -> Sequence[Value]:
    """Return the values of a vec."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | memoryview | tuple):
        return value
    raise TypeError(f"{type(value).__name__} where a vec is decoded")


@dataclass(frozen=True, slots=True)
class Row:
    """A record."""

    fields: Mapping[str, Value]

    @classmethod
    def of(cls, value: Value) -> "Row":
        """Wrap a decoded record."""
        if isinstance(value, Mapping):
            return cls(value)
        raise TypeError(f"{type(value).__name__} where a record is decoded")

    def number(self, name: str) -> int:
        """A field of any number type."""
        return narrow(self.fields[name], int)

    def text(self, name: str) -> str:
        """A field of type text."""
        return narrow(self.fields[name], str)

    def data(self, name: str) -> bytes:
        """A field of type blob."""
        return narrow(self.fields[name], bytes)

    def principal(self, name: str) -> Principal:
        """A field of type principal."""
        return narrow(self.fields[name], Principal)

    def case(self, name: str) -> str:
        """A field of a variant whose cases carry nothing."""
        return case(self.fields[name])[0]

    def items(self, name: str) -> Sequence[Value]:
        """A field of a vec type."""
        return items(self.fields[name])

    def rows(self, name: str) -> list["Row"]:
        """A field that is a vec of records."""
        return [Row.of(value) for value in self.items(name)]

    def optional(self, name: str, kind: type[_T]) -> _T | None:
        """A field of an opt type."""
        value = self.fields[name]
        return None if value is None else narrow(value, kind)
