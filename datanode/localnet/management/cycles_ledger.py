"""The cycles ledger at its mainnet id: creates canisters and tops them up from accounts.

Every account starts with 1,000 TC out of nothing, because nobody sells cycles here. The fee of
100 M cycles for each block is mainnet's; the creation fee is taken from what the canister is given,
as on mainnet.

Methods: `create_canister`, `withdraw`, `icrc1_balance_of`, `icrc1_fee`, `icrc1_decimals`,
`icrc1_symbol`, `icrc1_name`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from datanode.agent import candid
from datanode.agent.candid import (
    Blob,
    Nat,
    Nat8,
    Nat64,
    Opt,
    Record,
    Text,
    Value,
    Variant,
)
from datanode.agent.candid import (
    Principal as PrincipalType,
)
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management import lifecycle, settings
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.types import SETTINGS
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister import Settings
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import Answer, Message
from datanode.localnet.state.network import Network
from datanode.principal import Principal
from datanode.units import TC

DECIMALS: Final = 12
START_CYCLES: Final = 1_000 * TC
BLOCK_FEE_CYCLES: Final = 100_000_000
"""Source: the cycles ledger's `icrc1_fee` on mainnet, 2026."""
_DEFAULT_SUBACCOUNT: Final = bytes(32)

ACCOUNT: Final = Record({"owner": PrincipalType, "subaccount": Opt(Blob)})
CREATE: Final = Record(
    {
        "amount": Nat,
        "from_subaccount": Opt(Blob),
        "created_at_time": Opt(Nat64),
        "creation_args": Opt(
            Record(
                {
                    "settings": Opt(SETTINGS),
                    "subnet_selection": Opt(
                        Variant(
                            {
                                "Subnet": Record({"subnet": PrincipalType}),
                                "Filter": Record({"subnet_type": Opt(Text)}),
                            }
                        )
                    ),
                }
            )
        ),
    }
)
WITHDRAW: Final = Record({"amount": Nat, "from_subaccount": Opt(Blob), "to": PrincipalType})
_FAILED: Final = {
    "InsufficientFunds": Record({"balance": Nat}),
    "GenericError": Record({"message": Text, "error_code": Nat}),
}
CREATED: Final = Variant(
    {"Ok": Record({"block_id": Nat, "canister_id": PrincipalType}), "Err": Variant(_FAILED)}
)
WITHDRAWN: Final = Variant(
    {
        "Ok": Nat,
        "Err": Variant({**_FAILED, "InvalidReceiver": Record({"receiver": PrincipalType})}),
    }
)


class CyclesLedger:
    """Accounts of cycles, in the network's database.

    Attributes:
        queries: Methods that read, by name.
        updates: Methods that change something; the lock of the built-in canisters is held.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self.queries: dict[str, Callable[[bytes, Principal], bytes]] = {
            "icrc1_balance_of": self._balance_of,
            "icrc1_fee": lambda _arg, _who: candid.encode((Nat,), (BLOCK_FEE_CYCLES,)),
            "icrc1_decimals": lambda _arg, _who: candid.encode((Nat8,), (DECIMALS,)),
            "icrc1_symbol": lambda _arg, _who: candid.encode((Text,), ("TCYCLES",)),
            "icrc1_name": lambda _arg, _who: candid.encode((Text,), ("TCYCLES",)),
        }
        self.updates: dict[str, Callable[[Message, Slot | None], Effect]] = {
            "create_canister": self._create,
            "withdraw": self._withdraw,
        }

    def _balance_of(self, arg: bytes, _who: Principal) -> bytes:
        account = Arguments.decode(ACCOUNT, arg)
        owner = account.principal("owner")
        return candid.encode((Nat,), (self._balance(owner, _subaccount(account, "subaccount")),))

    def receiver(self, message: Message) -> Principal | None:
        """Return the canister that a message gives cycles to."""
        if message.method != "withdraw":
            return None
        return Arguments.decode(WITHDRAW, message.arg).principal("to")

    def _create(self, message: Message, _slot: Slot | None) -> Effect:
        args = Arguments.decode(CREATE, message.arg)
        subaccount, amount = _subaccount(args, "from_subaccount"), args.number("amount")
        short = self._short(message.sender, subaccount, amount)
        if short is not None:
            return _answered(CREATED, ("Err", short))
        fee = self._network.fees.creation_cycles
        if amount < fee:
            text = f"creating a canister costs {fee} cycles"
            why: dict[str, Value] = {"message": text, "error_code": 0}
            return _answered(CREATED, ("Err", ("GenericError", why)))
        chosen = Settings(controllers=(message.sender,))
        creation = args.optional_record("creation_args")
        given = None if creation is None else creation.optional_record("settings")
        if given is not None:
            chosen = settings.changed(chosen, given)
        canister, made = lifecycle.created(self._network, chosen, amount, creation_fee_cycles=fee)
        block: Value = {"block_id": 0, "canister_id": canister}
        paid = self._paying(message.sender, subaccount, amount + BLOCK_FEE_CYCLES)
        return replace(
            made,
            answer=Answer(reply=candid.encode((CREATED,), (("Ok", block),))),
            writes=(*made.writes, paid),
        )

    def _withdraw(self, message: Message, slot: Slot | None) -> Effect:
        args = Arguments.decode(WITHDRAW, message.arg)
        subaccount, amount = _subaccount(args, "from_subaccount"), args.number("amount")
        short = self._short(message.sender, subaccount, amount)
        if short is not None:
            return _answered(WITHDRAWN, ("Err", short))
        if slot is None:
            receiver = {"receiver": args.principal("to")}
            return _answered(WITHDRAWN, ("Err", ("InvalidReceiver", receiver)))
        bill = Bill(slot.canister, self._network.fees)
        bill.deposit(amount)
        return Effect(
            answer=Answer(reply=candid.encode((WITHDRAWN,), (("Ok", 0),))),
            bill=bill,
            writes=(self._paying(message.sender, subaccount, amount + BLOCK_FEE_CYCLES),),
        )

    def _short(self, owner: Principal, subaccount: bytes, amount: int) -> tuple[str, Value] | None:
        balance = self._balance(owner, subaccount)
        if amount + BLOCK_FEE_CYCLES <= balance:
            return None
        return ("InsufficientFunds", {"balance": balance})

    def _balance(self, owner: Principal, subaccount: bytes) -> int:
        row = self._network.database.row(
            "SELECT balance FROM accounts WHERE owner = ? AND subaccount = ?",
            (owner.raw, subaccount),
        )
        return START_CYCLES if row is None else int(str(row[0]))

    def _paying(self, owner: Principal, subaccount: bytes, cycles: int) -> Callable[[], object]:
        left = self._balance(owner, subaccount) - cycles
        return lambda: self._network.database.write(
            "INSERT OR REPLACE INTO accounts VALUES (?,?,?)", (owner.raw, subaccount, str(left))
        )


def _answered(kind: Variant, value: Value) -> Effect:
    return Effect(answer=Answer(reply=candid.encode((kind,), (value,))))


def _subaccount(args: Arguments, name: str) -> bytes:
    return args.blob(name) if args.has(name) else _DEFAULT_SUBACCOUNT
