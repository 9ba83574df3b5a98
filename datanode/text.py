"""Makes text from outside fit to be shown on a terminal."""

from typing import Final

MAX_SHOWN: Final = 400
"""Characters of foreign text in a message, unless told otherwise. Ours."""


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
    shown = "".join(
        char if char.isprintable() else " " if char.isspace() and not spaces else _escaped(char)
        for char in cut
    )
    if not spaces:
        shown = " ".join(shown.split())
    if len(shown) <= limit and len(cut) == len(text):
        return shown
    return shown[:limit] + "..."


def _escaped(char: str) -> str:
    return char.encode("ascii", "backslashreplace").decode() if char > "\x7f" else repr(char)[1:-1]
