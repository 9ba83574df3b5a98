"""What time costs: storage, existence, compute; and what stays when it cannot be paid."""

import pytest

from datanode.localnet.management import types
from datanode.localnet.replica import rent
from datanode.localnet.state.ledger import Entry
from datanode.localnet.state.subnet import SubnetChoice
from datanode.units import DAY_S, GIB, MIB, TC
from tests.datanode.localnet.bills.world import World, check
from tests.fakes.gateway import RejectedError


def pass_s(world: World, seconds: int) -> Entry:
    """Let exactly so many whole seconds pass since the canister last paid."""
    now_ns = world.net.network.canister_time.now_ns()
    ahead_s = (now_ns - world.held.charged_ns) // 10**9
    world.net.network.canister_time.advance(seconds - ahead_s)
    slot = world.net.network.canisters.find(world.canister)
    assert slot is not None
    with world.billed() as entries:
        rent.settle(world.net.network, slot)
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
    world.manage("uninstall_code", types.CANISTER)
    assert world.held.memory_bytes == 0
    check(pass_s(world, 3_600), {"base": world.published.scaled(10_000 * DAY_S) * 3_600 // DAY_S})


def test_what_is_set_aside_pays_first(world: World) -> None:
    world.settings(reserved_cycles_limit=90 * TC)
    world.net.network.choose(SubnetChoice(used_gib=1_000))
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
