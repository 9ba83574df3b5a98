"""Typed access to the fields of a decoded Candid record."""

from collections.abc import Mapping, Sequence

from datanode.agent import candid
from datanode.agent.candid import Record, Value
from datanode.errors import FormatError
from datanode.principal import Principal


class Arguments:
    """The fields of one record; the decoder has checked their types, this tells mypy."""

    def __init__(self, fields: Mapping[str, Value]) -> None:
        self._fields = fields

    @classmethod
    def decode(cls, record: Record, arg: bytes) -> "Arguments":
        """Read an argument that is one record.

        Raises:
            FormatError: It is not of that type.
        """
        (value,) = candid.decode((record,), arg)
        return cls(_record(value))

    def principal(self, name: str) -> Principal:
        """Return a principal."""
        value = self._fields[name]
        if not isinstance(value, Principal):
            raise FormatError(f"{name} is not a principal")
        return value

    def optional_principal(self, name: str) -> Principal | None:
        """Return a principal or None."""
        return None if self._fields[name] is None else self.principal(name)

    def principals(self, name: str) -> tuple[Principal, ...] | None:
        """Return a vec of principals or None."""
        value = self._fields[name]
        return None if value is None else principals(value)

    def number(self, name: str) -> int:
        """Return a natural number."""
        value = self._fields[name]
        if not isinstance(value, int):
            raise FormatError(f"{name} is not a number")
        return value

    def optional_number(self, name: str) -> int | None:
        """Return a natural number or None."""
        return None if self._fields[name] is None else self.number(name)

    def flag(self, name: str) -> bool:
        """Return a truth value; false where it is absent."""
        return self._fields[name] is True

    def blob(self, name: str) -> bytes:
        """Return bytes."""
        value = self._fields[name]
        if not isinstance(value, bytes):
            raise FormatError(f"{name} is not a blob")
        return value

    def text(self, name: str) -> str:
        """Return text."""
        value = self._fields[name]
        if not isinstance(value, str):
            raise FormatError(f"{name} is not text")
        return value

    def record(self, name: str) -> "Arguments":
        """Return a record within."""
        return Arguments(_record(self._fields[name]))

    def optional_record(self, name: str) -> "Arguments | None":
        """Return a record within, or None."""
        return None if self._fields[name] is None else self.record(name)

    def records(self, name: str) -> "list[Arguments]":
        """Return a vec of records; empty where it is absent."""
        value = self._fields[name] or []
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise FormatError(f"{name} is not a list")
        return [Arguments(_record(each)) for each in value]

    def values(self, name: str) -> Sequence[Value]:
        """Return a vec of values of any kind."""
        value = self._fields[name]
        if not isinstance(value, Sequence) or isinstance(value, str | bytes):
            raise FormatError(f"{name} is not a list")
        return value

    def has(self, name: str) -> bool:
        """Whether an optional field is there."""
        return self._fields[name] is not None

    def variant(self, name: str) -> tuple[str, Value]:
        """Return the case and value of a variant."""
        value = self._fields[name]
        if not isinstance(value, tuple):
            raise FormatError(f"{name} is not a variant")
        return str(value[0]), value[1]

    def choice(self, name: str) -> "tuple[str, Arguments]":
        """Return the case of a variant and the record in it; an empty one where it has none."""
        case, value = self.variant(name)
        return case, Arguments({} if value is None else _record(value))


def principals(value: Value) -> tuple[Principal, ...]:
    """Narrow a vec of principals."""
    if not isinstance(value, Sequence):
        raise FormatError("not a list of principals")
    return tuple(each for each in value if isinstance(each, Principal))


def _record(value: Value) -> Mapping[str, Value]:
    if not isinstance(value, Mapping):
        raise FormatError("not a record")
    return value
