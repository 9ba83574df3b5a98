"""A fresh network for each file: what a put takes depends on what the canister holds already."""

from collections.abc import Iterator

import pytest

from datanode.metering import DEFAULT_METERING
from tests.bench.rig import Rig, rigged


@pytest.fixture(scope="module")
def metering() -> str:
    return DEFAULT_METERING


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, metering: str) -> Iterator[Rig]:
    with rigged(tmp_path_factory.mktemp("counts"), metering) as running:
        yield running
