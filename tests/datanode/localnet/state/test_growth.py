"""datanode.localnet.state.growth_charge: whoever grows pays, sets cycles aside, or is refused."""

import pytest

from datanode.agent.candid import Value
from datanode.agent.identity import Identity
from datanode.localnet.management import interface_types
from datanode.localnet.state import ledger
from datanode.localnet.state.subnet import SubnetChoice
from datanode.principal import Principal
from datanode.units import DAY_S, GIB, MIB, SECOND_NS, TC
from tests.fakes import puppet
from tests.fakes.gateway import Gateway, RejectedError
from tests.fakes.grower import grower_wasm, pages

PAGE = 65_536
PREPAID = 40_000_000_000 + 5_000_000


def install(net: Gateway, who: Identity, cycles: int, **settings: Value) -> Principal:
    canister = net.create(who, cycles)
    net.install(who, canister, wasm=grower_wasm())
    if settings:
        net.set(who, canister, **settings)
    return canister


def month_of(bytes_held: int) -> int:
    """The freezing threshold of thirty days on 13 nodes, as published."""
    a_day = bytes_held * 127_000 * DAY_S // GIB + 10_000 * DAY_S
    return a_day * 30


def test_growth_is_refused_that_would_freeze_the_canister(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice, TC)
    before = net.held(canister)
    body = net.signed_call(alice, canister, "stable", pages(60_000))
    ingress = 1_200_000 + 2_000 * len(body)
    left = before.balance_cycles - ingress - PREPAID
    missing = month_of(before.memory_bytes + 60_000 * PAGE) - left
    assert missing > 0
    with pytest.raises(RejectedError, match="cannot grow memory by 3932160000 bytes") as refused:
        net.post_call(body, canister)
    assert refused.value.error_code == "IC0532"
    assert f"At least {missing:_} additional cycles are required." in str(refused.value)
    assert net.held(canister).execution_bytes == before.execution_bytes
    assert "reserve" not in dict(net.last(canister).items)


@pytest.mark.parametrize("method", ["stable", "heap", "both"])
def test_every_kind_of_growth_is_asked(net: Gateway, alice: Identity, method: str) -> None:
    canister = install(net, alice, TC, freezing_threshold=1_000 * DAY_S)
    with pytest.raises(RejectedError) as refused:
        net.call(alice, canister, method, pages(200))
    assert refused.value.error_code == "IC0532"
    net.call(alice, canister, method, pages(1))


def test_only_controllers_are_told_what_is_missing(
    net: Gateway, alice: Identity, bob: Identity
) -> None:
    canister = install(net, alice, TC)
    with pytest.raises(RejectedError) as refused:
        net.call(bob, canister, "stable", pages(60_000))
    assert "additional cycles" not in str(refused.value)


def test_a_timer_grows_no_further_than_a_message(net: Gateway, alice: Identity) -> None:
    canister = net.puppet(alice, TC)
    due_ns = net.network.runtime.canister_time.now_ns() + SECOND_NS
    script = puppet.timer(due_ns, puppet.grow(60_000)) + puppet.reply()
    net.call(alice, canister, "run", script)
    before = net.held(canister).heap_bytes
    net.network.runtime.canister_time.advance(2)
    net.until(lambda: net.last(canister).method == "canister_global_timer")
    assert net.last(canister).status == "IC0532"
    assert net.held(canister).heap_bytes == before


def test_a_query_grows_for_nothing(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice, TC)
    before = net.held(canister)
    net.query(alice, canister, "look", pages(60_000))
    assert net.held(canister) == before


def test_what_is_liquid_shrinks_as_memory_grows(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice, 10 * TC)
    before = net.held(canister)
    body = net.signed_call(alice, canister, "stable", pages(100))
    liquid = int.from_bytes(net.post_call(body, canister), "little")
    left = before.balance_cycles - 1_200_000 - 2_000 * len(body) - PREPAID
    assert liquid == left - month_of(before.memory_bytes + 100 * PAGE)


