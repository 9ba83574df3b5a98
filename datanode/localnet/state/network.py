"""The embedded network's state, opened from its folder and shared by all requests."""

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, cast

from datanode.agent import cbor
from datanode.agent.hash_tree import Plan
from datanode.errors import DiskFullError
from datanode.fees import FeeSchedule
from datanode.localnet.machine import prices
from datanode.localnet.machine.execution import Environment
from datanode.localnet.machine.machine import Machine
from datanode.localnet.machine.messaging import MAX_PAYLOAD_BYTES
from datanode.localnet.machine.outgoing import Incoming, Terms
from datanode.localnet.state.alarm import Alarm
from datanode.localnet.state.canister import Canister, Status
from datanode.localnet.state.canister_time import CanisterTime
from datanode.localnet.state.canisters import Canisters
from datanode.localnet.state.certificates import Certifier, RangesForm
from datanode.localnet.state.clock import Clock
from datanode.localnet.state.database import Database
from datanode.localnet.state.fault import Asked, Fault, Kind, Point
from datanode.localnet.state.fault_plan import FaultPlan
from datanode.localnet.state.growth import Growth
from datanode.localnet.state.marks import Marks
from datanode.localnet.state.open_calls import OpenCalls
from datanode.localnet.state.query_stats import QueryStats
from datanode.localnet.state.queue import Queue
from datanode.localnet.state.requests import Requests
from datanode.localnet.state.snapshots import Snapshots
from datanode.localnet.state.state_tree import Branch, Collection
from datanode.localnet.state.state_tree import Path as StatePath
from datanode.localnet.state.stops import Stops
from datanode.localnet.state.subnet import Subnet, SubnetChoice
from datanode.localnet.state.topology import Topology
from datanode.principal import Principal
from datanode.units import MIB, SECOND_NS

DISK_RESERVE_BYTES: Final = 128 * MIB
"""Below this much free space no update is executed: a page of a mapped file that finds no block
ends the process, not the message."""

_STATUSES: Final = {Status.RUNNING: 1, Status.STOPPING: 2, Status.STOPPED: 3}
_SCRATCH: Final = "scratch-"
_CERTIFICATE_REUSE_NS: Final = SECOND_NS
"""How long a data certificate for queries is used again."""

_SKEWED_FACT: Final = "clock was skewed"


