"""Untrusted JSON objects: no key twice, integers only, and bounded memory while they are parsed."""

import json
import re
from typing import Final

from datanode.errors import SourceError
from datanode.limits import MAX_METADATA_BYTES, MAX_RANK, MAX_TENSORS
from uploader.source.base import shown

_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SIGNS_PER_TENSOR: Final = {b"[": 2, b"{": 1, b":": 4, b",": MAX_RANK + 3}
_STRINGS_PER_TENSOR: Final = 5
_MAX_METADATA_COUNT: Final = 10_000


def load_json_object(raw: bytes, what: str, *, numbers_matter: bool = True) -> dict[str, object]:
    """Read an untrusted JSON object: no key twice, bounded, integers only if numbers matter.

    Raises:
        SourceError: It is not one.
    """
    objects_count = 0

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal objects_count
        objects_count += 1
        if objects_count > MAX_TENSORS + 2:
            raise SourceError(f"{what} has more than {MAX_TENSORS} entries")
        found = dict(items)
        if len(found) != len(items):
            raise SourceError(f"{what} has the key {shown(_first_repeated(items))} twice")
        return found

    _bound_allocation(raw, what)
    try:
        loaded = json.loads(
            raw.decode(),
            object_pairs_hook=pairs,
            parse_float=lambda text: _refuse_number(text, what) if numbers_matter else None,
            parse_constant=lambda text: _refuse_number(text, what),
        )
    except UnicodeDecodeError as error:
        raise SourceError(f"{what} is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise SourceError(f"{what} is not JSON: {error.msg} at {error.pos}") from error
    except ValueError as error:  # CPython refuses to convert more than 4,300 digits
        raise SourceError(f"{what} has a number of too many digits") from error
    except RecursionError as error:
        raise SourceError(f"{what} is nested too deeply") from error
    if not isinstance(loaded, dict):
        raise SourceError(f"{what} is not a JSON object")
    return loaded


def _bound_allocation(raw: bytes, what: str) -> None:
    """Refuse what would cost hundreds of megabytes before anyone could look at it.

    The parser builds all objects first. So count what it would build, outside of strings, against
    what the largest legal header has.
    """
    if raw.count(b'"') > 2 * _STRINGS_PER_TENSOR * MAX_TENSORS + MAX_METADATA_BYTES:
        raise SourceError(f"{what} has too many strings")
    signs = _STRING.sub(b"", raw)
    for sign, most in _SIGNS_PER_TENSOR.items():
        if signs.count(sign) > most * MAX_TENSORS + _MAX_METADATA_COUNT:
            raise SourceError(f"{what} has too many entries: '{sign.decode()}' abounds")


def _first_repeated(items: list[tuple[str, object]]) -> str:
    seen: set[str] = set()
    for name, _ in items:
        if name in seen:
            break
        seen.add(name)
    return name


def _refuse_number(text: str, what: str) -> object:
    raise SourceError(f"{what} has the number {shown(text)}, which is no integer")
