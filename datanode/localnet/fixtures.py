"""Fixtures of pytest: an embedded network, fresh for a test or shared by all of a run.

Where the package is installed pytest finds them by itself::

    def test_a_counter_counts(localnet):
        counter = localnet.create_canister(Path("counter.wat"))

| fixture | network |
| --- | --- |
| `localnet` | a new one, for one test |
| `shared_localnet` | one for the whole run; the canisters of tests before are still there |

Override the fixture `localnet_metering` to choose another metering version than the newest.

What is heavy is imported when a test asks for a network, so a run that asks for none pays nothing.
"""

from typing import TYPE_CHECKING

import pytest

from datanode.errors import LocalNetworkError
from datanode.localnet.extra import require_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datanode.localnet.api import LocalNetwork


def _network(factory: pytest.TempPathFactory, metering: str | None) -> "Iterator[LocalNetwork]":
    try:
        require_extra()
    except LocalNetworkError as error:
        pytest.fail(f"{error.what}. {error.hint}", pytrace=False)
    from datanode.localnet.api import LocalNetwork  # noqa: PLC0415 - see above

    folder = factory.mktemp("localnet")
    with LocalNetwork(folder, follow=True, metering=metering) as network:
        yield network


@pytest.fixture(scope="session")
def localnet_metering() -> str | None:
    """Return the metering version of the networks; None stands for the newest."""
    return None


@pytest.fixture
def localnet(
    tmp_path_factory: pytest.TempPathFactory, localnet_metering: str | None
) -> "Iterator[LocalNetwork]":
    """Run an embedded network of this test's own."""
    yield from _network(tmp_path_factory, localnet_metering)


@pytest.fixture(scope="session")
def shared_localnet(
    tmp_path_factory: pytest.TempPathFactory, localnet_metering: str | None
) -> "Iterator[LocalNetwork]":
    """Run one embedded network for all tests that do not mind each other."""
    yield from _network(tmp_path_factory, localnet_metering)
