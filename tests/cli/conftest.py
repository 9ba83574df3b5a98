"""One network and one node for all tests of the command line that do not break them."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.principal import Principal
from tests.cli import canisters
from tests.cli.stage import MakeUser, User


@pytest.fixture(scope="session")
def owner_pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("owner") / "owner.pem"
    identities.generate(path)
    return path


@pytest.fixture(scope="session")
def canister(network: LocalNetwork, owner_pem: Path) -> Principal:
    with closing(_owner(network, owner_pem)) as agent:
        return deploy.create_node(agent)


def _owner(network: LocalNetwork, pem: Path) -> Agent:
    where = Network(url=network.url, root_key=network.root_key, name="local")
    return Agent(where, identities.load(pem))


@pytest.fixture
def user(  # noqa: PLR0917 - pytest's way of asking
    network: LocalNetwork,
    canister: Principal,
    owner_pem: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[User]:
    """The controller of the shared node, in a fresh home.

    The node is wiped after each test: version numbers and freed bytes outlive a deletion.
    """
    made = User(tmp_path / "home", network, canister, capsys, monkeypatch)
    made.pem.write_bytes(owner_pem.read_bytes())
    made.pem.chmod(0o600)
    yield made
    with closing(_owner(network, owner_pem)) as agent:
        canisters.wipe(agent, canister)


@pytest.fixture
def stranger(user: User, tmp_path: Path) -> MakeUser:
    """Makes users with identities of their own, whom the node does not know."""
    numbers = itertools.count()

    def make(name: str = "") -> User:
        home = tmp_path / (name or f"stranger{next(numbers)}")
        made = User(home, user.net, user.canister, user.capture, user.patch)
        made.make_identity()
        return made

    return make


@pytest.fixture
def mortal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[User]:
    """A user with a network of their own, which may die."""
    with LocalNetwork(tmp_path / "net") as net:
        user = User(tmp_path / "home", net, Principal(b"\x04"), capsys, monkeypatch)
        (user.config / "nodes.json").unlink()
        made = user.ok("node", "create", "main")
        user.canister = Principal.parse(made["canister"])
        monkeypatch.setattr("datanode.command_context.WaitPolicy.__call__", lambda *_: None)
        yield user
