"""Makes text from outside fit to be shown on a terminal."""

from typing import Final

MAX_SHOWN: Final = 400
"""Characters of foreign text in a message, unless told otherwise. Ours."""

_SHOWN_CHARACTERS: Final = 80
"""Characters of a foreign name in a message. Ours."""


def printable(text: str | bytes, limit: int = MAX_SHOWN, *, spaces: bool = False) -> str:
    r"""Neutralise text that a network, file or canister supplied.

    Whatever does not print (control characters, escape sequences, changes of direction, lone
    surrogates) becomes its `\x1b` form, so that nobody else writes on the user's terminal.

    Args:
        text: Untrusted text; bytes are read as UTF-8, broken ones shown as U+FFFD.
        limit: Most characters that are kept.
        spaces: Keep every space and escape other white space, as befits a name; otherwise a run of
            white space becomes one space.
    """
    if isinstance(text, bytes):
        text = text[: 4 * limit + 4].decode(errors="replace")
    cut = text[: 2 * limit]
    kept = "".join(
        char if char.isprintable() else " " if char.isspace() and not spaces else _escaped(char)
        for char in cut
    )
    if not spaces:
        kept = " ".join(kept.split())
    if len(kept) <= limit and len(cut) == len(text):
        return kept
    return kept[:limit] + "..."


def shown(text: str) -> str:
    """Render an untrusted name for a message: quoted, short, everything but plain ASCII escaped.

    Stricter than `printable`, because names are ASCII by rule: a blank at the end of one, or a
    letter that only looks like another, is what the message is about.
    """
    cut = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
    return ascii(cut)


def _escaped(char: str) -> str:
    return char.encode("ascii", "backslashreplace").decode() if char > "\x7f" else repr(char)[1:-1]
