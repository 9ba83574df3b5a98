"""The kind of subnet that the embedded network stands for: prices, metering, size, use.

Kept as a fact of the database, so that a restart changes no price. Whoever starts the network with
another value changes it from then on; what was charged before stays.
"""

import json
import logging
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Final, Self

from datanode.errors import UsageError
from datanode.fees import DEFAULT_SCHEDULE, REFERENCE_NODES, FeeSchedule
from datanode.metering import DEFAULT_METERING, metering
from datanode.units import GIB

if TYPE_CHECKING:
    from datanode.localnet.state.network_database import NetworkDatabase

_FACT: Final = "subnet"
_log: Final = logging.getLogger("datanode.localnet")


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetChoice:
    """Requested changes of the subnet; None keeps the current value.

    Attributes:
        fees: Name of the fee schedule.
        metering: Name of the metering version.
        nodes: How many nodes it has.
        sev: Whether they run under SEV.
        used_gib: How much memory the canisters of others hold, GiB.
    """

    fees: str | None = None
    metering: str | None = None
    nodes: int | None = None
    sev: bool | None = None
    used_gib: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """The subnet as it is; the attributes are those of `SubnetChoice`."""

    fees: str = DEFAULT_SCHEDULE
    metering: str = DEFAULT_METERING
    nodes: int = REFERENCE_NODES
    sev: bool = False
    used_gib: int = 0

    @classmethod
    def read(cls, database: "NetworkDatabase") -> Self:
        """Read what a network remembers."""
        kept = database.fact(_FACT)
        return cls() if kept is None else cls(**json.loads(kept))

    def changed(self, choice: SubnetChoice) -> Self:
        """Lay a choice over the subnet.

        Raises:
            UsageError: There is no such schedule, metering version or subnet.
        """
        given = {field.name: getattr(choice, field.name) for field in fields(choice)}
        after = replace(self, **{name: value for name, value in given.items() if value is not None})
        schedule = after.schedule()
        metering(after.metering)
        capacity_gib = schedule.reservation_capacity_gib.value
        if not 0 <= after.used_gib <= capacity_gib:
            raise UsageError(f"a subnet holds 0 to {capacity_gib} GiB, not {after.used_gib}")
        return after

    def keep(self, database: "NetworkDatabase") -> None:
        """Remember the subnet, and say in the log what has changed."""
        before = Subnet.read(database)
        if self != before:
            database.set_fact(_FACT, json.dumps(asdict(self)))
            _log.warning("from now on the subnet is %s; it was %s", self, before)

    def schedule(self) -> FeeSchedule:
        """Return its prices."""
        return FeeSchedule.load(self.fees, nodes=self.nodes, sev=self.sev)

    @property
    def used_bytes(self) -> int:
        """Return the memory held by other canisters of the subnet, bytes."""
        return self.used_gib * GIB

    def __str__(self) -> str:
        sev = " under SEV" if self.sev else ""
        return (
            f"{self.nodes} nodes{sev}, fees {self.fees!r}, metering {self.metering!r}, "
            f"{self.used_gib} GiB used by others"
        )
