"""Settings that storage needs: set at creation, worrying ones told, controllers never lost."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from datanode import frame
from datanode.agent import identity
from datanode.agent.client import Agent
from datanode.errors import CyclesError, NodeFullError, UsageError
from datanode.localnet.api import LocalNetwork
from datanode.localnet.state.drain_level import DrainLevel
from datanode.node import deploy, settings
from datanode.node.canister import CanisterNode
from datanode.node.port import Refused
from datanode.node.settings import GOOD, NO_LIMIT_CYCLES, SettingsChange
from datanode.principal import Principal
from datanode.units import DAY_S, GIB, TC
from tests.fakes.canister_world import network_of
from tests.fakes.checkpoints import some_bytes

ME, OTHER = Principal(b"\1\2"), Principal(b"\1\3")


@pytest.fixture
def agent(network: LocalNetwork, tmp_path: Path) -> Iterator[Agent]:
    with Agent(network_of(network), identity.generate(tmp_path / "me.pem")) as agent:
        yield agent


def test_new_nodes_get_settings_that_storage_needs(agent: Agent) -> None:
    status = deploy.canister_status(agent, deploy.create_node(agent))
    assert status.freezing_threshold_s == 90 * DAY_S
    assert status.reserved_cycles_limit == NO_LIMIT_CYCLES
    assert status.wasm_memory_limit_bytes == 1 * GIB
    assert status.call_cycles == GOOD.call_cycles
    assert settings.concerns(status, status.days, "main") == []


def test_change_leaves_other_settings_alone(agent: Agent) -> None:
    canister = deploy.create_node(agent)
    before = deploy.canister_status(agent, canister)
    settings.apply(agent, canister, SettingsChange(reserved_cycles_limit=7 * TC))
    after = deploy.canister_status(agent, canister)
    assert after.reserved_cycles_limit == 7 * TC
    same = replace(after, reserved_cycles_limit=NO_LIMIT_CYCLES, cycles=before.cycles)
    assert same == before


def test_each_concern_names_its_command(agent: Agent) -> None:
    status = deploy.canister_status(agent, deploy.create_node(agent))
    poor = replace(status, freezing_threshold_s=DAY_S, reserved_cycles_limit=5 * TC)
    found = settings.concerns(poor, 29, "main")
    assert [line.partition(": ")[2] for line in found] == [
        "run `datanode node top-up main`",
        "`datanode node settings main --freezing-days 90`",
        "`datanode node settings main --reserved-cycles-limit none`",
    ]
    assert settings.concerns(status, 30, "main") == []


def test_days_last_until_the_balance_is_the_freezing_reserve(agent: Agent) -> None:
    status = deploy.canister_status(agent, deploy.create_node(agent))
    made = replace(
        status,
        cycles=90 * TC,
        reserved_cycles=10 * TC,
        burn_per_day_cycles=TC,
        freezing_threshold_s=30 * DAY_S,
    )
    assert made.days == 70
    assert settings.days_until_frozen(made, None) == 70
    assert replace(made, cycles=20 * TC).days == 0


def test_controllers_are_added_and_removed_and_never_all() -> None:
    assert settings.changed_controllers([ME], add=[OTHER, ME], remove=[]) == (ME, OTHER)
    assert settings.changed_controllers([ME, OTHER], add=[], remove=[ME]) == (OTHER,)
    for add, remove in (
        ([], [ME]),
        ([], [OTHER]),
        ([Principal(bytes([n])) for n in range(10)], []),
    ):
        with pytest.raises(UsageError):
            settings.changed_controllers([ME], add=add, remove=remove)


def test_growth_on_a_full_subnet_is_told_with_the_command(tmp_path: Path, agent: Agent) -> None:
    with LocalNetwork(tmp_path / "full") as network:
        network.change_subnet(used_gib=1_900)
        with Agent(network_of(network), agent.identity) as here:
            canister = deploy.create_node(here)
            reserved = deploy.canister_status(here, canister).reserved_cycles
            assert reserved > 0
            settings.apply(here, canister, SettingsChange(reserved_cycles_limit=reserved))
            node = CanisterNode(here, canister)
            lease = node.begin_upload("llama", frames_count=1, frame_bytes=1).id
            with pytest.raises(NodeFullError) as caught:
                fill(node, lease, 200)
            assert "node settings NODE --reserved-cycles-limit" in caught.value.hint
            settings.apply(here, canister, SettingsChange(reserved_cycles_limit=NO_LIMIT_CYCLES))
            fill(node, lease, 20)


def fill(node: CanisterNode, lease: int, count: int) -> None:
    for seed in range(count):
        outcome = node.send(node.prepare(lease, [frame.seal_raw(some_bytes(1_900_000, seed))]))
        if isinstance(outcome, Refused):
            raise outcome.error


def test_drained_node_is_told_as_out_of_cycles(network: LocalNetwork, agent: Agent) -> None:
    canister = deploy.create_node(agent)
    network.faults.drain(canister, DrainLevel.ZERO)
    with pytest.raises(CyclesError) as caught:
        CanisterNode(agent, canister).models()
    assert "cycles" in caught.value.what
