"""Canisters of the Internet Computer that clients expect, answered by the network itself.

| canister | at | methods |
| --- | --- | --- |
| registry | `rwlgt-iiaaa-aaaaa-aaaaa-cai` | `get_subnet_for_canister` |
| cycles minting | `rkp4c-7iaaa-aaaaa-aaaca-cai` | `get_default_subnets` and by type |
| cycles ledger | `um5iw-rqaaa-aaaaq-qaaba-cai` | see `cycles_ledger` |

They hold no Wasm and cost nothing.
"""

import threading
from collections.abc import Callable
from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Opt, Record, Text, Variant, Vec
from datanode.agent.candid import Principal as PrincipalType
from datanode.errors import FormatError
from datanode.localnet.execution import admission
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.cycles_ledger import CyclesLedger
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import Answer, Message, RejectedError
from datanode.localnet.state.network import Network
from datanode.localnet.state.topology import CYCLES_LEDGER, CYCLES_MINTING, REGISTRY, is_hosted
from datanode.principal import Principal

_SUBNET_REQUEST: Final = Record({"principal": Opt(PrincipalType)})
_SUBNET_REPLY: Final = Variant({"Ok": Record({"subnet_id": Opt(PrincipalType)}), "Err": Text})
_SUBNET_TYPES: Final = Record({"data": Vec(Record({"_0_": Text, "_1_": Vec(PrincipalType)}))})

_Query = Callable[[bytes, Principal], bytes]


class BuiltIns:
    """The canisters of the table above.

    Attributes:
        lock: Held while one of them is updated, and while a canister is created.
    """

    def __init__(self, network: Network) -> None:
        self.lock = threading.RLock()
        self._network = network
        self._ledger = CyclesLedger(network)
        self._queries: dict[Principal, dict[str, _Query]] = {
            REGISTRY: {"get_subnet_for_canister": self._subnet_of},
            CYCLES_MINTING: {
                "get_default_subnets": self._default_subnets,
                "get_subnet_types_to_subnets": _subnet_types,
            },
            CYCLES_LEDGER: self._ledger.queries,
        }

    def __contains__(self, canister: Principal) -> bool:
        return canister in self._queries

    def query(self, canister: Principal, method: str, arg: bytes, caller: Principal) -> Answer:
        """Answer a query."""
        handle = self._queries[canister].get(method)
        if handle is None:
            return Answer(reject=_no_method(canister, method))
        try:
            return Answer(reply=handle(arg, caller))
        except FormatError as error:
            return Answer(reject=admission.invalid_payload(str(error)))

    def slot(self, message: Message) -> Slot | None:
        """Return the place of the canister that a message gives cycles to."""
        try:
            receiver = self._ledger.receiver(message)
        except FormatError:
            return None
        return None if receiver is None else self._network.canisters.find(receiver)

    def update(self, message: Message, slot: Slot | None) -> Effect:
        """Execute a message; the lock is held, and that of the slot."""
        handle = self._ledger.updates.get(message.method)
        if message.canister != CYCLES_LEDGER or handle is None:
            return Effect(
                answer=self.query(message.canister, message.method, message.arg, message.sender)
            )
        try:
            return handle(message, slot)
        except FormatError as error:
            return Effect(answer=Answer(reject=admission.invalid_payload(str(error))))
        except RejectedError as rejected:
            return Effect(answer=Answer(reject=rejected.reject))

    def _subnet_of(self, arg: bytes, _caller: Principal) -> bytes:
        canister = Arguments.decode(_SUBNET_REQUEST, arg).optional_principal("principal")
        if canister is None or not is_hosted(canister):
            return candid.encode((_SUBNET_REPLY,), (("Err", "no subnet hosts this canister"),))
        subnet = {"subnet_id": self._network.topology.subnet_id}
        return candid.encode((_SUBNET_REPLY,), (("Ok", subnet),))

    def _default_subnets(self, _arg: bytes, _caller: Principal) -> bytes:
        return candid.encode((Vec(PrincipalType),), ([self._network.topology.subnet_id],))


def _subnet_types(_arg: bytes, _caller: Principal) -> bytes:
    return candid.encode((_SUBNET_TYPES,), ({"data": []},))


def _no_method(canister: Principal, method: str) -> Reject:
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0536",
        message=f"Error from Canister {canister}: Canister has no method '{method}'; it is built "
        "into the embedded network.",
    )