def test_on_a_full_subnet_growth_sets_cycles_aside(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice, 10 * TC)
    net.network.runtime.rules.choose(SubnetChoice(used_gib=1_000))
    before = net.held(canister)
    net.call(alice, canister, "both", pages(100))
    used = 1_000 * GIB + before.memory_bytes

    def total(size: int) -> int:
        above = size - 750 * GIB
        return above * 127_000 * (300_000_000 * above // (1298 * GIB) // 2) // GIB

    wanted = total(used + 200 * PAGE) - total(used)
    items = dict(net.last(canister).items)
    assert items["reserve"] == wanted == net.held(canister).reserved_cycles
    with pytest.raises(RejectedError, match="unreachable"):
        net.call(alice, canister, "again")
    assert net.held(canister).reserved_cycles == wanted
    entries = [e for e in ledger.page(net.network.records.database) if e.canister == canister]
    assert -sum(each.total_cycles for each in entries) == net.held(canister).balance_cycles
    assert sum(dict(each.items).get("reserve", 0) for each in entries) == wanted


def test_what_is_set_aside_has_a_limit(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice, 100 * TC)
    net.network.runtime.rules.choose(SubnetChoice(used_gib=1_000))
    with pytest.raises(RejectedError, match="due to its reserved cycles limit") as refused:
        net.call(alice, canister, "stable", pages(20_000))
    assert refused.value.error_code == "IC0534"
    assert "The current limit (5_000_000_000_000) would be exceeded by" in str(refused.value)
    net.set(alice, canister, reserved_cycles_limit=50 * TC)
    net.call(alice, canister, "stable", pages(20_000))
    assert net.held(canister).reserved_cycles > 5 * TC
    with pytest.raises(RejectedError, match="Cannot set the reserved cycles limit") as refused:
        net.set(alice, canister, reserved_cycles_limit=TC)
    assert refused.value.error_code == "IC0540"


def test_memory_that_is_allocated_is_paid_and_reserved_once(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice, 100 * TC)
    net.network.runtime.rules.choose(SubnetChoice(used_gib=1_000))
    net.set(alice, canister, memory_allocation=64 * MIB)
    reserved = net.held(canister).reserved_cycles
    assert reserved > 0
    net.call(alice, canister, "stable", pages(100))
    assert net.held(canister).reserved_cycles == reserved
    assert net.held(canister).charged_bytes() == 64 * MIB


def test_allocations_need_the_cycles_for_them(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice, TC)
    with pytest.raises(RejectedError, match="Cannot increase compute allocation to 50") as refused:
        net.set(alice, canister, compute_allocation=50)
    assert refused.value.error_code == "IC0530"
    with pytest.raises(RejectedError, match="Cannot increase memory allocation") as refused:
        net.set(alice, canister, memory_allocation=500 * GIB)
    assert refused.value.error_code == "IC0531"
    net.network.runtime.rules.choose(SubnetChoice(used_gib=2_000))
    with pytest.raises(RejectedError, match="due to its reserved cycles limit") as refused:
        net.set(alice, canister, memory_allocation=GIB, freezing_threshold=0)
    assert refused.value.error_code == "IC0533"
    with pytest.raises(RejectedError, match="Cannot increase memory allocation") as refused:
        net.set(
            alice,
            canister,
            memory_allocation=GIB,
            freezing_threshold=0,
            reserved_cycles_limit=100 * TC,
        )
    assert refused.value.error_code == "IC0531"


def test_a_chunk_sets_cycles_aside(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice, 10 * TC)
    net.network.runtime.rules.choose(SubnetChoice(used_gib=1_000))
    for _ in range(2):  # the second time it is there already
        net.manage(
            alice, "upload_chunk", interface_types.UPLOAD_CHUNK, canister_id=canister, chunk=b"a"
        )
    reserved = net.held(canister).reserved_cycles
    assert reserved > 0
    net.manage(
        alice, "upload_chunk", interface_types.UPLOAD_CHUNK, canister_id=canister, chunk=b"b"
    )
    assert net.held(canister).reserved_cycles > reserved


def test_an_installation_that_would_freeze_is_undone_and_paid(
    net: Gateway, alice: Identity
) -> None:
    canister = net.create(alice, 2 * TC)
    spare = 300_000_000_000 + 300_000_000  # the instructions in advance, and some ingress
    net.set(alice, canister, freezing_threshold=(2 * TC - spare) // 10_000)
    with pytest.raises(RejectedError, match="cannot grow memory by") as refused:
        net.install(alice, canister, wasm=grower_wasm())
    assert refused.value.error_code == "IC0532"
    assert net.held(canister).module_hash is None
    assert dict(net.last(canister).items).keys() == {"ingress", "execution", "instructions"}
    net.set(alice, canister, freezing_threshold=DAY_S)
    net.install(alice, canister, wasm=grower_wasm())
    assert net.held(canister).heap_bytes == PAGE


def test_a_small_change_of_settings_thaws_a_canister(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice, TC, freezing_threshold=10_000_000 * DAY_S)
    with pytest.raises(RejectedError, match="is out of cycles"):
        net.call(alice, canister, "silent")
    net.set(alice, canister, freezing_threshold=DAY_S)
    paid = dict(net.last(canister).items)
    assert paid["ingress"] == 1_200_000 + 2_000 * (
        net.last(canister).argument_bytes + len("update_settings")
    )
    with pytest.raises(RejectedError, match="did not reply"):
        net.call(alice, canister, "silent")
