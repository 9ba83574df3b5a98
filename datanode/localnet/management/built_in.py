"""Canisters of the Internet Computer that clients expect, answered by the network itself.

| canister | at | methods |
| --- | --- | --- |
| registry | `rwlgt-iiaaa-aaaaa-aaaaa-cai` | `get_subnet_for_canister` |
| ICP ledger | `ryjl3-tyaaa-aaaaa-aaaba-cai` | see `icp_ledger` |
| cycles minting | `rkp4c-7iaaa-aaaaa-aaaca-cai` | see `cycles_minting` |
| cycles ledger | `um5iw-rqaaa-aaaaq-qaaba-cai` | see `cycles_ledger` |

They hold no Wasm and cost nothing.
"""

from collections.abc import Callable
from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Opt, Record, Text, Variant
from datanode.agent.candid import Principal as PrincipalType
from datanode.errors import FormatError
from datanode.localnet.execution import admission
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.cycles_ledger import CyclesLedger
from datanode.localnet.management.cycles_minting import CyclesMinting
from datanode.localnet.management.icp_ledger import IcpLedger
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressMessage, IngressReply, RejectedError
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.localnet.state.topology import (
    CYCLES_LEDGER,
    CYCLES_MINTING,
    ICP_LEDGER,
    REGISTRY,
    Topology,
    is_hosted,
)
from datanode.principal import Principal

_SUBNET_REQUEST: Final = Record({"principal": Opt(PrincipalType)})
_SUBNET_REPLY: Final = Variant({"Ok": Record({"subnet_id": Opt(PrincipalType)}), "Err": Text})

_Query = Callable[[bytes, Principal], bytes]
_Update = Callable[[IngressMessage, Slot | None], Effect]


class BuiltIns:
    """The canisters of the table above."""

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
        self._topology = topology
        self._ledger = CyclesLedger(runtime, traffic, records, topology)
        icp, minting = (
            IcpLedger(runtime.canister_time, traffic, records.database),
            CyclesMinting(runtime.canister_time, records.database, topology),
        )
        self._queries: dict[Principal, dict[str, _Query]] = {
            REGISTRY: {"get_subnet_for_canister": self._subnet_of},
            ICP_LEDGER: icp.queries,
            CYCLES_MINTING: minting.queries,
            CYCLES_LEDGER: self._ledger.queries,
        }
        self._updates: dict[Principal, dict[str, _Update]] = {
            ICP_LEDGER: icp.updates,
            CYCLES_MINTING: minting.updates,
            CYCLES_LEDGER: self._ledger.updates,
        }

    def __contains__(self, canister: Principal) -> bool:
        return canister in self._queries

    def query(
        self, canister: Principal, method: str, arg: bytes, caller: Principal
    ) -> IngressReply:
        """Answer a query."""
        handle = self._queries[canister].get(method)
        if handle is None:
            return IngressReply(reject=_no_method(canister, method))
        try:
            return IngressReply(reply=handle(arg, caller))
        except FormatError as error:
            return IngressReply(reject=admission.invalid_payload(str(error)))

    def slot(self, message: IngressMessage) -> Slot | None:
        """Return the place of the canister that a message gives cycles to."""
        if message.canister != CYCLES_LEDGER:
            return None
        try:
            receiver = self._ledger.receiver(message)
        except FormatError:
            return None
        return None if receiver is None else self._records.canisters.find(receiver)

    def update(self, message: IngressMessage, slot: Slot | None) -> Effect:
        """Execute a message; the lock of `SystemCanisters` is held, and that of the slot."""
        handle = self._updates.get(message.canister, {}).get(message.method)
        if handle is None:
            return Effect(
                answer=self.query(message.canister, message.method, message.arg, message.sender)
            )
        try:
            return handle(message, slot)
        except FormatError as error:
            return Effect(answer=IngressReply(reject=admission.invalid_payload(str(error))))
        except RejectedError as rejected:
            return Effect(answer=IngressReply(reject=rejected.reject))

    def _subnet_of(self, arg: bytes, _caller: Principal) -> bytes:
        canister = Arguments.decode(_SUBNET_REQUEST, arg).optional_principal("principal")
        if canister is None or not is_hosted(canister):
            return candid.encode((_SUBNET_REPLY,), (("Err", "no subnet hosts this canister"),))
        subnet = {"subnet_id": self._topology.subnet_id}
        return candid.encode((_SUBNET_REPLY,), (("Ok", subnet),))


def _no_method(canister: Principal, method: str) -> Reject:
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0536",
        message=f"Error from Canister {canister}: Canister has no method '{method}'; it is built "
        "into the embedded network.",
    )
