"""The cycles ledger at its mainnet id: creates canisters and tops them up from accounts.

Its interface, its fee of 100 M cycles and its rules are mainnet's: what is missing is said before
anything else; a transaction that names when it was made (`created_at_time`) is executed once in 24
hours of the network's clock, and whoever repeats it is told the block, and the canister, of the
first; what cannot be done once the cycles are taken is given back, and costs the fee. The creation
fee is taken from what the canister is given.

Methods: `create_canister`, `withdraw`, `deposit`, `icrc1_transfer`, `icrc1_balance_of`,
`icrc1_fee`, `icrc1_decimals`, `icrc1_symbol`, `icrc1_name`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Nat, Nat8, Text, Value, Variant
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.messaging import MINTER
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.management import canister_lifecycle, canister_settings
from datanode.localnet.management.account_book import (
    AccountBook,
    Block,
    CyclesAccount,
    subaccount,
)
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.cycles_ledger_types import (
    ACCOUNT,
    CREATE,
    CREATED,
    DEPOSIT,
    DEPOSITED,
    TRANSFER,
    TRANSFERRED,
    WITHDRAW,
    WITHDRAWN,
)
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_record import CanisterSettings
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.history import Cause
from datanode.localnet.state.message import IngressMessage, IngressReply, RejectedError
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.localnet.state.topology import Topology
from datanode.principal import Principal
from datanode.units import DAY_S, SECOND_NS

DECIMALS: Final = 12
BLOCK_FEE_CYCLES: Final = 100_000_000
"""Source: the cycles ledger's `icrc1_fee` on mainnet, 2026."""
WINDOW_NS: Final = DAY_S * SECOND_NS
"""How long a transaction is known again."""
DRIFT_NS: Final = 120 * SECOND_NS
"""How far a caller's clock may be off. Source of both: the cycles ledger's configuration, 2026."""

_USER_PRINCIPAL_BYTES: Final = 29
_SELF_AUTHENTICATING: Final = 2

_Query = Callable[[bytes, Principal], bytes]
_Update = Callable[[IngressMessage, Slot | None], Effect]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """An order to spend the cycles of an account.

    Attributes:
        account: Whose cycles.
        cycles: How many, the ledger's fee aside.
        made_ns: When the caller made it; None: it may be repeated.
        key: What a repetition has in common with it.
    """

    account: CyclesAccount
    cycles: int
    made_ns: int | None
    key: bytes

    @classmethod
    def read(cls, message: IngressMessage, args: Arguments, purpose: bytes) -> "_Order":
        account = CyclesAccount(message.sender, subaccount(args, "from_subaccount"))
        cycles, made_ns = args.number("amount"), args.optional_number("created_at_time")
        parts = (account.owner.raw, account.subaccount, b"%d" % cycles, b"%d" % (made_ns or 0))
        joined = b"".join(len(part).to_bytes(4) + part for part in (purpose, *parts))
        return cls(
            account=account, cycles=cycles, made_ns=made_ns, key=hashlib.sha256(joined).digest()
        )


