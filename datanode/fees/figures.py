"""Reads the published figures of a schedule from its TOML file."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from datanode.errors import FormatError, UsageError

DEFAULT_SCHEDULE: Final = "docs"
RENT_SCHEDULES: Final = ("docs", "code")
"""Schedules whose storage prices are shown side by side; the higher one is planned with."""

_PACKAGE: Final = "datanode.fees"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A published figure.

    Attributes:
        value: In the unit that the item's name ends with; cycles where it names none.
        source: Who published it.
        date: When, `YYYY-MM`.
    """

    value: int
    source: str
    date: str


def schedule_names() -> tuple[str, ...]:
    """List the schedules that are there, the default first."""
    files = (file.name for file in resources.files(_PACKAGE).iterdir())
    names = sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))
    return tuple(sorted(names, key=lambda name: name != DEFAULT_SCHEDULE))


@cache
def figures(name: str) -> Mapping[str, Figure]:
    """Read the figures of a schedule by name, those of its base included.

    Raises:
        UsageError: There is no schedule of that name.
        FormatError: Its file, or that of its base, makes no sense.
    """
    if name not in schedule_names():
        raise UsageError(
            f"no fee schedule {name!r}", hint=f"There are: {', '.join(schedule_names())}."
        )
    table = tomllib.loads(resources.files(_PACKAGE).joinpath(f"{name}.toml").read_text())
    base = table.pop("base", None)
    below = {} if base is None else figures(base)
    try:
        own = {item: Figure(**figure) for item, figure in table.items()}
    except TypeError as error:
        raise FormatError(f"fee schedule {name}: {error}") from error
    return {**below, **own}
