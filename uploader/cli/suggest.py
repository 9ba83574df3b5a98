"""Suggestions for names that are not there: "did you mean ...?"."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from datanode.errors import DataNodeError, NotFoundError
from uploader.command_context import CommandContext


@contextmanager
def suggesting_models(context: CommandContext, model: str) -> Iterator[None]:
    """Add to an error about a model the names that this identity may read and that are similar."""
    try:
        yield
    except NotFoundError as error:
        try:
            known = [each.name for each in context.coordinator().models()]
        except DataNodeError:
            known = []  # the first error is the one that counts
        if model not in known and (words := did_you_mean(model, known)):
            error.hint = f"{words} {error.hint}".strip()
        raise


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that names what is similar; nothing if nothing is."""
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=3)
    return f"Did you mean {' or '.join(folded[each] for each in close)}?" if close else ""
