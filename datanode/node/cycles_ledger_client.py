"""The cycles ledger: pays for canisters out of an account, the same way on every network.

An order names when it was made, and the ledger carries it out once: whoever sends it again within
24 hours, because the answer was lost, is told what became of the first. So an order is written
down before it is sent (`orders`) and repeated as it was until there is a final answer.

Interface: `cycles-ledger.did` of the cycles ledger, 2026. Settings, transfers and allowances are
left out.
"""

from dataclasses import dataclass
from typing import Final

from datanode.agent.candid import (
    Blob,
    Nat,
    Nat64,
    Null,
    Opt,
    Record,
    Text,
    Type,
    Value,
    Variant,
    decode,
    encode,
)
from datanode.agent.candid import Principal as PrincipalType
from datanode.agent.client import Agent
from datanode.errors import (
    CertificateError,
    CyclesError,
    DataNodeError,
    NetworkError,
    NodeRejectedError,
    NodeStoppedError,
    NotFoundError,
    UnknownOutcomeError,
)
from datanode.node.orders import Order
from datanode.node.values import Row, case, narrow
from datanode.principal import Principal
from datanode.units import TC, format_cycles

LEDGER: Final = Principal.parse("um5iw-rqaaa-aaaaq-qaaba-cai")
FEE_CYCLES: Final = 100_000_000
"""What every order costs beside its amount. Source: the cycles ledger's `icrc1_fee`, 2026."""

