"""Exact costs of ingress messages, item by item, for every outcome."""

import pytest

from datanode.localnet.management import interface_types
from datanode.units import DAY_S, MIB
from tests.datanode.localnet.bills.published import UPDATE_LIMIT
from tests.datanode.localnet.bills.world import World, check
from tests.fakes.gateway import RejectedError
from tests.fakes.grower import grower_wasm, pages

REPLY = 1 + 5 + 500
"""Instructions of `reply`: a function's entry, a call, a system call."""


@pytest.mark.parametrize("size", [0, 1, 1_000, 65_536, 1_000_000, 2 * MIB - 1_000])
def test_the_size_of_an_ingress_message_is_paid_by_the_byte(world: World, size: int) -> None:
    (entry,), ingress = world.send("reply", bytes(size))
    assert entry.argument_bytes == size
    assert entry.instructions == REPLY
    check(entry, ingress, world.published.executed(REPLY))


@pytest.mark.parametrize(
    ("method", "rejected", "instructions"),
    [
        ("reply", "", REPLY),
        ("reject", "IC0406", 1 + 2 + 5 + 500),
        ("trap", "IC0502", 2),
        ("silent", "IC0506", 1),
        ("overrun", "IC0522", UPDATE_LIMIT),
        ("look", "", REPLY),
        ("absent", "IC0536", 0),
    ],
)
def test_an_update_pays_for_what_it_executed(
    world: World, method: str, rejected: str, instructions: int
) -> None:
    (entry,), ingress = world.send(method, rejected=rejected)
    assert entry.instructions == instructions
    check(entry, ingress, world.published.executed(instructions))


@pytest.mark.parametrize("times", [1, 2])
def test_update_pays_for_memory_by_the_metering_version(
    world: World, metering: str, times: int
) -> None:
    # Until July 2026 a page of 4 KiB whose content changes, since then a page of 64 KiB used.
    first, again = {"2026-06": (1_000, 0), "2026-07": (160_000, 160_000)}[metering]
    used = [REPLY + 3 + 3 + page for page in (first, again)[:times]]
    for instructions in used:
        (entry,), ingress = world.send("touch")
        assert entry.instructions == instructions
        check(entry, ingress, world.published.executed(instructions))


def test_queries_cost_nothing(world: World) -> None:
    before = world.held
    with world.billed() as entries:
        world.net.query(world.who, world.canister, "look")
        with pytest.raises(RejectedError):
            world.net.query(world.who, world.canister, "fail")
    assert entries == []
    assert world.held == before


def test_an_instruction_costs_twice_as_much_with_a_64_bit_memory(world: World) -> None:
    wasm = grower_wasm(wide=True)
    entry, ingress = world.manage(
        "install_code", interface_types.INSTALL, mode=("reinstall", None), wasm_module=wasm, arg=b""
    )
    assert entry.instructions > 0
    check(entry, ingress, world.published.installed(entry.instructions, ten=20))
    (entry,), ingress = world.send("both", pages(3))
    assert entry.instructions > 1_000
    check(entry, ingress, world.published.executed(entry.instructions, ten=20))


def test_a_message_refused_on_arrival_pays_nothing(world: World) -> None:
    world.manage("stop_canister", interface_types.CANISTER)
    before = world.held.balance_cycles
    assert world.send("reply", rejected="IC0508")[0] == []
    assert world.held.balance_cycles == before
    world.manage("start_canister", interface_types.CANISTER)
    frozen_s = world.held.balance_cycles // 10_000 * 10
    world.settings(freezing_threshold=frozen_s)
    before = world.held.balance_cycles
    assert world.send("reply", rejected="IC0207")[0] == []
    assert world.held.balance_cycles == before


def test_a_message_whose_execution_cannot_be_paid_in_advance_has_paid_its_way_in(
    world: World,
) -> None:
    day = sum(world.published.rent(world.held.memory_bytes, DAY_S).values())
    spare = world.published.scaled(UPDATE_LIMIT) // 2
    world.settings(freezing_threshold=(world.held.balance_cycles - spare) * DAY_S // day)
    (entry,), ingress = world.send("reply", rejected="IC0207")
    check(entry, ingress)


def test_a_canister_without_code_pays_for_the_attempt(world: World) -> None:
    world.manage("uninstall_code", interface_types.CANISTER)
    assert world.send("reply", rejected="IC0537")[0] == []
