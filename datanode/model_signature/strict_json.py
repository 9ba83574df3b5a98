"""Untrusted JSON of a bundle: one object, no key twice, and few parts before it is parsed."""

import json
from typing import Final

from datanode.errors import SignatureError
from datanode.text import printable

_SIGNS: Final = (b"{", b"[", b",", b'"')
"""Characters that begin or part what a parser would build."""


def load_object(raw: bytes, what: str, *, max_parts: int) -> dict[str, object]:
    """Parse a JSON object.

    Args:
        raw: The text.
        what: Subject of the messages.
        max_parts: Most objects, lists, items and quotes, each counted with those inside strings.

    Raises:
        SignatureError: It is not one, or has too many parts.
    """
    if any(raw.count(sign) > max_parts for sign in _SIGNS):
        raise SignatureError(f"{what} has too many parts")
    try:
        loaded = json.loads(raw.decode(), object_pairs_hook=lambda items: _unique(items, what))
    except (ValueError, RecursionError) as error:
        raise SignatureError(f"{what} is not JSON: {printable(str(error))}") from error
    if not isinstance(loaded, dict):
        raise SignatureError(f"{what} is not a JSON object")
    return loaded


def _unique(items: list[tuple[str, object]], what: str) -> dict[str, object]:
    found = dict(items)
    if len(found) != len(items):
        raise SignatureError(f"{what} has a key twice")
    return found
