"""Metering versions as data: what a message pays for the memory that it uses.

Each TOML file beside this one is a version, named by the month from which the Internet Computer
charged so. Prices of operators and system calls are the same in all of them.

Under `2026-07` a message pays when it first accesses a Wasm page of 64 KiB, of the heap or of
stable memory, and again when it first writes to it. Queries pay for accesses only. Two points of
the replica are not published and assumed here: pages of a 64-bit memory cost the same, and the
3,000 instructions for each copied page of 4 KiB are scheduled, not charged to the message.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Self

from datanode.errors import FormatError, UsageError
from datanode.fees import Figure

_PACKAGE: Final = "datanode.metering"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metering:
    """Memory prices of a message, in instructions.

    Attributes:
        name: The month from which the Internet Computer charged so, `YYYY-MM`.
        first_access_instructions: For a Wasm page that the message accesses for the first time.
        first_write_instructions: For a Wasm page that it writes for the first time, in addition.
        changed_heap_page_instructions: For each 4 KiB page of the heap with another content than
            before the message, at its end.
        changed_heap_page_wasm64_instructions: The same in a 64-bit memory.
        written_stable_page_instructions: For each 4 KiB page of stable memory that the message
            writes for the first time.
        slice_instructions: The most that a single operation may use, in messages that are sliced.
    """

    name: str
    first_access_instructions: Figure
    first_write_instructions: Figure
    changed_heap_page_instructions: Figure
    changed_heap_page_wasm64_instructions: Figure
    written_stable_page_instructions: Figure
    slice_instructions: Figure

    @classmethod
    def load(cls, name: str) -> Self:
        """Read a version.

        Raises:
            UsageError: There is no version of that name.
            FormatError: Its file is damaged.
        """
        if name not in metering_names():
            raise UsageError(
                f"no metering version {name!r}", hint=f"There are: {', '.join(metering_names())}."
            )
        table = tomllib.loads(resources.files(_PACKAGE).joinpath(f"{name}.toml").read_text())
        try:
            return cls(name=name, **{item: Figure(**figure) for item, figure in table.items()})
        except TypeError as error:
            raise FormatError(f"metering version {name}: {error}") from error

    @property
    def tracks_accesses(self) -> bool:
        """Whether accesses are charged, and not only writes and changes."""
        return self.first_access_instructions.value > 0

    def heap_page_instructions(self, *, wide: bool) -> int:
        """Return the price of a 4 KiB page of the heap that a message changed."""
        if wide:
            return self.changed_heap_page_wasm64_instructions.value
        return self.changed_heap_page_instructions.value


@cache
def metering_names() -> tuple[str, ...]:
    """List the versions, the newest first."""
    files = (file.name for file in resources.files(_PACKAGE).iterdir())
    names = (name.removesuffix(".toml") for name in files if name.endswith(".toml"))
    return tuple(sorted(names, reverse=True))


DEFAULT_METERING: Final = metering_names()[0]
"""The newest version."""


@cache
def metering(name: str = DEFAULT_METERING) -> Metering:
    """Return a version by name, the newest by default.

    Raises:
        UsageError: There is no version of that name.
    """
    return Metering.load(name)
