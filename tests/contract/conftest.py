"""The two nodes that the contract is tested on: one in memory, one that runs the real canister."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from datanode.localnet.api import LocalNetwork
from datanode.node.port import StorageNode
from datanode.principal import Principal
from tests.fakes.canister_world import CanisterWorld
from tests.fakes.memory_node import MemoryNode


class World(Protocol):
    """A node, the people who use it, and what a test can do to it.

    Attributes:
        node: As its controller sees it.
        root_key: What a reader of it trusts.
        clock_ns: Its time.
    """

    node: StorageNode
    root_key: bytes
    clock_ns: Callable[[], int]

    def caller(self, name: str) -> StorageNode:
        """See the node as somebody else."""
        ...

    def who(self, name: str) -> Principal:
        """Name somebody else."""
        ...

    def corrupt(self, frame: bytes) -> None:
        """Flip a bit of a stored frame behind the node's back."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        ...


class MemoryWorld:
    """A node in memory."""

    def __init__(self) -> None:
        self.memory = MemoryNode()
        self.node: StorageNode = self.memory
        self.root_key = self.memory.root_key
        self.clock_ns: Callable[[], int] = self.memory.world.clock

    def caller(self, name: str) -> StorageNode:
        return self.memory.as_caller(self.who(name))

    def who(self, name: str) -> Principal:
        return Principal.self_authenticating(name.encode())

    def corrupt(self, frame: bytes) -> None:
        digest = next(d for d, s in self.memory.store.frames.items() if s.data == frame)
        self.memory.world.corrupt(digest)

    def advance(self, seconds: float) -> None:
        self.memory.world.clock.advance(seconds)


@pytest.fixture(params=["memory", "canister"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    network = request.getfixturevalue("network")
    folder = request.getfixturevalue("tmp_path")
    with contextlib.closing(CanisterWorld(network, folder)) as world:
        yield world


@pytest.fixture(params=["memory", "canister"])
def aging_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world of its own, where hours and days may pass."""
    if request.param == "memory":
        yield MemoryWorld()
        return
    with (
        LocalNetwork(tmp_path / "network") as network,
        contextlib.closing(CanisterWorld(network, tmp_path, may_age=True)) as world,
    ):
        yield world
