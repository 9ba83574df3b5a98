"""Exact rent: storage, base fee, compute, and insolvency."""

import pytest

from datanode.localnet.management import interface_types
from datanode.localnet.state.ledger import BillEntry
from datanode.localnet.state.subnet import SubnetChoice
from datanode.localnet.state.topology import canister_id
from datanode.units import DAY_S, GIB, MIB, TC
from tests.datanode.localnet.bills.world import World, check
from tests.fakes.gateway import RejectedError


def pass_s(world: World, seconds: int) -> BillEntry:
    """Let exactly so many whole seconds pass since the canister last paid."""
    now_ns = world.net.network.runtime.canister_time.now_ns()
    ahead_s = (now_ns - world.held.charged_ns) // 10**9
    world.net.network.runtime.canister_time.advance(seconds - ahead_s)
    slot = world.net.network.records.canisters.find(world.canister)
    assert slot is not None
    with world.billed() as entries:
        world.net.interface.rent.settle(slot)
    (entry,) = entries
    return entry


@pytest.mark.parametrize("seconds", [10, 11, 60, 3_601, DAY_S, 30 * DAY_S])
@pytest.mark.parametrize("allocated", [0, 3 * GIB])
@pytest.mark.parametrize("compute", [0, 1])
def test_rent_is_a_share_of_the_price_of_a_day(
    world: World, seconds: int, allocated: int, compute: int
) -> None:
    world.settings(memory_allocation=allocated, compute_allocation=compute)
    held = allocated or world.held.memory_bytes
    check(pass_s(world, seconds), world.published.rent(held, seconds, compute))
    (day,) = {world.held.idle_cycles_per_day(world.net.fees)}
    assert day == sum(world.published.rent(held, DAY_S, compute).values())


def test_an_empty_canister_pays_for_its_existence(world: World) -> None:
    world.manage("uninstall_code", interface_types.CANISTER)
    history = world.published.history(3, 1)
    assert world.held.memory_bytes == history
    check(pass_s(world, 3_600), world.published.rent(history, 3_600))


def test_a_history_pays_for_each_change_and_each_controller_that_it_names(world: World) -> None:
    before, who = world.held.memory_bytes, world.who.principal
    others = [who, *(canister_id(number) for number in range(9))]
    for changes in range(1, 25):
        world.settings(controllers=[*others] if changes == 1 else [who])
        # Creation and installation give way to the nineteenth change and the twentieth.
        gone = world.published.history(max(0, min(changes - 18, 2)), int(changes > 18))
        if changes > 20:
            gone = before_first = world.published.history(2, 1)
            kept = world.published.history(20, 20)
            assert world.held.history.size_bytes == kept
            assert world.held.memory_bytes == before - before_first + kept
        else:
            more = world.published.history(changes, changes + 9)
            assert world.held.memory_bytes == before + more - gone
    check(pass_s(world, DAY_S), world.published.rent(world.held.memory_bytes, DAY_S))


def test_what_is_set_aside_pays_first(world: World) -> None:
    world.settings(reserved_cycles_limit=90 * TC)
    world.net.network.runtime.rules.choose(SubnetChoice(used_gib=1_000))
    world.settings(memory_allocation=256 * MIB)
    reserved = world.held.reserved_cycles
    assert reserved > 0
    due = world.published.rent(256 * MIB, 3_600)
    total = sum(due.values())
    assert total < reserved
    check(pass_s(world, 3_600), due, {"reserve": -total})
    assert world.held.reserved_cycles == reserved - total


def test_whoever_cannot_pay_loses_what_is_left(world: World) -> None:
    world.settings(freezing_threshold=0, memory_allocation=64 * GIB)
    left = world.held.balance_cycles
    seconds = left // sum(world.published.rent(64 * GIB, DAY_S).values()) * DAY_S
    entry = pass_s(world, seconds + 2 * DAY_S)
    check(entry, {"burnt": left})
    assert world.held.module_hash is None


def test_a_canister_is_frozen_below_the_rent_of_its_threshold(world: World) -> None:
    threshold_s = 10 * DAY_S
    world.settings(freezing_threshold=threshold_s, memory_allocation=64 * GIB)
    frozen_below = world.published.freezing(64 * GIB, threshold_s)
    day = sum(world.published.rent(64 * GIB, DAY_S).values())
    pass_s(world, (world.held.balance_cycles - frozen_below) // day * DAY_S)
    world.net.query(world.who, world.canister, "look")
    pass_s(world, DAY_S)
    assert world.held.balance_cycles < frozen_below
    with pytest.raises(RejectedError, match="it's frozen"):
        world.net.query(world.who, world.canister, "look")
    assert world.send("reply", rejected="IC0207")[0] == []
