"""A fresh network for each file: what a put takes depends on what the canister holds already."""

from collections.abc import Iterator

import pytest

from tests.bench.rig import Rig, rigged


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rigged(tmp_path_factory.mktemp("counts")) as running:
        yield running
