"""One network over HTTP for all faults, without a fault at the beginning of each test."""

from collections.abc import Iterator

import pytest

from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.principal import Principal
from tests.datanode.localnet.gateway_client import Client


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with LocalNetwork(tmp_path_factory.mktemp("faults") / "localnet") as network:
        yield network


@pytest.fixture
def net(running: LocalNetwork) -> Iterator[LocalNetwork]:
    yield running
    running.faults.clear()


@pytest.fixture
def client(net: LocalNetwork, alice: Identity) -> Iterator[Client]:
    with Client(Network(url=net.url, root_key=net.root_key, name="test"), alice) as client:
        yield client


@pytest.fixture
def canister(client: Client) -> Principal:
    """A counter that only this test knows."""
    return client.counter()
