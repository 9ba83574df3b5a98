"""The cycles minting canister at its mainnet id, as far as `icp cycles mint` needs it.

A caller transfers ICP on the ICP ledger to this canister's account for the caller, with the memo
`MINT`, then names the block: the cycles appear on the cycles ledger, less its fee. A block is
converted once; naming it again returns the first answer.

Methods: `get_icp_xdr_conversion_rate`, `notify_mint_cycles`, `get_default_subnets`,
`get_subnet_types_to_subnets`.
"""

from collections.abc import Callable
from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Principal as PrincipalType
from datanode.agent.candid import Record, Text, Value, Vec
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management.account_book import (
    DEFAULT_SUBACCOUNT,
    SUBACCOUNT_BYTES,
    AccountBook,
    Block,
    CyclesAccount,
)
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.cycles_ledger import BLOCK_FEE_CYCLES
from datanode.localnet.management.icp_book import IcpBook, account_identifier
from datanode.localnet.management.icp_ledger_types import MINTED, NOTIFY_MINT, RATE
from datanode.localnet.state.canister_time import CanisterTime
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressMessage, IngressReply
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.localnet.state.topology import CYCLES_MINTING, Topology
from datanode.principal import Principal
from datanode.units import SECOND_NS

CYCLES_PER_E8S: Final = 35_000
"""Rate of this network: 3.5 XDR, which is 3.5 TC, an ICP. Ours; mainnet's follows the market."""

MEMO_MINT: Final = 0x544E494D
"""Memo of a payment for cycles. Source: the cycles minting canister, 2026."""

_SUBNET_TYPES: Final = Record({"data": Vec(Record({"_0_": Text, "_1_": Vec(PrincipalType)}))})

_Query = Callable[[bytes, Principal], bytes]
_Update = Callable[[IngressMessage, Slot | None], Effect]


class CyclesMinting:
    """Turns ICP into cycles.

    Attributes:
        queries: Methods that read, by name.
        updates: Methods that change something; the lock of the built-in canisters is held.
    """

    def __init__(
        self, canister_time: CanisterTime, database: NetworkDatabase, topology: Topology
    ) -> None:
        self._canister_time = canister_time
        self._database = database
        self._topology = topology
        self._icp = IcpBook(database)
        self._cycles = AccountBook(database)
        self.queries: dict[str, _Query] = {
            "get_icp_xdr_conversion_rate": self._rate,
            "get_default_subnets": self._default_subnets,
            "get_subnet_types_to_subnets": _subnet_types,
        }
        self.updates: dict[str, _Update] = {"notify_mint_cycles": self._notify_mint}

    def _rate(self, _arg: bytes, _who: Principal) -> bytes:
        seconds = self._canister_time.now_ns() // SECOND_NS
        data: dict[str, Value] = {
            "xdr_permyriad_per_icp": CYCLES_PER_E8S,
            "timestamp_seconds": seconds,
        }
        return candid.encode((RATE,), ({"data": data, "hash_tree": b"", "certificate": b""},))

    def _default_subnets(self, _arg: bytes, _who: Principal) -> bytes:
        return candid.encode((Vec(PrincipalType),), ([self._topology.subnet_id],))

    def _refusal(self, number: int, caller: Principal) -> str | None:
        """Say why a block is no payment of a caller for cycles."""
        paid = self._icp.payment(number)
        if paid is None:
            return f"Block {number} not found"
        receiver, e8s, memo = paid
        if receiver != account_identifier(CYCLES_MINTING, _subaccount_of(caller)):
            return "Destination account in the block is not the one of the caller"
        if memo != MEMO_MINT:
            return "Intent in the block is not minting cycles"
        if e8s * CYCLES_PER_E8S < BLOCK_FEE_CYCLES:
            return f"The payment of {e8s} e8s gives fewer cycles than the cycles ledger's fee"
        return None

    def _notify_mint(self, message: IngressMessage, _slot: Slot | None) -> Effect:
        args = Arguments.decode(NOTIFY_MINT, message.arg)
        number = args.number("block_index")
        refusal = self._refusal(number, message.sender)
        if refusal is not None:
            return _invalid(refusal)
        before = self._icp.minted(number)
        if before is not None:
            return _answer(("Ok", _minted(before)))
        minted_cycles = self._icp.amount_e8s(number) * CYCLES_PER_E8S
        subaccount = args.blob("to_subaccount") if args.has("to_subaccount") else DEFAULT_SUBACCOUNT
        if len(subaccount) != SUBACCOUNT_BYTES:
            return _invalid(f"to_subaccount is not {SUBACCOUNT_BYTES} bytes long")
        to = CyclesAccount(message.sender, subaccount)
        received = minted_cycles - BLOCK_FEE_CYCLES
        result = (self._cycles.height(), minted_cycles, self._cycles.balance(to) + received)
        block = Block(kind="mint", changes=((to, received),), time_ns=self._canister_time.now_ns())
        writes = (*self._cycles.entering([block]), self._icp.mark_minted(number, result))
        return _answer(("Ok", _minted(result)), *writes)


def _subaccount_of(principal: Principal) -> bytes:
    """Return the subaccount that belongs to a principal: its length, its bytes, zeros."""
    return (bytes([len(principal.raw)]) + principal.raw).ljust(SUBACCOUNT_BYTES, b"\0")


def _minted(result: tuple[int, int, int]) -> dict[str, Value]:
    block, cycles, balance = result
    return {"block_index": block, "minted": cycles, "balance": balance}


def _invalid(reason: str) -> Effect:
    return _answer(("Err", ("InvalidTransaction", reason)))


def _answer(value: Value, *writes: Callable[[], object]) -> Effect:
    return Effect(
        answer=IngressReply(reply=candid.encode((MINTED,), (value,))), writes=tuple(writes)
    )


def _subnet_types(_arg: bytes, _who: Principal) -> bytes:
    return candid.encode((_SUBNET_TYPES,), ({"data": []},))
