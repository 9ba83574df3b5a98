"""The canisters that the network itself answers for."""

import threading
from dataclasses import dataclass, field
from typing import Self

from datanode.localnet.management.built_in import BuiltIns
from datanode.localnet.management.management_canister import ManagementCanister
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.localnet.state.topology import Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemCanisters:
    """The canisters that the network itself answers for.

    Attributes:
        management: The management canister.
        built_ins: Registry, ledgers and cycles minting.
        lock: Held while a built-in canister is updated, and while a canister is created.
    """

    management: ManagementCanister
    built_ins: BuiltIns
    lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def of(
        cls,
        runtime: SubnetRuntime,
        traffic: MessageTraffic,
        records: CanisterRecords,
        topology: Topology,
    ) -> Self:
        """Make them for the parts of a network's state."""
        return cls(
            management=ManagementCanister(runtime, traffic, records),
            built_ins=BuiltIns(runtime, traffic, records, topology),
        )