class Network:
    """Everything that requests share.

    Args:
        folder: State folder; created when absent.
        module_cache: Folder of compiled modules; inside the state folder by default.
        clock_ns: Where time comes from.
        subnet: What it is to be like; by default what it was.
        free_bytes: How much room the disk of a folder has.

    Attributes:
        topology: Keys and ids.
        clock: Strictly monotonic time, for certificates and expiries.
        canister_time: What canisters are told and pay rent for; may run ahead of the clock.
        database: Everything but memories.
        snapshots: Records of canisters' snapshots.
        canisters: Their slots.
        requests: Answers to messages.
        calls: Calls between canisters that are not finished.
        queue: Their messages that are not executed.
        stops: Who waits for which canister to stop.
        alarm: Rings when something new is to be waited for.
        closers: What ends before the files are closed.
        certifier: Signs.
        faults: Faults on cue.
        marks: States that canisters may be put back to.
        subnet: What kind of subnet it stands for.
        fees: Its prices.
    """

    def __init__(
        self,
        folder: Path,
        *,
        module_cache: Path | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
        subnet: SubnetChoice | None = None,
        free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        cache = module_cache or folder / "modules"
        self.folder = folder
        self._free_bytes = free_bytes
        self.topology = Topology.open(folder)
        self.database = Database(folder / "network.db")
        self.choose(subnet or SubnetChoice())
        self.faults = FaultPlan()
        last_ns = self._last_time_ns(clock_ns)
        self.clock = Clock(clock_ns, not_before_ns=last_ns, skew_ns=self.faults.skew_ns)
        self.canister_time = CanisterTime(self.clock, self.database)
        self.requests = Requests(self.database)
        self.calls = OpenCalls(self.database)
        self.queue = Queue(self.database)
        self.stops = Stops(self.database)
        self.alarm = Alarm()
        self.canister_time.on_change(self.alarm.ring)
        self.closers: list[Callable[[], None]] = []
        self.snapshots = Snapshots(self.database)
        self.query_stats = QueryStats(self.database)
        self.certifier = Certifier(self.topology, self.clock)
        self.machine: Callable[[Path], Machine] = partial(Machine, module_cache=cache)
        self.canisters = Canisters(folder, self.database, self.snapshots, self.machine)
        self.marks = Marks(folder, self.machine)
        for left in folder.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left)
        self._data_certificates: dict[
            tuple[Principal, RangesForm], tuple[Canister, int, bytes]
        ] = {}

    def choose(self, choice: SubnetChoice) -> None:
        """Make the subnet what somebody wants, from now on.

        Raises:
            UsageError: There is no such subnet.
        """
        self.subnet = Subnet.read(self.database).changed(choice)
        self.subnet.keep(self.database)
        self.fees = self.subnet.schedule()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a folder that is gone after the block; one that a kill left goes at the start."""
        with TemporaryDirectory(prefix=_SCRATCH, dir=self.folder) as folder:
            yield Path(folder)

    def used_bytes(self) -> int:
        """How much memory the subnet holds: of others, and of the canisters here."""
        here = sum(slot.canister.charged_bytes() for slot in self.canisters)
        return self.subnet.used_bytes + here

    def state(self) -> dict[bytes, Branch]:
        """The top of the state tree."""
        requests = self.requests
        return {
            b"api_boundary_nodes": {},
            b"canister": Collection(
                self._canister_plan, self.canisters.before, self.canisters.after
            ),
            b"canister_ranges": self.certifier.canister_ranges(),
            b"request_status": Collection(self._request_plan, requests.before, requests.after),
            b"subnet": self.certifier.subnets(),
        }

    def environment(
        self,
        canister: Canister,
        caller: Principal,
        *,
        data_certificate: bytes | None = None,
        prepaid_cycles: int = 0,
        incoming: Incoming | None = None,
        growing: bool = False,
        wasm64: bool = False,
    ) -> Environment:
        """What a canister is told about itself, its caller and the call.

        Args:
            canister: The canister.
            caller: Who calls it.
            data_certificate: For queries.
            prepaid_cycles: What is out of its balance while the message runs.
            incoming: The call that the message belongs to.
            growing: Whether memory that it adds stays and is to be paid.
            wasm64: Whether the module has a 64-bit memory.
        """
        balance_cycles = canister.balance_cycles - prepaid_cycles
        threshold = canister.frozen_below_cycles(self.fees)
        return Environment(
            caller=caller.raw,
            canister=canister.id.raw,
            time_ns=self.canister_time.now_ns(),
            balance_cycles=balance_cycles,
            controllers=frozenset(each.raw for each in canister.settings.controllers),
            canister_version=canister.version,
            data_certificate=data_certificate,
            liquid_cycles=max(0, balance_cycles - threshold),
            root_key=self.topology.root_key,
            subnet=self.topology.subnet_id.raw,
            nodes=self.fees.nodes,
            status=_STATUSES[canister.status],
            incoming=incoming or Incoming(),
            terms=terms(self.fees, wasm64=wasm64),
            outstanding=lambda callee: self.calls.outstanding(canister.id, Principal(callee)),
            timer_ns=canister.timer_ns,
            variables=canister.settings.environment,
            heap_limit_bytes=canister.settings.wasm_memory_limit_bytes,
            growth=Growth(canister, self.fees, self.used_bytes, caller) if growing else None,
            may_grow=self._may_grow(canister.id) if self.faults.active else None,
        )

    def certificate(
        self, paths: Iterable[StatePath], asked: Asked, form: RangesForm = RangesForm.SHARDS
    ) -> bytes:
        """Certify some paths of the state for somebody, unless a fault spoils it."""
        age_ns, foreign = 0, False
        for fault in self.faults.strike(Point.CERTIFY, asked):
            match fault.kind:
                case Kind.OLD_CERTIFICATE:
                    age_ns = fault.number("age_s") * SECOND_NS
                case Kind.PRUNED_CERTIFICATE:
                    paths = ()
                case Kind.FOREIGN_CERTIFICATE:
                    foreign = True
        if foreign:
            return self.certifier.foreign_certificate(self.state(), paths)
        return self.certifier.certificate(self.state(), paths, form=form, age_ns=age_ns)

    def set_fault(self, fault: Fault) -> int:
        """Set a fault on cue; returns the number that names it."""
        if fault.kind is Kind.SKEW:
            # What is written now carries times that the next start must not wait for.
            self.database.set_fact(_SKEWED_FACT, "yes")
        return self.faults.set(fault)

    def data_certificate(self, canister: Canister, asked: Asked, form: RangesForm) -> bytes:
        """Certify a canister's certified data for its queries; at most a second old."""
        path = (b"canister", canister.id.raw, b"certified_data")
        if self.faults.active:
            return self.certificate([path], asked, form)
        now_ns = self.clock.now_ns()
        known = self._data_certificates.get((canister.id, form))
        if known is not None:
            of, made_ns, certificate = known
            if of is canister and now_ns - made_ns < _CERTIFICATE_REUSE_NS:
                return certificate
        certificate = self.certifier.certificate(self.state(), [path], form=form)
        self._data_certificates[canister.id, form] = (canister, now_ns, certificate)
        return certificate

    def check_disk(self, wanted_bytes: int = 0) -> None:
        """Refuse what changes state while the disk is nearly full.

        Raises:
            DiskFullError: There is too little room.
        """
        free_bytes = self._free_bytes(self.folder)
        if free_bytes < DISK_RESERVE_BYTES + wanted_bytes:
            raise DiskFullError(
                f"the disk that holds the embedded network has {free_bytes // MIB} MiB left;"
                " updates are refused, queries are answered",
                safe="Every acknowledged message is kept.",
            )

    def on_close(self, closer: Callable[[], None]) -> None:
        """Have a function called before the files are closed: it ends what still uses them."""
        self.closers.append(closer)

    def close(self) -> None:
        """Close every file."""
        files = (self.canisters.close, self.marks.close, self.query_stats.keep, self.database.close)
        closers = (*self.closers, *files)
        with ExitStack() as stack:  # one that fails keeps no other from closing
            for closer in reversed(closers):
                stack.callback(closer)

    def _canister_plan(self, label: bytes) -> Plan | None:
        slot = self.canisters.find(Principal(label))
        if slot is None:
            return None
        canister = slot.canister
        plan: dict[bytes, Plan | bytes] = {
            b"certified_data": canister.certified_data,
            b"controllers": cbor.encode(
                [each.raw for each in canister.settings.controllers], tagged=True
            ),
        }
        if canister.module_hash is not None:
            plan[b"module_hash"] = canister.module_hash
            plan[b"metadata"] = {
                name.encode(): content for name, (_, content) in slot.sections().items()
            }
        return plan

    def _request_plan(self, label: bytes) -> Plan | None:
        known = self.requests.find(label)
        return None if known is None else known.plan()

    def _may_grow(self, canister: Principal) -> Callable[[], bool]:
        return lambda: not self.faults.strike(Point.GROW, Asked(canister=canister))

    def _last_time_ns(self, clock_ns: Callable[[], int]) -> int:
        row = self.database.row("SELECT max(time_ns) FROM ledger")
        last_ns = cast("int", row[0]) if row and row[0] else 0
        return last_ns if self.database.fact(_SKEWED_FACT) is None else min(last_ns, clock_ns())


def terms(fees: FeeSchedule, *, wasm64: bool = False) -> Terms:
    """What canisters pay for calls, and what is set aside for the response and its callback."""
    return Terms(
        fee_cycles=fees.call_cycles,
        transmission_cycles=fees.call_byte_cycles(MAX_PAYLOAD_BYTES),
        callback_cycles=fees.execution_cycles(prices.INSTRUCTION_LIMIT_UPDATE, wasm64=wasm64),
        creation_cycles=fees.creation_cycles,
        outcall_cycles=fees.outcall_cycles,
    )


def cache_folder() -> Path:
    """Where compiled modules are kept for all networks of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "datanode" / "modules"
