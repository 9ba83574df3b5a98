"""Shared fixtures of the tests of inference canisters."""

from collections.abc import Iterator

import pytest

from datanode.agent.client import Agent
from datanode.inference.client import InferenceNode
from datanode.localnet.api import LocalNetwork
from tests.inference import tiny_node
from tests.inference.fake_member import Driven, driven_by_fake
from tests.inference.fleet_stage import Fleet, FleetShape, running_fleet
from tests.inference.tiny_node import World


@pytest.fixture(scope="session")
def world(network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A promoted node; tests bring the model back that they need (`tiny_node.loaded`)."""
    return tiny_node.made(network, tmp_path_factory.mktemp("inference"))


@pytest.fixture
def agent(world: World) -> Iterator[Agent]:
    """The owner's."""
    with world.agent() as opened:
        yield opened


@pytest.fixture
def node(world: World, agent: Agent) -> InferenceNode:
    """The node's `model_*` methods, for its owner."""
    return InferenceNode(agent, world.canister)


@pytest.fixture(scope="module")
def made(
    request: pytest.FixtureRequest, network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """The fleet of a module's tests."""
    shape: FleetShape = request.module.FLEET
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(network, folder, shape.write(folder / "tiny"), shape.members_count) as fleet:
        yield fleet


@pytest.fixture
def fleet(made: Fleet) -> Iterator[Fleet]:
    """The same, loaded, and without the faults of other tests."""
    made.load()
    yield made
    made.network.faults.clear()


@pytest.fixture(scope="session")
def driven_once(
    network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driven]:
    """A driver whose member answers as it is told to."""
    with driven_by_fake(network, tmp_path_factory.mktemp("driven")) as made:
        yield made


@pytest.fixture
def driven(driven_once: Driven) -> Driven:
    """The same, loaded, whatever an earlier test did."""
    list(driven_once.driver.load())
    return driven_once
