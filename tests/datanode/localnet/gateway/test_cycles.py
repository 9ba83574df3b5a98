"""Cycles: what a message costs, who pays, and when a canister is frozen."""

import pytest

from datanode.agent import candid
from datanode.agent.candid import Principal as PrincipalType
from datanode.agent.candid import Record, Variant
from datanode.agent.identity import Identity
from datanode.localnet.machine import prices
from datanode.localnet.management import interface_types
from datanode.localnet.state import ledger
from datanode.localnet.state.ledger import BillEntry
from datanode.localnet.state.subnet import SubnetChoice
from datanode.localnet.state.topology import CYCLES_MINTING, REGISTRY
from datanode.principal import Principal
from datanode.units import DAY_S, GIB, TC
from tests.fakes.counter import argument, number
from tests.fakes.gateway import Gateway, RejectedError


def entries(net: Gateway, canister: Principal | None = None) -> list[BillEntry]:
    found = ledger.page(net.network.records.database)
    return [entry for entry in found if canister in (None, entry.canister)]


def test_an_update_is_billed_by_envelope_bytes_and_instructions(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    before = net.balance(canister)
    body = net.signed_call(alice, canister, "add", argument(3))
    net.post_call(body, canister)
    entry = entries(net)[-1]
    assert dict(entry.items) == {
        "ingress": 1_200_000 + 2_000 * len(body),
        "execution": 5_000_000,
        "instructions": entry.instructions,
    }
    assert entry.envelope_bytes == len(body)
    assert entry.argument_bytes == 15
    assert before - net.balance(canister) == entry.total_cycles
    assert entry.balance_cycles == net.balance(canister)
    assert entry.status == "replied"
    assert number(entry.reply) == 3
    assert (entry.method, entry.sender) == ("add", alice.principal)


def test_a_trap_is_paid_for(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    before = net.balance(canister)
    with pytest.raises(RejectedError):
        net.call(alice, canister, "crash")
    entry = entries(net)[-1]
    assert entry.status == "IC0503"
    assert dict(entry.items)["execution"] == 5_000_000
    assert before - net.balance(canister) == entry.total_cycles > 6_000_000


def test_a_query_costs_nothing(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    before = net.balance(canister), len(entries(net))
    net.query(alice, canister, "get")
    assert (net.balance(canister), len(entries(net))) == before


def test_time_is_billed_with_the_next_message(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    held = slot.canister.memory_bytes
    net.wall.pass_s(1_001)  # a thousand whole seconds: the clock is a few nanoseconds ahead
    net.call(alice, canister, "add", argument(1))
    rent, call = entries(net, canister)[-2:]
    items = dict(rent.items)
    assert (rent.method, rent.status, call.method) == ("rent", "paid", "add")
    assert items["storage"] == held * 127_000 * DAY_S // GIB * 1_000 // DAY_S
    assert items["base"] == 10_000 * 1_000
    assert "base" not in dict(call.items)


def test_the_ledger_adds_up_to_the_balance(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice, 20 * TC)
    for seconds in (0, 7, 86_400):
        net.wall.pass_s(seconds)
        net.call(alice, canister, "add", argument(1))
        with pytest.raises(RejectedError):
            net.call(alice, canister, "crash")
    net.install(alice, canister, "upgrade")
    net.manage(
        alice, "provisional_top_up_canister", interface_types.TOP_UP, canister_id=canister, amount=9
    )
    net.manage(alice, "stop_canister", interface_types.CANISTER, canister_id=canister)
    mine = entries(net, canister)
    assert -sum(entry.total_cycles for entry in mine) == net.balance(canister)
    net.manage(alice, "delete_canister", interface_types.CANISTER, canister_id=canister)
    assert sum(entry.total_cycles for entry in entries(net, canister)) == 0


def test_pages_of_the_ledger_join(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    for _ in range(3):
        net.call(alice, canister, "add", argument(1))
    whole = entries(net)
    assert [entry.sequence for entry in whole] == [1, 2, 3, 4, 5]
    assert ledger.page(net.network.records.database, after=2) == whole[2:]
    assert [entry.to_json()["items"] for entry in whole] == [dict(entry.items) for entry in whole]


def test_a_canister_below_its_freezing_threshold_is_frozen(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice, TC)
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    threshold = slot.canister.frozen_below_cycles(net.fees)
    days = (net.balance(canister) - threshold) * 30 // threshold + 1
    net.wall.pass_s(days * DAY_S)
    with pytest.raises(RejectedError, match="out of cycles") as rejected:
        net.call(alice, canister, "add", argument(1))
    assert (rejected.value.error_code, rejected.value.certified) == ("IC0207", False)
    with pytest.raises(RejectedError, match="frozen") as rejected:
        net.query(alice, canister, "get")
    assert rejected.value.error_code == "IC0207"
    net.manage(
        alice,
        "provisional_top_up_canister",
        interface_types.TOP_UP,
        canister_id=canister,
        amount=TC,
    )
    assert number(net.call(alice, canister, "add", argument(1))) == 1


def test_a_canister_must_afford_all_instructions_that_a_message_may_use(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice, TC)
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    limit = net.fees.execution_cycles(prices.INSTRUCTION_LIMIT_UPDATE)
    spare = net.balance(canister) - slot.canister.frozen_below_cycles(net.fees) - limit
    days = spare * 30 // slot.canister.frozen_below_cycles(net.fees)
    net.wall.pass_s(days * DAY_S + DAY_S)
    with pytest.raises(RejectedError, match="out of cycles") as rejected:
        net.call(alice, canister, "add", argument(1))
    assert (rejected.value.error_code, rejected.value.certified) == ("IC0207", True)
    assert "ingress" in dict(entries(net)[-1].items)


def test_a_larger_subnet_takes_more(net: Gateway, alice: Identity) -> None:
    net.network.runtime.rules.choose(SubnetChoice(nodes=34))
    canister = net.counter(alice)
    body = net.signed_call(alice, canister, "add", argument(3))
    net.post_call(body, canister)
    items = dict(entries(net)[-1].items)
    assert items["ingress"] == net.fees.ingress_cycles(len(body)) > 2_000 * len(body) * 2
    assert items["execution"] == 5_000_000 * 34 // 13


def test_the_built_in_canisters_name_the_subnet(net: Gateway, alice: Identity) -> None:
    subnet = net.network.topology.subnet_id
    reply = net.query(alice, CYCLES_MINTING, "get_default_subnets")
    assert candid.decode((candid.Vec(PrincipalType),), reply) == ([subnet],)
    canister = net.create(alice)
    arg = candid.encode(
        (Record({"principal": candid.Opt(PrincipalType)}),), ({"principal": canister},)
    )
    reply = net.query(alice, REGISTRY, "get_subnet_for_canister", arg)
    ok = Variant({"Ok": Record({"subnet_id": candid.Opt(PrincipalType)}), "Err": candid.Text})
    assert candid.decode((ok,), reply) == (("Ok", {"subnet_id": subnet}),)
    with pytest.raises(RejectedError, match="built into"):
        net.call(alice, REGISTRY, "vote")
