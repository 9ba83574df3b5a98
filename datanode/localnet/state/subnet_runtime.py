"""Conditions under which the subnet's canisters run: prices, metering, time, memory, disk."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from datanode.errors import DiskFullError
from datanode.fees import FeeSchedule
from datanode.localnet.machine import prices
from datanode.localnet.machine.execution import Environment
from datanode.localnet.machine.messaging import MAX_PAYLOAD_BYTES
from datanode.localnet.machine.outgoing import CallTerms, IncomingCall
from datanode.localnet.state.canister_record import Canister, CanisterState
from datanode.localnet.state.canister_time import CanisterTime
from datanode.localnet.state.compiled_modules import CompiledModules
from datanode.localnet.state.fault import Asked, FaultPoint
from datanode.localnet.state.growth_charge import GrowthCharge
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.localnet.state.subnet import Subnet, SubnetChoice
from datanode.localnet.state.topology import Topology
from datanode.metering import metering
from datanode.principal import Principal
from datanode.units import MIB

DISK_RESERVE_BYTES: Final = 128 * MIB
"""Below this much free space no update is executed: a page of a mapped file that finds no block
ends the process, not the message."""

_STATUSES: Final = {CanisterState.RUNNING: 1, CanisterState.STOPPING: 2, CanisterState.STOPPED: 3}
_SCRATCH: Final = "scratch-"


class SubnetRules:
    """The kind of subnet in force, with its prices; it may change while the network runs.

    Args:
        database: Keeps the choice.
        choice: What the subnet is to be like; by default what it was.

    Attributes:
        subnet: The kind of subnet.
        fees: Its prices.
        metering: What memory costs a message.
    """

    def __init__(self, database: NetworkDatabase, choice: SubnetChoice) -> None:
        self._database = database
        self.choose(choice)

    def choose(self, choice: SubnetChoice) -> None:
        """Change the subnet from now on.

        Raises:
            UsageError: There is no such subnet.
        """
        self.subnet = Subnet.read(self._database).changed(choice)
        self.subnet.keep(self._database)
        self.fees = self.subnet.schedule()
        self.metering = metering(self.subnet.metering)


class StateDisk:
    """The disk that holds the state folder.

    Args:
        folder: The state folder.
        free_bytes: How much room the disk of a folder has.
    """

    def __init__(self, folder: Path, free_bytes: Callable[[Path], int]) -> None:
        self._folder = folder
        self._free_bytes = free_bytes
        for left in folder.glob(f"{_SCRATCH}*"):
            shutil.rmtree(left)

    def check(self, wanted_bytes: int = 0) -> None:
        """Refuse what changes state while the disk is nearly full.

        Raises:
            DiskFullError: There is too little room.
        """
        free_bytes = self._free_bytes(self._folder)
        if free_bytes < DISK_RESERVE_BYTES + wanted_bytes:
            raise DiskFullError(
                f"the disk that holds the embedded network has {free_bytes // MIB} MiB left;"
                " updates are refused, queries are answered",
                safe="Every acknowledged message is kept.",
            )

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Make a folder that is gone after the block; one that a kill left goes at the start."""
        with TemporaryDirectory(prefix=_SCRATCH, dir=self._folder) as folder:
            yield Path(folder)


class SubnetRuntime:
    """Conditions under which the subnet's canisters run.

    Args:
        rules: The kind of subnet and its prices.
        topology: Keys and ids.
        canister_time: Time that canisters are told and pay rent for; may run ahead of the clock.
        held_bytes: Tells how much memory the canisters here hold.
        traffic: Messages in flight.
        disk: The disk of the state folder.
    """

    def __init__(
        self,
        *,
        rules: SubnetRules,
        topology: Topology,
        canister_time: CanisterTime,
        held_bytes: Callable[[], int],
        traffic: MessageTraffic,
        disk: StateDisk,
    ) -> None:
        self.rules = rules
        self.canister_time = canister_time
        self.disk = disk
        self.compiled_modules = CompiledModules(canister_time.now_ns)
        self._topology = topology
        self._held_bytes = held_bytes
        self._traffic = traffic

    @property
    def fees(self) -> FeeSchedule:
        """The prices in force."""
        return self.rules.fees

    def used_bytes(self) -> int:
        """How much memory the subnet holds: of others, and of the canisters here."""
        return self.rules.subnet.used_bytes + self._held_bytes()

    def environment(
        self,
        canister: Canister,
        caller: Principal,
        *,
        data_certificate: bytes | None = None,
        prepaid_cycles: int = 0,
        incoming: IncomingCall | None = None,
        growing: bool = False,
        wasm64: bool = False,
    ) -> Environment:
        """Return the environment of a message: canister, caller and call.

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
        calls, faults = self._traffic.calls, self._traffic.faults
        return Environment(
            caller=caller.raw,
            canister=canister.id.raw,
            time_ns=self.canister_time.now_ns(),
            balance_cycles=balance_cycles,
            controllers=frozenset(each.raw for each in canister.settings.controllers),
            canister_version=canister.version,
            data_certificate=data_certificate,
            liquid_cycles=max(0, balance_cycles - threshold),
            root_key=self._topology.root_key,
            subnet=self._topology.subnet_id.raw,
            nodes=self.fees.nodes,
            status=_STATUSES[canister.status],
            incoming=incoming or IncomingCall(),
            terms=terms(self.fees, wasm64=wasm64),
            outstanding=lambda callee: calls.outstanding(canister.id, Principal(callee)),
            timer_ns=canister.timer_ns,
            variables=canister.settings.environment,
            heap_limit_bytes=canister.settings.wasm_memory_limit_bytes,
            growth=GrowthCharge(canister, self.fees, self.used_bytes, caller) if growing else None,
            may_grow=self._may_grow(canister.id) if faults.active else None,
        )

    def _may_grow(self, canister: Principal) -> Callable[[], bool]:
        faults = self._traffic.faults
        return lambda: not faults.strike(FaultPoint.GROW, Asked(canister=canister))


def terms(fees: FeeSchedule, *, wasm64: bool = False) -> CallTerms:
    """Return the prices of calls, and the reserves for response and callback."""
    return CallTerms(
        fee_cycles=fees.call_cycles,
        transmission_cycles=fees.call_byte_cycles(MAX_PAYLOAD_BYTES),
        callback_cycles=fees.execution_cycles(prices.INSTRUCTION_LIMIT_UPDATE, wasm64=wasm64),
        creation_cycles=fees.creation_cycles,
        outcall_cycles=fees.outcall_cycles,
        carries_cycles=not fees.is_free,
    )
