"""The agent of an identity file, on an embedded network."""

from pathlib import Path

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork


def agent_of(network: LocalNetwork, pem: Path) -> Agent:
    """Open an agent; the caller closes it."""
    where = Network(url=network.url, root_key=network.root_key, name="local")
    return Agent(where, identities.load(pem))
