"""Suite-wide settings."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from datanode.localnet.api import LocalNetwork

# Without an installed package too; where it is installed, pytest has them already.
pytest_plugins = ["datanode.localnet.fixtures"]

settings.register_profile(
    "default", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "nightly", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


class SharedNetwork(LocalNetwork):
    """A network whose time no test may change: grants and leases of others would end."""

    def advance(self, *, seconds: int) -> None:
        """Refuse."""
        raise AssertionError(f"{seconds} s: let time pass on a network of the test's own")


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """Run one embedded network for all tests that do not stop it, or change its time."""
    with SharedNetwork(tmp_path_factory.mktemp("network")) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first, so that no worker is left with one when the others are done."""
    items.sort(key=lambda item: "faults" not in item.path.parts)
