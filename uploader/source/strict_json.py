"""Untrusted JSON objects: no key twice, integers only, and bounded memory while they are parsed."""

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Final

from datanode.errors import SourceError
from datanode.limits import MAX_TENSORS
from uploader.source.base import shown

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_MAX_ENTRIES: Final = 2 * MAX_TENSORS
"""Most strings that are keys, values or items; most signs that begin or part them. Ours."""
_SIGNS: Final = (b"[", b"{", b":", b",")


def load_json_object(
    raw: bytes, what: str, *, numbers_matter: bool = True, keys_repeat: bool = False
) -> dict[str, object]:
    """Read an untrusted JSON object of bounded size.

    Args:
        raw: The text.
        what: What it is, for messages.
        numbers_matter: Refuse numbers that are not integers.
        keys_repeat: Take the last of several values of a key, as most programs do.

    Raises:
        SourceError: It is not one, or has too many parts.
    """
    _bound_allocation(raw, what)
    hook = None if keys_repeat else partial(_unique, what)
    loaded = _load(raw, what, hook, numbers_matter=numbers_matter)
    if not isinstance(loaded, dict):
        raise SourceError(f"{what} is not a JSON object")
    return loaded


def load_string(raw: bytes, what: str) -> str:
    """Read an untrusted JSON string.

    Raises:
        SourceError: It is not one.
    """
    loaded = _load(raw, what, None, numbers_matter=True)
    if not isinstance(loaded, str):
        raise SourceError(f"{what} has a name that is no text")
    return loaded


def _load(
    raw: bytes,
    what: str,
    hook: Callable[[list[tuple[str, object]]], dict[str, object]] | None,
    *,
    numbers_matter: bool,
) -> object:
    refuse = partial(_refuse_number, what=what) if numbers_matter else _no_number
    try:
        return json.loads(
            raw.decode(), object_pairs_hook=hook, parse_float=refuse, parse_constant=refuse
        )
    except UnicodeDecodeError as error:
        raise SourceError(f"{what} is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise SourceError(f"{what} is not JSON: {error.msg} at {error.pos}") from error
    except ValueError as error:  # CPython refuses to convert more than 4,300 digits
        raise SourceError(f"{what} has a number of too many digits") from error
    except RecursionError as error:
        raise SourceError(f"{what} is nested too deeply") from error


def _unique(what: str, items: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(items)
    if len(found) != len(items):
        raise SourceError(f"{what} has the key {shown(_first_repeated(items))} twice")
    return found


def _bound_allocation(raw: bytes, what: str) -> None:
    """Refuse what would cost hundreds of megabytes before anyone could look at it.

    The parser builds all objects first. So count what it would build, outside of strings.
    """
    if raw.count(b'"') > 4 * _MAX_ENTRIES:
        raise SourceError(f"{what} has too many strings")
    signs = _STRING.sub(b"", raw)
    for sign in _SIGNS:
        if signs.count(sign) > _MAX_ENTRIES:
            raise SourceError(f"{what} has too many entries: '{sign.decode()}' abounds")


def _first_repeated(items: list[tuple[str, object]]) -> str:
    seen: set[str] = set()
    for name, _ in items:
        if name in seen:
            break
        seen.add(name)
    return name


def _no_number(_: str) -> None:
    """Stand in for a number that does not matter."""


def _refuse_number(text: str, what: str) -> object:
    raise SourceError(f"{what} has the number {shown(text)}, which is no integer")
