"""Takes a decoded CBOR map apart, field by field, with types and sizes checked.

What is left over at the end is an error: an unknown field is something this release does not
understand, and ignoring it would mean to accept bytes whose meaning nobody has checked.
"""

from datanode.cbor import Cbor
from datanode.errors import FormatError
from datanode.principal import Principal


class CborFields:
    """A map under inspection.

    Args:
        value: A decoded value; anything but a map is refused.
        name: What it is, for messages.
    """

    def __init__(self, value: Cbor, name: str) -> None:
        if not isinstance(value, dict):
            raise FormatError(f"{name}: not a map")
        # Encoders of JavaScript write null or undefined where they mean "not there".
        self._left = {key: item for key, item in value.items() if item is not None}
        self._name = name

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def take(self, key: str) -> Cbor:
        """Take a field of any type."""
        if key not in self._left:
            raise FormatError(f"{self._name}: no {key}")
        return self._left.pop(key)

    def data(self, key: str, max_bytes: int | None = None) -> bytes:
        """Take a byte string."""
        value = self.take(key)
        if not isinstance(value, bytes):
            raise FormatError(f"{self._name}: {key} is not a byte string")
        if max_bytes is not None and len(value) > max_bytes:
            raise FormatError(f"{self._name}: {key} has more than {max_bytes} bytes")
        return value

    def optional_data(self, key: str, max_bytes: int) -> bytes | None:
        """Take a byte string that may be absent."""
        return self.data(key, max_bytes) if key in self else None

    def text(self, key: str) -> str:
        """Take a text."""
        value = self.take(key)
        if not isinstance(value, str):
            raise FormatError(f"{self._name}: {key} is not text")
        return value

    def number(self, key: str) -> int:
        """Take a natural number of at most 64 bits."""
        value = self.take(key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise FormatError(f"{self._name}: {key} is not a number")
        return value

    def principal(self, key: str) -> Principal:
        """Take a principal."""
        return Principal(self.data(key))

    def list(self, key: str, max_items: int) -> list[Cbor]:
        """Take an array."""
        return checked_list(self.take(key), f"{self._name}: {key}", max_items)

    def end(self) -> None:
        """Refuse whatever has not been taken."""
        if self._left:
            raise FormatError(f"{self._name}: an unknown field")


def checked_list(value: Cbor, name: str, max_items: int) -> list[Cbor]:
    """Check that a value is an array of bounded length."""
    if not isinstance(value, list):
        raise FormatError(f"{name}: not an array")
    if len(value) > max_items:
        raise FormatError(f"{name}: more than {max_items} items")
    return value


def checked_data(value: Cbor, name: str) -> bytes:
    """Check that a value is a byte string."""
    if not isinstance(value, bytes):
        raise FormatError(f"{name}: not a byte string")
    return value
