"""Exact costs of storing known frames: instructions, bytes, cycles."""

from pathlib import Path

import pytest

from datanode.limits import PUT_INSTRUCTIONS_PER_BYTE
from datanode.metering import metering_names
from tests.bench.rig import Rig
from tests.counts import figures


@pytest.fixture(scope="module", params=sorted(metering_names()))
def metering(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def held(metering: str) -> figures.Counts:
    """The committed counts of the module that is there."""
    found = figures.golden().get(figures.module_digest())
    if found is None:
        pytest.fail("the module was rebuilt: run `python -m tests.counts.make`, read the diff")
    return found[metering]


def test_puts_of_known_frames_take_exactly_what_they_took(rig: Rig, held: figures.Counts) -> None:
    assert figures.of_puts(rig) == held["puts"]


@pytest.mark.parametrize("frames_count", [1, 2, 4, 30])
def test_a_stored_byte_takes_at_most_the_bound_digest_and_index_included(
    held: figures.Counts, frames_count: int
) -> None:
    put = held["puts"][str(frames_count)]
    assert put["instructions"] <= PUT_INSTRUCTIONS_PER_BYTE * put["stored_bytes"]


def test_a_real_model_takes_exactly_the_messages_bytes_and_cycles_it_took(
    rig: Rig, held: figures.Counts, tmp_path: Path
) -> None:
    found, wanted = figures.of_minilm(rig, tmp_path), held["minilm"]
    assert found["frames"] == wanted["frames"]
    assert found["instructions"] == pytest.approx(
        wanted["instructions"], rel=figures.ORDER_TOLERANCE
    )
    assert found["instructions"] <= PUT_INSTRUCTIONS_PER_BYTE * found["envelope_bytes"]
    assert found["cycles"] <= found["estimated_cycles"]
    # Another zstandard writes other streams, a little longer or shorter.
    exact = figures.zstd_version() == held["zstd"]
    for name in ("messages", "envelope_bytes", "ingress_cycles", "estimated_cycles"):
        tolerance = 0.0 if exact else figures.ZSTD_TOLERANCE * wanted[name]
        assert abs(found[name] - wanted[name]) <= tolerance, name
