"""The ICP ledger at its mainnet id, as far as `icp token balance` and `icp token transfer` need it.

A transfer that carries `created_at_time` is executed once within 24 hours; a repetition returns the
number of the first block. The fee of 10,000 e8s is burnt.

Methods: `transfer`, `account_balance`, `icrc1_transfer`, `icrc1_balance_of`, `icrc1_fee`,
`icrc1_decimals`, `icrc1_symbol`, `icrc1_name`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Nat, Nat8, Text, Value
from datanode.errors import FormatError
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management import icp_ledger_types as interface_types
from datanode.localnet.management.account_book import subaccount
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.cycles_ledger_types import ACCOUNT, TRANSFER, TRANSFERRED
from datanode.localnet.management.icp_book import (
    IDENTIFIER_BYTES,
    IcpBlock,
    IcpBook,
    account_identifier,
    is_identifier,
)
from datanode.localnet.state.canister_time import CanisterTime
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressMessage, IngressReply
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.principal import Principal
from datanode.units import DAY_S, SECOND_NS

DECIMALS: Final = 8
FEE_E8S: Final = 10_000
"""Fee of a transfer, 1e-8 ICP. Source: the ICP ledger's `icrc1_fee` on mainnet, 2026."""

WINDOW_NS: Final = DAY_S * SECOND_NS
DRIFT_NS: Final = 60 * SECOND_NS
"""How long a repetition is recognized, and how far ahead a caller's clock may be. Source: the ICP
ledger's transaction window and permitted drift, 2026."""

_MAX_MEMO_BYTES: Final = 32

_Query = Callable[[bytes, Principal], bytes]
_Update = Callable[[IngressMessage, Slot | None], Effect]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transfer:
    """A transfer that a caller asks for; amounts in 1e-8 ICP."""

    sender: bytes
    receiver: bytes
    e8s: int
    fee_e8s: int | None
    memo: int
    memo_bytes: bytes
    created_ns: int | None

    @property
    def key(self) -> bytes | None:
        """Return what repetitions of the transfer share."""
        if self.created_ns is None:
            return None
        numbers = b"%d %d %d" % (self.e8s, self.memo, self.created_ns)
        parts = (self.sender, self.receiver, self.memo_bytes, numbers)
        return hashlib.sha256(b"".join(len(part).to_bytes(4) + part for part in parts)).digest()


