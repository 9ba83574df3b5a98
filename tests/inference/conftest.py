"""Shared fixtures of the tests of inference canisters."""

from collections.abc import Iterator

import pytest

from datanode.agent.client import Agent
from datanode.inference.client import InferenceNode
from datanode.localnet.api import LocalNetwork
from tests.inference import tiny_node
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
