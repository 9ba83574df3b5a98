"""Instructions of the storage canister's calls repeat exactly."""

from pathlib import Path

import pytest

from datanode.metering import metering_names
from tests.counts import calls, figures


@pytest.mark.nightly
@pytest.mark.parametrize("metering", sorted(metering_names()))
def test_calls_take_exactly_what_they_took(metering: str, tmp_path: Path) -> None:
    golden = figures.golden()[figures.module_digest()][metering]
    assert calls.of_calls(tmp_path, metering) == golden["calls"]