class IcpLedger:
    """Accounts of ICP, in the network's database.

    Attributes:
        queries: Methods that read, by name.
        updates: Methods that change something; the lock of the built-in canisters is held.
    """

    def __init__(
        self, canister_time: CanisterTime, traffic: MessageTraffic, database: NetworkDatabase
    ) -> None:
        self._canister_time = canister_time
        self._traffic = traffic
        self._database = database
        self._book = IcpBook(database)
        self.queries: dict[str, _Query] = {
            "icrc1_balance_of": self._balance_of,
            "account_balance": self._balance_of_identifier,
            "icrc1_fee": lambda _arg, _who: candid.encode((Nat,), (FEE_E8S,)),
            "icrc1_decimals": lambda _arg, _who: candid.encode((Nat8,), (DECIMALS,)),
            "icrc1_symbol": lambda _arg, _who: candid.encode((Text,), ("ICP",)),
            "icrc1_name": lambda _arg, _who: candid.encode((Text,), ("Internet Computer",)),
        }
        self.updates: dict[str, _Update] = {
            "transfer": self._send,
            "icrc1_transfer": self._transfer,
        }

    def _balance_of(self, arg: bytes, _who: Principal) -> bytes:
        account = Arguments.decode(ACCOUNT, arg)
        identifier = account_identifier(
            account.principal("owner"), subaccount(account, "subaccount")
        )
        return candid.encode((Nat,), (self._book.balance_e8s(identifier),))

    def _balance_of_identifier(self, arg: bytes, _who: Principal) -> bytes:
        identifier = _identifier(Arguments.decode(interface_types.BALANCE_OF, arg), "account")
        return candid.encode(
            (interface_types.TOKENS,), ({"e8s": self._book.balance_e8s(identifier)},)
        )

    def _send(self, message: IngressMessage, _slot: Slot | None) -> Effect:
        args = Arguments.decode(interface_types.SEND, message.arg)
        created = args.optional_record("created_at_time")
        transfer = _Transfer(
            sender=account_identifier(message.sender, subaccount(args, "from_subaccount")),
            receiver=_identifier(args, "to"),
            e8s=args.record("amount").number("e8s"),
            fee_e8s=args.record("fee").number("e8s"),
            memo=args.number("memo"),
            memo_bytes=b"",
            created_ns=None if created is None else created.number("timestamp_nanos"),
        )
        result = self._executed(transfer)
        if isinstance(result, tuple):
            name, balance = result
            errors: dict[str, Value] = {
                "BadFee": {"expected_fee": {"e8s": FEE_E8S}},
                "InsufficientFunds": {"balance": {"e8s": balance}},
                "TooOld": {"allowed_window_nanos": WINDOW_NS},
                "CreatedInFuture": None,
                "Duplicate": {"duplicate_of": balance},
            }
            value = errors[name]
            case = f"Tx{name}" if name in {"TooOld", "CreatedInFuture", "Duplicate"} else name
            return _answer(candid.encode((interface_types.SENT,), (("Err", (case, value)),)))
        return _answer(
            candid.encode((interface_types.SENT,), (("Ok", self._book.height()),)), result
        )

    def _transfer(self, message: IngressMessage, _slot: Slot | None) -> Effect:
        args = Arguments.decode(TRANSFER, message.arg)
        to = args.record("to")
        memo = args.blob("memo") if args.has("memo") else b""
        if len(memo) > _MAX_MEMO_BYTES:
            raise FormatError(f"memo is longer than {_MAX_MEMO_BYTES} bytes")
        transfer = _Transfer(
            sender=account_identifier(message.sender, subaccount(args, "from_subaccount")),
            receiver=account_identifier(to.principal("owner"), subaccount(to, "subaccount")),
            e8s=args.number("amount"),
            fee_e8s=args.optional_number("fee"),
            memo=0,
            memo_bytes=memo,
            created_ns=args.optional_number("created_at_time"),
        )
        result = self._executed(transfer)
        if isinstance(result, tuple):
            name, number = result
            errors: dict[str, Value] = {
                "BadFee": {"expected_fee": FEE_E8S},
                "InsufficientFunds": {"balance": number},
                "TooOld": None,
                "CreatedInFuture": {"ledger_time": self._canister_time.now_ns()},
                "Duplicate": {"duplicate_of": number},
            }
            return _answer(candid.encode((TRANSFERRED,), (("Err", (name, errors[name])),)))
        return _answer(candid.encode((TRANSFERRED,), (("Ok", self._book.height()),)), result)

    def _executed(self, transfer: _Transfer) -> tuple[str, int] | Callable[[], object]:
        """Return the write that executes a transfer, or why it is refused, with a number."""
        now_ns = self._canister_time.now_ns()
        if transfer.fee_e8s not in (None, FEE_E8S):
            return "BadFee", 0
        if transfer.created_ns is not None:
            if transfer.created_ns + WINDOW_NS + DRIFT_NS < self._traffic.clock.now_ns():
                return "TooOld", 0
            if transfer.created_ns > now_ns + DRIFT_NS:
                return "CreatedInFuture", 0
        known = None if transfer.key is None else self._book.find(transfer.key)
        if known is not None:
            return "Duplicate", known
        balance_e8s = self._book.balance_e8s(transfer.sender)
        if transfer.e8s + FEE_E8S > balance_e8s:
            return "InsufficientFunds", balance_e8s
        return self._book.enter(
            IcpBlock(
                sender=transfer.sender,
                receiver=transfer.receiver,
                e8s=transfer.e8s,
                fee_e8s=FEE_E8S,
                memo=transfer.memo,
                time_ns=now_ns,
                key=transfer.key,
            )
        )


def _answer(reply: bytes, *writes: Callable[[], object]) -> Effect:
    return Effect(answer=IngressReply(reply=reply), writes=writes)


def _identifier(args: Arguments, name: str) -> bytes:
    raw = args.blob(name)
    if len(raw) != IDENTIFIER_BYTES or not is_identifier(raw):
        raise FormatError(f"{name} is not an account identifier")
    return raw
