"""Data shown on the page: committed records and the end of the ledger, read without locks.

A page reads what is in memory and a bounded number of ledger entries, so it costs the same beside
a canister that is busy, and with many of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

from datanode.fees import Figure
from datanode.localnet.gateway.page import wording
from datanode.localnet.state import ledger, logs
from datanode.localnet.state.canister_names import CanisterNames
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.ledger import BillEntry
from datanode.localnet.state.logs import Line
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.snapshot_records import SnapshotRecord
from datanode.localnet.state.subnet import Subnet
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.localnet.state.topology import Topology
from datanode.principal import Principal
from datanode.units import SECOND_NS

CANISTERS_COUNT: Final = 50
MESSAGES_COUNT: Final = 25
"""How many are shown on one page."""

_LOG_LINES: Final = 50
_UNITS: Final = {
    "cycles": "cycles",
    "each": "cycles a node",
    "s": "s",
    "gib": "GiB",
    "nodes": "nodes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterRow:
    """A canister and what its existence costs.

    Attributes:
        canister: Its last committed record.
        name: Its name, for people; empty without one.
        idle_cycles: What a day without messages costs.
        frozen_below_cycles: The balance that must stay.
        until_frozen: How long the rest lasts, in words.
        memory: Kinds of memory and their bytes.
    """

    canister: Canister
    name: str
    idle_cycles: int
    frozen_below_cycles: int
    until_frozen: str
    memory: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price in force.

    Attributes:
        item: For what.
        unit: In which unit.
        value: On this network's subnet.
        figure: As it is published.
    """

    item: str
    unit: str
    value: int
    figure: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class BillPart:
    """Some of many, in order.

    Attributes:
        canisters: Canisters of this page.
        messages: Entries of this page.
        reasons: Why messages were rejected, by their entry, as long as the answer is kept.
        next: Where the next page begins; None at the end.
    """

    canisters: tuple[CanisterRow, ...] = ()
    messages: tuple[BillEntry, ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)
    next: str | None = None


class PageFacts:
    """Reads a network for the page; safe to be used from many threads."""

    def __init__(
        self,
        runtime: SubnetRuntime,
        traffic: MessageTraffic,
        records: CanisterRecords,
        topology: Topology,
    ) -> None:
        self._runtime = runtime
        self._traffic = traffic
        self._records = records
        self._names = CanisterNames(records.database)
        self.topology = topology

    @property
    def canisters_count(self) -> int:
        """How many canisters there are."""
        return len(self._records.canisters)

    @property
    def entries_count(self) -> int:
        """How many entries the ledger has."""
        return ledger.last_sequence(self._records.database)

    @property
    def time_ns(self) -> int:
        """The network's time."""
        return self._traffic.clock.now_ns()

    @property
    def pace(self) -> str:
        """How canister time goes, in words."""
        time = self._runtime.canister_time
        ahead_s = max(0, time.now_ns() - self._traffic.clock.now_ns()) // SECOND_NS
        ahead = f"{wording.span(ahead_s)} ahead" if ahead_s else "as the clock"
        return ahead if time.rate == 1 else f"{ahead}, {time.rate:,} times as fast"

    @property
    def subnet(self) -> Subnet:
        """Describe the simulated subnet."""
        return self._runtime.rules.subnet

    def faults(self) -> Sequence[Mapping[str, object]]:
        """List the faults that are set."""
        return self._traffic.faults.standing()

    def prices(self) -> Sequence[Price]:
        """List the prices in force."""
        schedule = self._runtime.fees
        found = []
        for item in fields(schedule):
            figure = getattr(schedule, item.name)
            if isinstance(figure, Figure):
                words = item.name.split("_")
                unit = words.pop() if words[-1] in _UNITS else "cycles"
                value = schedule.cycles_of(figure) if unit == "cycles" else figure.value
                found.append(
                    Price(item=" ".join(words), unit=_UNITS[unit], value=value, figure=figure)
                )
        return found

    def canisters(self, after: Principal | None = None) -> BillPart:
        """List canisters in the order of their ids."""
        slots = self._records.canisters.page(CANISTERS_COUNT + 1, after=after)
        listed = [slot.canister for slot in slots[:CANISTERS_COUNT]]
        names = self._names.of([canister.id for canister in listed])
        shown = tuple(self._held(canister, names) for canister in listed)
        more = len(slots) > CANISTERS_COUNT
        return BillPart(canisters=shown, next=shown[-1].canister.id.text if more else None)

    def messages(
        self, *, before: int | None = None, canister: Principal | None = None, rent: bool = False
    ) -> BillPart:
        """List entries of the ledger, the newest first; those of rent too, if asked."""
        entries = ledger.newest(
            self._records.database,
            MESSAGES_COUNT + 1,
            before=before,
            canister=canister,
            rent=rent,
        )
        shown = tuple(entries[:MESSAGES_COUNT])
        more = len(entries) > MESSAGES_COUNT
        return BillPart(
            messages=shown,
            reasons={each.sequence: reason for each in shown if (reason := self._reason(each))},
            next=str(shown[-1].sequence) if more else None,
        )

    def _reason(self, entry: BillEntry) -> str | None:
        if not entry.status.startswith("IC"):
            return None
        known = self._traffic.requests.find(entry.request_id)
        reject = None if known is None or known.answer is None else known.answer.reject
        return None if reject is None else reject.message

    def find(self, canister: Principal) -> CanisterRow | None:
        """Look a canister up."""
        slot = self._records.canisters.find(canister)
        return None if slot is None else self._held(slot.canister, self._names.of([canister]))

    def logs(self, canister: Principal) -> Sequence[Line]:
        """Return number, time and text of a canister's last log lines, the newest first."""
        return logs.newest(self._records.database, canister, _LOG_LINES)

    def snapshots(self, canister: Principal) -> Sequence[SnapshotRecord]:
        """List a canister's snapshots; it has ten at most."""
        return self._records.snapshots.of(canister)

    def _held(self, canister: Canister, names: Mapping[Principal, str]) -> CanisterRow:
        fees = self._runtime.fees
        idle = canister.idle_cycles_per_day(fees)
        below = canister.frozen_below_cycles(fees)
        return CanisterRow(
            canister=canister,
            name=names.get(canister.id, ""),
            idle_cycles=idle,
            frozen_below_cycles=below,
            until_frozen=wording.until_frozen(
                canister, idle_cycles_per_day=idle, frozen_below_cycles=below
            ),
            memory=(
                ("heap", canister.heap_bytes),
                ("stable memory", canister.stable_bytes),
                ("snapshots", canister.snapshot_bytes),
                ("module", canister.module_bytes),
                ("metadata", canister.section_bytes),
                ("chunk store", canister.chunk_bytes),
                ("globals", canister.global_bytes),
                ("log", canister.log_bytes),
            ),
        )
