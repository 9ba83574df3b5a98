"""Fee schedules as data: what a subnet takes for a message, for storage, for a canister.

Each TOML file beside this one is a schedule: for every item its cycles on a subnet of 13 nodes,
where the figure comes from and when it was published. A subnet of n nodes takes n thirteenths of
every item, rounded down, as the replica scales its fees.

Two schedules stand side by side, because two storage prices are published: `docs` (127,000 cycles
per GiB and second) and `code` (317,500). Everything else is equal in both.
"""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Final, Self

from datanode.errors import FormatError, UsageError
from datanode.units import DAY_S, GIB

DEFAULT_SCHEDULE: Final = "docs"
REFERENCE_NODES: Final = 13
"""Nodes of the subnet that the published figures are for."""

_EXECUTION_UNIT_INSTRUCTIONS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A published price.

    Attributes:
        cycles: On a subnet of 13 nodes.
        source: Who published it.
        date: When, `YYYY-MM`.
    """

    cycles: int
    source: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSchedule:
    """Prices of one subnet.

    Attributes:
        name: E.g. `docs`.
        nodes: How many nodes the subnet has; every price follows from it.
        ingress_message: An ingress message, whatever its size.
        ingress_byte: A byte of its envelope.
        execution_message: Executing an update message, whatever it does.
        ten_instructions: Ten Wasm32 instructions.
        ten_instructions_wasm64: Ten Wasm64 instructions.
        call: A call to another canister, paid by the caller.
        call_byte: A byte of that call's request or response.
        storage_gib_second: A GiB that is held for a second.
        canister_second: A canister that exists for a second.
        creation: Creating a canister.
        compute_percent_second: A percent of a core that is reserved for a second.
    """

    name: str
    nodes: int
    ingress_message: Figure
    ingress_byte: Figure
    execution_message: Figure
    ten_instructions: Figure
    ten_instructions_wasm64: Figure
    call: Figure
    call_byte: Figure
    storage_gib_second: Figure
    canister_second: Figure
    creation: Figure
    compute_percent_second: Figure

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise UsageError(f"a subnet has at least one node, not {self.nodes}")

    @classmethod
    def load(cls, name: str = DEFAULT_SCHEDULE, *, nodes: int = REFERENCE_NODES) -> Self:
        """Read a schedule by name, for a subnet of `nodes` nodes.

        Raises:
            UsageError: There is no schedule of that name, or no subnet of that size.
        """
        return cls(name=name, nodes=nodes, **_figures(name))

    def _scaled(self, figure: Figure, count: int = 1) -> int:
        return figure.cycles * count * self.nodes // REFERENCE_NODES

    def ingress_cycles(self, envelope_bytes: int) -> int:
        """Price an ingress message by the bytes of its envelope."""
        return self._scaled(self.ingress_message) + self._scaled(self.ingress_byte) * envelope_bytes

    def instruction_cycles(self, instructions: int, *, wasm64: bool = False) -> int:
        """Price instructions alone."""
        figure = self.ten_instructions_wasm64 if wasm64 else self.ten_instructions
        cycles = figure.cycles * instructions // _EXECUTION_UNIT_INSTRUCTIONS
        return cycles * self.nodes // REFERENCE_NODES

    def execution_cycles(self, instructions: int, *, wasm64: bool = False) -> int:
        """Price the execution of an update message: the base and its instructions."""
        base = self._scaled(self.execution_message)
        return base + self.instruction_cycles(instructions, wasm64=wasm64)

    def call_cycles(self, call_bytes: int) -> int:
        """Price a call to another canister by the bytes of its request and response."""
        return self._scaled(self.call) + self._scaled(self.call_byte) * call_bytes

    def storage_cycles(self, held_bytes: int, seconds: int) -> int:
        """Price holding bytes for a time."""
        return held_bytes * seconds * self._scaled(self.storage_gib_second) // GIB

    def base_cycles(self, seconds: int) -> int:
        """Price the existence of one canister for a time."""
        return self._scaled(self.canister_second) * seconds

    def compute_cycles(self, percent: int, seconds: int) -> int:
        """Price a compute allocation for a time."""
        return self._scaled(self.compute_percent_second) * percent * seconds

    def idle_cycles_per_day(self, held_bytes: int, *, compute_percent: int = 0) -> int:
        """Price a day of a canister that does nothing."""
        rent = self.storage_cycles(held_bytes, DAY_S) + self.base_cycles(DAY_S)
        return rent + self.compute_cycles(compute_percent, DAY_S)

    @property
    def creation_cycles(self) -> int:
        """The price of creating a canister."""
        return self._scaled(self.creation)


def schedule_names() -> tuple[str, ...]:
    """List the schedules that are there, the default first."""
    files = (file.name for file in resources.files(__name__).iterdir())
    names = sorted(name.removesuffix(".toml") for name in files if name.endswith(".toml"))
    return tuple(sorted(names, key=lambda name: name != DEFAULT_SCHEDULE))


@cache
def _figures(name: str) -> dict[str, Figure]:
    if name not in schedule_names():
        raise UsageError(
            f"no fee schedule {name!r}", hint=f"There are: {', '.join(schedule_names())}."
        )
    text = resources.files(__name__).joinpath(f"{name}.toml").read_text()
    table = tomllib.loads(text)
    wanted = {item.name for item in fields(FeeSchedule)} - {"name", "nodes"}
    if table.keys() != wanted:
        odd = ", ".join(sorted(table.keys() ^ wanted))
        raise FormatError(f"fee schedule {name}: missing or unknown items: {odd}")
    return {item: Figure(**figure) for item, figure in table.items()}
