"""The embedded network's state, opened from its folder: its parts, put together here alone."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, cast

from datanode.files import PRIVATE_FOLDER
from datanode.localnet.machine.machine import Machine
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canister_time import CanisterTime
from datanode.localnet.state.certificates import Certifier
from datanode.localnet.state.certification import Certification
from datanode.localnet.state.fault_plan import FaultPlan
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.network_clock import Clock
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.localnet.state.subnet import SubnetChoice
from datanode.localnet.state.subnet_runtime import StateDisk, SubnetRules, SubnetRuntime
from datanode.localnet.state.topology import Topology

_SKEWED_FACT: Final = "clock was skewed"


class NetworkState:
    """The parts that requests share; whoever serves them is given the parts, not this.

    Args:
        folder: State folder; created when absent.
        module_cache: Folder of compiled modules; inside the state folder by default.
        clock_ns: Where time comes from.
        subnet: What it is to be like; by default what it was.
        free_bytes: How much room the disk of a folder has.

    Attributes:
        topology: Keys and ids.
        traffic: Messages in flight.
        records: State of the canisters.
        runtime: Conditions under which canisters run.
        certification: Certifies the state.
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
        folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        self.topology = Topology.open(folder)
        database = NetworkDatabase(folder / "network.db")
        rules = SubnetRules(database, subnet or SubnetChoice())
        # What is written while the clock is skewed carries times that no start must wait for.
        faults = FaultPlan(before_skew=partial(database.set_fact, _SKEWED_FACT, "yes"))
        last_ns = _last_time_ns(database, clock_ns)
        clock = Clock(clock_ns, not_before_ns=last_ns, skew_ns=faults.skew_ns)
        canister_time = CanisterTime(clock, database)
        self.traffic = MessageTraffic(database, clock, faults)
        canister_time.on_change(self.traffic.alarm.ring)
        self.records = CanisterRecords(
            folder,
            database,
            partial(
                Machine,
                module_cache=module_cache or folder / "modules",
                metering=lambda: rules.metering,
            ),
        )
        self.runtime = SubnetRuntime(
            rules=rules,
            topology=self.topology,
            canister_time=canister_time,
            held_bytes=self.records.held_bytes,
            traffic=self.traffic,
            disk=StateDisk(folder, free_bytes),
        )
        certifier = Certifier(self.topology, clock)
        self.certification = Certification(certifier, self.records.canisters, self.traffic)
        self.closers: list[Callable[[], None]] = []

    def on_close(self, closer: Callable[[], None]) -> None:
        """Have a function called before the files are closed: it ends what still uses them."""
        self.closers.append(closer)

    def close(self) -> None:
        """Close every file."""
        with ExitStack() as stack:  # one that fails keeps no other from closing
            stack.callback(self.records.close)
            for closer in reversed(self.closers):
                stack.callback(closer)


def _last_time_ns(database: NetworkDatabase, clock_ns: Callable[[], int]) -> int:
    row = database.row("SELECT max(time_ns) FROM ledger")
    last_ns = cast("int", row[0]) if row and row[0] else 0
    return last_ns if database.fact(_SKEWED_FACT) is None else min(last_ns, clock_ns())


def cache_folder() -> Path:
    """Where compiled modules are kept for all networks of this user."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "datanode" / "modules"