class CyclesLedger:
    """Accounts of cycles, in the network's database.

    Attributes:
        queries: Methods that read, by name.
        updates: Methods that change something; the lock of the built-in canisters is held.
    """

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
        self._book = AccountBook(records.database)
        self.queries: dict[str, _Query] = {
            "icrc1_balance_of": self._balance_of,
            "icrc1_fee": lambda _arg, _who: candid.encode((Nat,), (BLOCK_FEE_CYCLES,)),
            "icrc1_decimals": lambda _arg, _who: candid.encode((Nat8,), (DECIMALS,)),
            "icrc1_symbol": lambda _arg, _who: candid.encode((Text,), ("TCYCLES",)),
            "icrc1_name": lambda _arg, _who: candid.encode((Text,), ("Trillion Cycles",)),
        }
        self.updates: dict[str, _Update] = {
            "create_canister": self._create,
            "withdraw": self._withdraw,
            "deposit": self._deposit,
            "icrc1_transfer": self._transfer,
        }

    def _balance_of(self, arg: bytes, _who: Principal) -> bytes:
        return candid.encode(
            (Nat,), (self._book.balance(_account(Arguments.decode(ACCOUNT, arg))),)
        )

    def receiver(self, message: IngressMessage) -> Principal | None:
        """Return the canister that a message gives cycles to."""
        if message.method != "withdraw":
            return None
        return Arguments.decode(WITHDRAW, message.arg).principal("to")

    def _create(self, message: IngressMessage, _slot: Slot | None) -> Effect:
        args = Arguments.decode(CREATE, message.arg)
        order = _Order.read(message, args, b"create")
        refusal = self._refusal(order, names_canister=True)
        if refusal is not None:
            return _answered(CREATED, ("Err", refusal))
        number = self._book.height()
        try:
            chosen = self._settings(order, args.optional_record("creation_args"))
        except (_Refunded, RejectedError) as error:
            text = str(error) if isinstance(error, _Refunded) else error.reject.message
            failed: dict[str, Value] = {
                "fee_block": number,
                "refund_block": number + 1,
                "error": text,
            }
            return self._given_back(order, CREATED, ("FailedToCreate", failed))
        canister, made = canister_lifecycle.created(
            self._runtime,
            self._records.canisters,
            chosen,
            order.cycles,
            Cause.canister(MINTER, None, self._now_ns()),
            creation_fee_cycles=self._runtime.fees.creation_cycles,
        )
        block: Value = {"block_id": number, "canister_id": canister}
        paid = self._book.entering([self._burn(order, canister)])
        answer = IngressReply(reply=candid.encode((CREATED,), (("Ok", block),)))
        return replace(made, answer=answer, writes=(*made.writes, *paid))

    def _settings(self, order: _Order, creation: Arguments | None) -> CanisterSettings:
        """Return the settings of a canister that is ordered.

        Raises:
            _Refunded: It is not created.
            RejectedError: As `canister_settings.changed`.
        """
        if order.cycles < self._runtime.fees.creation_cycles:
            raise _Refunded("Insufficient cycles attached.")
        chosen = CanisterSettings(controllers=(order.account.owner,))
        if creation is None:
            return chosen
        if creation.has("subnet_selection"):
            case, value = creation.variant("subnet_selection")
            ours = self._topology.subnet_id
            if case == "Subnet" and value != {"subnet": ours}:
                raise _Refunded("Subnet does not exist or is not available to the caller.")
        given = creation.optional_record("settings")
        return chosen if given is None else canister_settings.changed(chosen, given)

    def _withdraw(self, message: IngressMessage, slot: Slot | None) -> Effect:
        args = Arguments.decode(WITHDRAW, message.arg)
        receiver = args.principal("to")
        if len(receiver.raw) == _USER_PRINCIPAL_BYTES and receiver.raw[-1] == _SELF_AUTHENTICATING:
            return _answered(WITHDRAWN, ("Err", ("InvalidReceiver", {"receiver": receiver})))
        order = _Order.read(message, args, b"withdraw" + receiver.raw)
        refusal = self._refusal(order)
        if refusal is not None:
            return _answered(WITHDRAWN, ("Err", refusal))
        number = self._book.height()
        if slot is None:
            failed: dict[str, Value] = {
                "fee_block": number,
                "rejection_code": ("DestinationInvalid", None),
                "rejection_reason": f"Canister {receiver} not found.",
            }
            return self._given_back(order, WITHDRAWN, ("FailedToWithdraw", failed))
        bill = Bill(slot.canister, self._runtime.fees)
        bill.deposit(order.cycles)
        return Effect(
            answer=IngressReply(reply=candid.encode((WITHDRAWN,), (("Ok", number),))),
            bill=bill,
            writes=self._book.entering([self._burn(order)]),
        )

    def _deposit(self, message: IngressMessage, _slot: Slot | None) -> Effect:
        """Take the cycles of a canister's call."""
        to = _account(Arguments.decode(DEPOSIT, message.arg).record("to"))
        if message.cycles < BLOCK_FEE_CYCLES:
            failure = Failure.called_trap(
                f"The requested amount {message.cycles} to be deposited is less than the cycles "
                f"ledger fee: {BLOCK_FEE_CYCLES}"
            )
            raise RejectedError(failure.reject(message.canister.raw))
        received = message.cycles - BLOCK_FEE_CYCLES
        block = Block(kind="mint", changes=((to, received),), time_ns=self._now_ns())
        result: Value = {
            "block_index": self._book.height(),
            "balance": self._book.balance(to) + received,
        }
        return Effect(
            answer=IngressReply(reply=candid.encode((DEPOSITED,), (result,))),
            kept_cycles=message.cycles,
            writes=self._book.entering([block]),
        )

    def _transfer(self, message: IngressMessage, _slot: Slot | None) -> Effect:
        args = Arguments.decode(TRANSFER, message.arg)
        to = _account(args.record("to"))
        memo = args.blob("memo") if args.has("memo") else b""
        order = _Order.read(
            message, args, b"".join((b"transfer", to.subaccount, memo, to.owner.raw))
        )
        fee_cycles = args.optional_number("fee")
        refusal: tuple[str, Value] | None
        if fee_cycles not in (None, BLOCK_FEE_CYCLES):
            refusal = ("BadFee", {"expected_fee": BLOCK_FEE_CYCLES})
        else:
            refusal = self._refusal(order)
        if refusal is not None:
            return _answered(TRANSFERRED, ("Err", refusal))
        number = self._book.height()
        burn = self._burn(order)
        block = replace(burn, kind="transfer", changes=(*burn.changes, (to, order.cycles)))
        reply = candid.encode((TRANSFERRED,), (("Ok", number),))
        return Effect(answer=IngressReply(reply=reply), writes=self._book.entering([block]))

    def _refusal(self, order: _Order, *, names_canister: bool = False) -> tuple[str, Value] | None:
        """Say why an order is not executed; first of all whether it can be paid."""
        balance, now_ns = self._book.balance(order.account), self._now_ns()
        if order.cycles + BLOCK_FEE_CYCLES > balance:
            return ("InsufficientFunds", {"balance": balance})
        if order.made_ns is None:
            return None
        # Clients date orders by the clock, canisters by their time, which may run ahead of it.
        if order.made_ns + WINDOW_NS + DRIFT_NS < self._traffic.clock.now_ns():
            return ("TooOld", None)
        if order.made_ns > now_ns + DRIFT_NS:
            return ("CreatedInFuture", {"ledger_time": now_ns})
        known = self._book.find(order.key)
        if known is None:
            return None
        number, canister = known
        duplicate: dict[str, Value] = {"duplicate_of": number}
        return (
            "Duplicate",
            {**duplicate, "canister_id": canister} if names_canister else duplicate,
        )

    def _burn(self, order: _Order, canister: Principal | None = None) -> Block:
        return Block(
            kind="burn",
            changes=((order.account, -order.cycles - BLOCK_FEE_CYCLES),),
            time_ns=self._now_ns(),
            key=None if order.made_ns is None else order.key,
            canister=canister,
        )

    def _given_back(self, order: _Order, kind: Variant, error: tuple[str, Value]) -> Effect:
        """Take the cycles and give them back: the fee is gone, and the order is used up."""
        burn = self._burn(order)
        back = ((order.account, order.cycles),)
        mint = Block(kind="mint", changes=back, time_ns=burn.time_ns)
        effect = _answered(kind, ("Err", error))
        return replace(effect, writes=self._book.entering([burn, mint]))

    def _now_ns(self) -> int:
        return self._runtime.canister_time.now_ns()


class _Refunded(Exception):  # noqa: N818 - it never leaves this file
    """A canister is not created, and the cycles go back."""


def _answered(kind: Variant, value: Value) -> Effect:
    return Effect(answer=IngressReply(reply=candid.encode((kind,), (value,))))


def _account(args: Arguments) -> CyclesAccount:
    return CyclesAccount(args.principal("owner"), subaccount(args, "subaccount"))
