"""A network without its HTTP server, and two people."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode.agent import identity
from datanode.agent.identity import Identity
from tests.fakes.gateway import Gateway


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path / "localnet")
    yield gateway
    gateway.close()


@pytest.fixture(scope="session")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity.generate(tmp_path_factory.mktemp("alice") / "identity.pem")


@pytest.fixture(scope="session")
def bob(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity.generate(tmp_path_factory.mktemp("bob") / "identity.pem")
