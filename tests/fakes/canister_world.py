"""The real canister on the embedded network: one canister, and the people who use it."""

import time
from pathlib import Path

from datanode.agent import identity
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.node.port import StorageNode
from datanode.principal import Principal


class CanisterWorld:
    """A fresh storage canister; `caller` and `who` name people, whose keys lie in a folder.

    Time is waited for, unless the network is this world's own and `may_age`: then it is moved.
    """

    def __init__(self, network: LocalNetwork, folder: Path, *, may_age: bool = False) -> None:
        self.may_age = may_age
        self.network = network
        self.folder = folder
        self._agents: dict[str, Agent] = {}
        controller = self.agent("controller")
        try:
            self.canister = deploy.create_node(controller)
        except BaseException:
            controller.close()
            raise
        self.node: StorageNode = CanisterNode(controller, self.canister)
        self.root_key = network.root_key
        self.clock_ns = time.time_ns

    def agent(self, name: str) -> Agent:
        if name not in self._agents:
            path = self.folder / f"{name}.pem"
            who = identity.load(path) if path.exists() else identity.generate(path)
            self._agents[name] = Agent(network_of(self.network), who)
        return self._agents[name]

    def caller(self, name: str) -> StorageNode:
        return CanisterNode(self.agent(name), self.canister)

    def who(self, name: str) -> Principal:
        return self.agent(name).identity.principal

    def corrupt(self, frame: bytes) -> None:
        offset = self.network.find(self.canister, frame)
        assert offset is not None
        self.network.flip(self.canister, offset + len(frame) - 1, 1)

    def advance(self, seconds: float) -> None:
        if self.may_age:
            self.network.advance(seconds=round(seconds))
        else:
            time.sleep(seconds)

    def close(self) -> None:
        for agent in self._agents.values():
            agent.close()


def network_of(running: LocalNetwork) -> Network:
    return Network(url=running.url, root_key=running.root_key, name="local")
