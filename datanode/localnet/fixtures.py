"""Fixtures of pytest: an embedded network, fresh for a test or shared by all of a run.

Where the package is installed pytest finds them by itself::

    def test_a_counter_counts(localnet):
        counter = localnet.create_canister(Path("counter.wat"))

| fixture | network |
| --- | --- |
| `localnet` | a new one, for one test |
| `shared_localnet` | one for the whole run; the canisters of tests before are still there |

What is heavy is imported when a test asks for a network, so a run that asks for none pays nothing.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from datanode.localnet.api import LocalNetwork


def _network(factory: pytest.TempPathFactory) -> "Iterator[LocalNetwork]":
    from datanode.localnet.api import LocalNetwork  # noqa: PLC0415 - see above

    with LocalNetwork(factory.mktemp("localnet"), follow=True) as network:
        yield network


@pytest.fixture
def localnet(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[LocalNetwork]":
    """Run an embedded network of this test's own."""
    yield from _network(tmp_path_factory)


@pytest.fixture(scope="session")
def shared_localnet(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[LocalNetwork]":
    """Run one embedded network for all tests that do not mind each other."""
    yield from _network(tmp_path_factory)
