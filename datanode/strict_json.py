"""Untrusted JSON: no key twice, integers only, and bounded memory while it is parsed.

The one reader for headers and indexes of checkpoints, lists of uploads, and signatures. Each kind
says how many parts it may have, and which error says that it is not what it should be.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from datanode.errors import DataNodeError
from datanode.text import printable, shown

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SIGNS: Final = (b"[", b"{", b":", b",")
_QUOTES_AN_ENTRY: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class StrictJson:
    """Reads JSON of one kind.

    Attributes:
        refused: Makes the error of this kind.
        max_entries: Most keys, values and items, each; most signs that begin or part them.
        numbers_matter: Refuse numbers that are not integers; otherwise they are read as null.
        keys_repeat: Take the last of several values of a key, as most programs do.
    """

    refused: Callable[[str], DataNodeError]
    max_entries: int
    numbers_matter: bool = True
    keys_repeat: bool = False

    def read_object(self, raw: bytes, what: str) -> dict[str, object]:
        """Read an object; `what` it is, for messages.

        Raises:
            DataNodeError: It is none, or has too many parts.
        """
        self._bound_allocation(raw, what)
        loaded = self._load(raw, what)
        if not isinstance(loaded, dict):
            raise self.refused(f"{what} is not a JSON object")
        return loaded

    def read_string(self, raw: bytes, what: str) -> str:
        """Read a string.

        Raises:
            DataNodeError: It is none.
        """
        loaded = self._load(raw, what)
        if not isinstance(loaded, str):
            raise self.refused(f"{what} has a name that is no text")
        return loaded

    def _load(self, raw: bytes, what: str) -> object:
        number = partial(self._refuse_number, what) if self.numbers_matter else _no_number
        unique = None if self.keys_repeat else partial(self._unique, what)
        try:
            return json.loads(
                raw.decode(), object_pairs_hook=unique, parse_float=number, parse_constant=number
            )
        except UnicodeDecodeError as error:
            raise self.refused(f"{what} is not UTF-8 at byte {error.start}") from error
        except json.JSONDecodeError as error:
            why = f"{printable(error.msg)} at {error.pos}"
            raise self.refused(f"{what} is not JSON: {why}") from error
        except ValueError as error:  # CPython refuses to convert more than 4,300 digits
            raise self.refused(f"{what} has a number of too many digits") from error
        except RecursionError as error:
            raise self.refused(f"{what} is nested too deeply") from error

    def _unique(self, what: str, items: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(items)
        if len(found) != len(items):
            raise self.refused(f"{what} has the key {shown(_first_repeated(items))} twice")
        return found

    def _bound_allocation(self, raw: bytes, what: str) -> None:
        """Refuse what would cost hundreds of megabytes before anyone could look at it.

        The parser builds all objects first. So count what it would build, outside of strings.
        """
        if raw.count(b'"') > _QUOTES_AN_ENTRY * self.max_entries:
            raise self.refused(f"{what} has too many strings")
        signs = _STRING.sub(b"", raw)
        for sign in _SIGNS:
            if signs.count(sign) > self.max_entries:
                raise self.refused(f"{what} has too many entries: '{sign.decode()}' abounds")

    def _refuse_number(self, what: str, text: str) -> object:
        raise self.refused(f"{what} has the number {shown(text)}, which is no integer")


def _first_repeated(items: list[tuple[str, object]]) -> str:
    seen: set[str] = set()
    for name, _ in items:
        if name in seen:
            break
        seen.add(name)
    return name


def _no_number(_: str) -> None:
    """Stand in for a number that does not matter."""