_ACCOUNT: Final = Record({"owner": PrincipalType, "subaccount": Opt(Blob)})
_SUBNET: Final = Variant({"Subnet": Record({"subnet": PrincipalType})})
_CREATE: Final = Record(
    {
        "amount": Nat,
        "from_subaccount": Opt(Blob),
        "created_at_time": Opt(Nat64),
        "creation_args": Opt(Record({"subnet_selection": Opt(_SUBNET)})),
    }
)
_WITHDRAW: Final = Record(
    {
        "amount": Nat,
        "from_subaccount": Opt(Blob),
        "to": PrincipalType,
        "created_at_time": Opt(Nat64),
    }
)
_FAILURES: Final[dict[str, Type]] = {
    "InsufficientFunds": Record({"balance": Nat}),
    "TooOld": Null,
    "CreatedInFuture": Record({"ledger_time": Nat64}),
    "TemporarilyUnavailable": Null,
    "GenericError": Record({"message": Text, "error_code": Nat}),
}
_CREATED: Final = Variant(
    {
        "Ok": Record({"block_id": Nat, "canister_id": PrincipalType}),
        "Err": Variant(
            {
                **_FAILURES,
                "Duplicate": Record({"duplicate_of": Nat, "canister_id": Opt(PrincipalType)}),
                "FailedToCreate": Record({"error": Text}),
            }
        ),
    }
)
_WITHDRAWN: Final = Variant(
    {
        "Ok": Nat,
        "Err": Variant(
            {
                **_FAILURES,
                "Duplicate": Record({"duplicate_of": Nat}),
                "BadFee": Record({"expected_fee": Nat}),
                "InvalidReceiver": Record({"receiver": PrincipalType}),
                "FailedToWithdraw": Record({"rejection_reason": Text}),
            }
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final answer: the order was not carried out, and never will be.

    Attributes:
        error: What to tell the user.
    """

    error: DataNodeError


def balance(agent: Agent) -> int:
    """Return the cycles of the caller's account."""
    account: Value = {"owner": agent.identity.principal, "subaccount": None}
    reply = agent.query(LEDGER, "icrc1_balance_of", encode((_ACCOUNT,), (account,)))
    return narrow(decode((Nat,), reply)[0], int)


def is_there(agent: Agent) -> bool:
    """Whether the network has a cycles ledger; mainnet has."""
    if agent.network.is_mainnet:
        return True
    try:
        balance(agent)
    except (NotFoundError, NodeStoppedError, CertificateError, NodeRejectedError):
        return False
    return True


def check_funds(agent: Agent, cycles: int) -> None:
    """Make sure that an order over so many cycles can be paid.

    Raises:
        CyclesError: It cannot.
    """
    held_cycles = balance(agent)
    if held_cycles < cycles + FEE_CYCLES:
        raise _short(agent, cycles, held_cycles)


def create(agent: Agent, order: Order) -> Principal | Refusal:
    """Have a canister created that the caller controls, unless this order has created it already.

    Raises:
        UnknownOutcomeError: Nobody knows whether the order was carried out; send it again.
        DataNodeError: As `Agent.call`; the order may have been carried out all the same.
    """
    subnet: Value = None if order.subnet is None else ("Subnet", {"subnet": order.subnet})
    argument: Value = {
        "amount": order.cycles,
        "created_at_time": order.made_ns,
        "creation_args": None if subnet is None else {"subnet_selection": subnet},
    }
    reply = agent.call(LEDGER, "create_canister", encode((_CREATE,), (argument,)))
    name, value = case(decode((_CREATED,), reply)[0])
    if name == "Ok":
        return Row.of(value).principal("canister_id")
    name, value = case(value)
    if name == "Duplicate":
        first = Row.of(value).optional("canister_id", Principal)
        return first if first is not None else _failed("the first attempt created no canister")
    if name == "FailedToCreate":
        return _failed(Row.of(value).text("error"))
    return _refusal(agent, order, name, value)


def withdraw(agent: Agent, order: Order, to: Principal) -> Refusal | None:
    """Give cycles of the account to a canister, unless this order has done so already.

    Raises:
        UnknownOutcomeError: As `create`.
        DataNodeError: As `create`.
    """
    argument: Value = {"amount": order.cycles, "to": to, "created_at_time": order.made_ns}
    reply = agent.call(LEDGER, "withdraw", encode((_WITHDRAW,), (argument,)))
    name, value = case(decode((_WITHDRAWN,), reply)[0])
    if name == "Ok":
        return None
    name, value = case(value)
    if name == "Duplicate":
        return None
    if name == "FailedToWithdraw":
        return _failed(Row.of(value).text("rejection_reason"))
    if name in ("InvalidReceiver", "BadFee"):
        return Refusal(NodeRejectedError(f"the cycles ledger refuses: {name} for {to}"))
    return _refusal(agent, order, name, value)


def _refusal(agent: Agent, order: Order, name: str, value: Value) -> Refusal:
    """Tell what an answer that both methods give means for an order.

    Raises:
        UnknownOutcomeError: It does not tell whether the order was carried out before.
        NetworkError: It was not carried out now, and may be later.
    """
    if name == "TemporarilyUnavailable":
        raise NetworkError("the cycles ledger is busy", safe="Nothing was paid.")
    if name == "TooOld":
        raise UnknownOutcomeError(
            "an earlier attempt is more than a day old: the cycles ledger has forgotten it",
            hint=f"Look whether the account paid {format_cycles(order.cycles)}; then remove "
            f"{order.path} and run the command again.",
        )
    if name == "InsufficientFunds":
        held_cycles = Row.of(value).number("balance")
        error = _short(agent, order.cycles, held_cycles)
        if order.is_fresh:
            return Refusal(error)
        # The ledger looks at the account first, and only then whether it knows the order.
        raise UnknownOutcomeError(
            "an earlier attempt may have been paid: the cycles ledger does not say so while the "
            f"account holds {format_cycles(held_cycles)}",
            hint=f"{error.hint} What the earlier attempt paid for is found, and nothing is paid "
            "twice.",
        )
    if name == "CreatedInFuture":
        return Refusal(
            NodeRejectedError(
                "this machine's clock is ahead of the cycles ledger's", hint="Set it."
            )
        )
    return Refusal(NodeRejectedError(f"the cycles ledger refuses: {Row.of(value).text('message')}"))


def _failed(reason: str) -> Refusal:
    return Refusal(
        NodeRejectedError(
            f"the cycles ledger could not carry out the order: {reason}",
            safe="The cycles went back to the account, less the ledger's fee.",
            hint="Creating a canister is paid out of --cycles: name more if they are too few.",
        )
    )


def _short(agent: Agent, cycles: int, held_cycles: int) -> CyclesError:
    owner, needed_cycles = agent.identity.principal, cycles + FEE_CYCLES
    missing = -(-(needed_cycles - held_cycles) * 10_000 // TC) / 10_000
    return CyclesError(
        f"the account of {owner} on the cycles ledger holds {format_cycles(held_cycles)}, and "
        f"{format_cycles(needed_cycles)} are needed",
        safe="Nothing was paid.",
        hint=f"Send {missing:.4f} TC to {owner} on the cycles ledger {LEDGER} (`icp cycles mint`, "
        "or `icp cycles transfer` from another identity), then run the same command again.",
    )
