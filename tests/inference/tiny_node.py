"""A promoted node that holds and runs a tiny model."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

import uploader
from datanode.agent import identity as identities
from datanode.agent.candid import encode
from datanode.agent.client import Agent
from datanode.inference.client import InferenceNode
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, management
from datanode.principal import Principal
from tests.agents import agent_of
from tests.inference import tiny_checkpoint

MODEL = "tiny"


@dataclass(frozen=True, slots=True)
class World:
    """A promoted node that holds a tiny model, and who controls it."""

    network: LocalNetwork
    canister: Principal
    owner: Path

    def agent(self, pem: Path | None = None) -> Agent:
        return agent_of(self.network, pem or self.owner)

    def model_messages(self) -> int:
        """Count executed updates of the model."""
        entries = self.network.canister(self.canister).ledger()
        return sum(entry.method.startswith("model_") for entry in entries)

    def upload(self, folder: Path, model: str, home: Path) -> None:
        uploader.upload(
            folder,
            model,
            node=self.canister.text,
            network=self.network.url,
            identity=str(self.owner),
            state=f"sqlite:///{home / 'state.db'}",
        )


def made(network: LocalNetwork, folder: Path) -> World:
    """Create a node, upload the model to it, promote and load it."""
    pem = folder / "owner.pem"
    identities.generate(pem)
    with closing(agent_of(network, pem)) as agent:
        canister = deploy.create_node(agent)
        world = World(network, canister, pem)
        patch = pytest.MonkeyPatch()
        with patch.context() as patched:
            patched.setenv("HOME", str(folder))
            world.upload(tiny_checkpoint.write(folder / "tiny"), MODEL, folder)
        deploy.promote_node(agent, canister)
        node = InferenceNode(agent, canister)
        node.configure(MODEL)
        assert list(node.load())[-1].done
    return world


def loaded(node: InferenceNode, *, exact: bool = False) -> None:
    """Bring the model back, whatever an earlier test did."""
    status = node.status()
    if (status.model, status.exact) != (MODEL, exact) or not status.loaded:
        node.configure(MODEL, exact=exact)
    list(node.load())


def upgrade_at_once(agent: Agent, canister: Principal) -> None:
    """Replace the module as other tools do: without stopping the canister."""
    module = deploy.inference_wasm()
    management.install(agent, canister, module, encode((), ()), upgrade=True)
