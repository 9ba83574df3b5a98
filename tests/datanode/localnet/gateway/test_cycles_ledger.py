"""The cycles ledger: what mainnet's does with an account, once for each order."""

from collections.abc import Mapping
from typing import Final

import pytest

from datanode.agent import candid
from datanode.agent.candid import Nat, Value
from datanode.agent.identity import Identity
from datanode.localnet.management import cycles_ledger_types as interface_types
from datanode.localnet.management.account_book import START_CYCLES
from datanode.localnet.management.cycles_ledger import BLOCK_FEE_CYCLES, DRIFT_NS, WINDOW_NS
from datanode.localnet.state import ledger
from datanode.localnet.state.ledger import BillEntry
from datanode.localnet.state.topology import CYCLES_LEDGER, REGISTRY
from datanode.node.values import case
from datanode.principal import Principal
from datanode.units import DAY_S, SECOND_NS, TC
from tests.fakes.gateway import Gateway, RejectedError

METHODS: Final = {
    "create_canister": (interface_types.CREATE, interface_types.CREATED),
    "withdraw": (interface_types.WITHDRAW, interface_types.WITHDRAWN),
    "icrc1_transfer": (interface_types.TRANSFER, interface_types.TRANSFERRED),
}


def order(net: Gateway, who: Identity, method: str, **fields: Value) -> tuple[str, Value]:
    argument, answer = METHODS[method]
    arg = candid.encode((argument,), (fields,))
    (found,) = candid.decode((answer,), net.call(who, CYCLES_LEDGER, method, arg))
    return case(found)


def create(net: Gateway, who: Identity, cycles: int = 2 * TC, **fields: Value) -> Principal:
    name, made = order(net, who, "create_canister", amount=cycles, **fields)
    assert name == "Ok"
    assert isinstance(made, Mapping)
    canister = made["canister_id"]
    assert isinstance(canister, Principal)
    return canister


def error(answer: tuple[str, Value]) -> tuple[str, Value]:
    name, value = answer
    assert name == "Err"
    return case(value)


def balance_of(net: Gateway, who: Identity) -> int:
    arg = candid.encode((interface_types.ACCOUNT,), ({"owner": who.principal, "subaccount": None},))
    (found,) = candid.decode((Nat,), net.query(who, CYCLES_LEDGER, "icrc1_balance_of", arg))
    assert isinstance(found, int)
    return found


def entries(net: Gateway) -> list[BillEntry]:
    return ledger.page(net.network.records.database)


def test_a_canister_is_created_and_fed_from_an_account(net: Gateway, alice: Identity) -> None:
    canister = create(net, alice)
    assert net.balance(canister) == 2 * TC - net.fees.creation_cycles
    assert balance_of(net, alice) == START_CYCLES - 2 * TC - BLOCK_FEE_CYCLES
    assert dict(entries(net)[-1].items) == {
        "deposit": -2 * TC,
        "creation": net.fees.creation_cycles,
    }
    assert order(net, alice, "withdraw", amount=TC, to=canister) == ("Ok", 1)
    assert net.balance(canister) == 3 * TC - net.fees.creation_cycles
    left = START_CYCLES - 3 * TC - 2 * BLOCK_FEE_CYCLES
    assert balance_of(net, alice) == left
    assert -sum(entry.total_cycles for entry in entries(net)) == net.balance(canister)
    net.reopen()
    assert balance_of(net, alice) == left


def test_an_order_that_is_repeated_names_the_canister_of_the_first_and_pays_once(
    net: Gateway, alice: Identity, bob: Identity
) -> None:
    now_ns = net.network.runtime.canister_time.now_ns()
    canister = create(net, alice, created_at_time=now_ns)
    left = balance_of(net, alice)
    net.reopen()
    again = order(net, alice, "create_canister", amount=2 * TC, created_at_time=now_ns)
    assert error(again) == ("Duplicate", {"duplicate_of": 0, "canister_id": canister})
    assert balance_of(net, alice) == left
    assert len({entry.canister for entry in entries(net)}) == 1
    # Another amount, another time, another owner or no time: another order.
    others = {
        canister,
        create(net, alice, 3 * TC, created_at_time=now_ns),
        create(net, alice, created_at_time=now_ns + 1),
        create(net, bob, created_at_time=now_ns),
        create(net, alice),
        create(net, alice),
    }
    assert len(others) == 6


def test_a_repeated_withdrawal_arrives_once(net: Gateway, alice: Identity) -> None:
    canister, other = create(net, alice), create(net, alice)
    now_ns = net.network.runtime.canister_time.now_ns()
    fields: dict[str, Value] = {"amount": TC, "created_at_time": now_ns}
    assert order(net, alice, "withdraw", to=canister, **fields) == ("Ok", 2)
    held, left = net.balance(canister), balance_of(net, alice)
    again = order(net, alice, "withdraw", to=canister, **fields)
    assert error(again) == ("Duplicate", {"duplicate_of": 2})
    assert (net.balance(canister), balance_of(net, alice)) == (held, left)
    assert order(net, alice, "withdraw", to=other, **fields) == ("Ok", 3)


