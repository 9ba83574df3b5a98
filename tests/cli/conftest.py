"""One network and one node for all tests of the command line that do not break them."""

import itertools
from pathlib import Path

import pytest

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.principal import Principal
from tests.cli.stage import MakeUser, User


@pytest.fixture(scope="session")
def owner_pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("owner") / "owner.pem"
    identities.generate(path)
    return path


@pytest.fixture(scope="session")
def canister(network: LocalNetwork, owner_pem: Path) -> Principal:
    where = Network(url=network.url, root_key=network.root_key, name="local")
    agent = Agent(where, identities.load(owner_pem))
    try:
        return deploy.create_node(agent)
    finally:
        agent.close()


@pytest.fixture
def user(  # noqa: PLR0917 - pytest's way of asking
    network: LocalNetwork,
    canister: Principal,
    owner_pem: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> User:
    """The controller of the shared node, in a fresh home."""
    made = User(tmp_path / "home", network, canister, capsys, monkeypatch)
    made.pem.write_bytes(owner_pem.read_bytes())
    made.pem.chmod(0o600)
    return made


@pytest.fixture
def stranger(user: User, tmp_path: Path) -> MakeUser:
    """Makes users with identities of their own, whom the node does not know."""
    numbers = itertools.count()

    def make(name: str = "") -> User:
        home = tmp_path / (name or f"stranger{next(numbers)}")
        made = User(home, user.net, user.canister, user.capture, user.patch)
        assert made.principal
        return made

    return make
