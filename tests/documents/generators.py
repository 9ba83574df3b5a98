"""Every generated section, by the name in its marker."""

from collections.abc import Callable
from functools import partial
from typing import Final

from tests.documents import commands, exit_codes, figures, formats, python_api

GENERATORS: Final[dict[str, Callable[[], str]]] = {
    "commands": commands.summary,
    "command-reference": commands.reference,
    "exit-codes": exit_codes.codes,
    "python-functions": python_api.functions,
    "results": figures.results,
    "like-with-like": figures.like_with_like,
    "measured": figures.measured,
    "instruction-counts": figures.instruction_counts,
    "call-costs": figures.call_costs,
} | {
    f"format-{name}": partial(formats.description, owner) for name, owner in formats.OWNERS.items()
}