def test_an_order_is_known_again_for_a_day_and_then_refused(net: Gateway, alice: Identity) -> None:
    now_ns = net.network.runtime.canister_time.now_ns()
    canister = create(net, alice, created_at_time=now_ns)
    net.wall.pass_s((WINDOW_NS + DRIFT_NS) // SECOND_NS - 2)
    again = order(net, alice, "create_canister", amount=2 * TC, created_at_time=now_ns)
    assert error(again) == ("Duplicate", {"duplicate_of": 0, "canister_id": canister})
    net.wall.pass_s(4)
    late = order(net, alice, "create_canister", amount=2 * TC, created_at_time=now_ns)
    assert error(late) == ("TooOld", None)
    later_ns = net.network.runtime.canister_time.now_ns() + 2 * DRIFT_NS
    early = error(order(net, alice, "withdraw", amount=TC, to=canister, created_at_time=later_ns))
    assert early[0] == "CreatedInFuture"
    assert [entry.method for entry in entries(net) if entry.method != "rent"] == ["create_canister"]


def test_an_order_is_not_old_because_canister_time_runs_ahead(
    net: Gateway, alice: Identity
) -> None:
    canister = create(net, alice)
    net.network.runtime.canister_time.advance(30 * DAY_S)
    times = (net.network.traffic.clock.now_ns(), net.network.runtime.canister_time.now_ns())
    for number, made_ns in enumerate(times, start=1):
        fields: dict[str, Value] = {"amount": TC, "to": canister, "created_at_time": made_ns}
        assert order(net, alice, "withdraw", **fields) == ("Ok", number)
        assert error(order(net, alice, "withdraw", **fields))[0] == "Duplicate"


def test_the_ledger_gives_no_credit_and_says_so_before_anything_else(
    net: Gateway, alice: Identity
) -> None:
    short = order(net, alice, "create_canister", amount=START_CYCLES)
    assert error(short) == ("InsufficientFunds", {"balance": START_CYCLES})
    now_ns = net.network.runtime.canister_time.now_ns()
    most = START_CYCLES - BLOCK_FEE_CYCLES
    create(net, alice, most, created_at_time=now_ns)
    again = order(net, alice, "create_canister", amount=most, created_at_time=now_ns)
    assert error(again) == ("InsufficientFunds", {"balance": 0})


@pytest.mark.parametrize(
    ("cycles", "args", "words"),
    [
        (TC // 10, None, "Insufficient cycles"),
        (TC, {"subnet_selection": ("Subnet", {"subnet": REGISTRY})}, "Subnet does not exist"),
        (TC, {"settings": {"compute_allocation": 101}}, "compute_allocation"),
    ],
)
def test_a_creation_that_fails_costs_the_fee_and_is_used_up(
    net: Gateway, alice: Identity, cycles: int, args: dict[str, Value] | None, words: str
) -> None:
    now_ns = net.network.runtime.canister_time.now_ns()
    fields: dict[str, Value] = {"amount": cycles, "created_at_time": now_ns}
    if args is not None:
        fields["creation_args"] = args
    name, found = error(order(net, alice, "create_canister", **fields))
    assert name == "FailedToCreate"
    assert isinstance(found, Mapping)
    assert (found["fee_block"], found["refund_block"]) == (0, 1)
    assert words in str(found["error"])
    assert balance_of(net, alice) == START_CYCLES - BLOCK_FEE_CYCLES
    again = error(order(net, alice, "create_canister", **fields))
    assert again == ("Duplicate", {"duplicate_of": 0, "canister_id": None})
    assert entries(net) == []


def test_the_subnet_can_be_named(net: Gateway, alice: Identity) -> None:
    ours: Value = ("Subnet", {"subnet": net.network.topology.subnet_id})
    for subnet in (ours, ("Filter", {"subnet_type": None})):
        args: Value = {"subnet_selection": subnet}
        assert net.balance(create(net, alice, creation_args=args)) > TC


def test_cycles_go_to_canisters_that_exist(net: Gateway, alice: Identity) -> None:
    to_user = order(net, alice, "withdraw", amount=TC, to=alice.principal)
    assert error(to_user) == ("InvalidReceiver", {"receiver": alice.principal})
    assert balance_of(net, alice) == START_CYCLES
    name, found = error(order(net, alice, "withdraw", amount=TC, to=REGISTRY))
    assert name == "FailedToWithdraw"
    assert isinstance(found, Mapping)
    assert found["rejection_code"] == ("DestinationInvalid", None)
    assert balance_of(net, alice) == START_CYCLES - BLOCK_FEE_CYCLES


def test_cycles_are_transferred_once(net: Gateway, alice: Identity, bob: Identity) -> None:
    to: Value = {"owner": bob.principal, "subaccount": None}
    now_ns = net.network.runtime.canister_time.now_ns()
    fields: dict[str, Value] = {"to": to, "amount": TC, "created_at_time": now_ns}
    assert order(net, alice, "icrc1_transfer", **fields) == ("Ok", 0)
    again = order(net, alice, "icrc1_transfer", **fields)
    assert error(again) == ("Duplicate", {"duplicate_of": 0})
    assert balance_of(net, alice) == START_CYCLES - TC - BLOCK_FEE_CYCLES
    assert balance_of(net, bob) == START_CYCLES + TC
    wrong = order(net, alice, "icrc1_transfer", **fields, fee=1)
    assert error(wrong) == ("BadFee", {"expected_fee": BLOCK_FEE_CYCLES})
    assert order(net, bob, "icrc1_transfer", to=to, amount=TC) == ("Ok", 1)
    assert balance_of(net, bob) == START_CYCLES + TC - BLOCK_FEE_CYCLES


def test_a_subaccount_has_32_bytes_and_cycles_of_its_own(net: Gateway, alice: Identity) -> None:
    create(net, alice, from_subaccount=bytes(31) + b"\1")
    assert balance_of(net, alice) == START_CYCLES
    with pytest.raises(RejectedError, match="32 bytes"):
        order(net, alice, "create_canister", amount=TC, from_subaccount=b"\1")
