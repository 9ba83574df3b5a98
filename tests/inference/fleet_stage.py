"""A fleet of inference canisters on an embedded network, from a checkpoint to loaded parts.

Tests of a module share a fleet: the module says which one (`FLEET`), and takes the fixture `fleet`.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import uploader
from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.command_context import open_place
from datanode.inference.client import InferenceNode
from datanode.inference.fleet import RunningPart, load_fleet, running_parts
from datanode.inference.questions import Generated
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, registry
from datanode.principal import Principal
from tests.agents import agent_of

MODEL = "model"
NAME = "fleet"
HOP = "model_hop"


@dataclass(frozen=True, slots=True)
class FleetShape:
    """Checkpoint and size of the fleet of a test module.

    Attributes:
        write: Writes the checkpoint.
        members_count: Number of canisters.
    """

    write: Callable[[Path], Path]
    members_count: int


@dataclass(frozen=True, slots=True)
class Fleet:
    """Promoted members that hold and run one model.

    Attributes:
        network: Where they are.
        agent: Reaches them as their controller.
        pem: Identity of that.
        parts: What each runs, the driver first.
    """

    network: LocalNetwork
    agent: Agent
    pem: Path
    parts: tuple[RunningPart, ...]

    @property
    def driver(self) -> InferenceNode:
        """The member that speaks."""
        return self.node(self.parts[0].node)

    @property
    def block(self) -> Principal:
        """The member with the next blocks."""
        return self.parts[1].node

    def node(self, principal: Principal) -> InferenceNode:
        """Open a member."""
        return InferenceNode(self.agent, principal)

    def load(self, *, exact: bool = False) -> None:
        """Configure and load what is not."""
        list(load_fleet(self.parts, self.node, exact=exact))

    def reload(self, member: int) -> None:
        """Have a member forget what it holds, and load it again."""
        part = self.parts[member]
        self.node(part.node).configure(
            part.model, version=part.version, part=part.part, role=part.role
        )
        self.load()

    def hops(self, member: int = 1) -> int:
        """Count hops that a member has executed."""
        entries = self.network.canister(self.parts[member].node).ledger()
        return sum(entry.method == HOP for entry in entries)


def said(parts: list[Generated]) -> str:
    """Return the text of some messages."""
    return "".join(part.text for part in parts)


@contextmanager
def promoted(
    network: LocalNetwork, folder: Path, checkpoint: Path, members_count: int
) -> Iterator[tuple[Agent, list[Principal]]]:
    """Upload a checkpoint to new members of a fleet, or to one, and promote them."""
    pem = folder / "owner.pem"
    identities.generate(pem)
    patch = pytest.MonkeyPatch()
    with closing(agent_of(network, pem)) as agent, patch.context() as patched:
        patched.setenv("HOME", str(folder))
        patched.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        members = [deploy.create_node(agent) for _ in range(members_count)]
        registry.add(folder / "config/datanode", NAME, *members, network=network.url)
        uploader.upload(
            checkpoint,
            MODEL,
            node=NAME,
            network=network.url,
            identity=str(pem),
            state=f"sqlite:///{folder / 'state.db'}",
        )
        for member in members:
            deploy.promote_node(agent, member)
        yield agent, members


@contextmanager
def running_fleet(
    network: LocalNetwork, folder: Path, checkpoint: Path, members_count: int
) -> Iterator[Fleet]:
    """Upload a checkpoint to a new fleet, promote its members and load them."""
    pem = folder / "owner.pem"
    with (
        promoted(network, folder, checkpoint, members_count) as (agent, _),
        open_place(lambda _: None, network=network.url, identity=str(pem), node=NAME) as context,
    ):
        parts = running_parts(context.reader(context.coordinator()), context.node, MODEL)
        assert parts is not None
        fleet = Fleet(network, agent, pem, parts)
        fleet.load()
        yield fleet
