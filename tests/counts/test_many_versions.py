"""A model with a thousand versions: what an upload with an empty state costs its node."""

from pathlib import Path

import pytest

from tests.bench.machine import cpu_of
from tests.bench.rig import Rig
from tests.fakes.checkpoints import sealed, some_bytes
from tests.uploader.session.stage import safetensors_bytes, weights

INSTRUCTIONS_A_SECOND = 2_000_000_000
"""What a subnet executes of one canister: 2e9 a round, one round a second."""
SERVER_S = 5
"""Longest that the node may work for one upload, at that speed."""


def _versions(rig: Rig, model: str, first: int, count: int) -> None:
    for number in range(first, count):
        sealed(rig.node, model, {"m.bin": some_bytes(2_000, number)}, chunk_bytes=2_000)


def _worked(rig: Rig, tmp_path: Path, model: str, seed: int) -> int:
    """Upload a new source with an empty state; returns the instructions of the node."""
    source = tmp_path / f"{seed}.safetensors"
    source.write_bytes(safetensors_bytes({f"t{at}": weights(seed + at, 400) for at in range(3)}))
    last, before_s = rig.last(), cpu_of(rig.net.pid)
    rig.upload(source, model, state=f"versions/{seed}")
    server_s = cpu_of(rig.net.pid) - before_s
    instructions = sum(entry.instructions for entry in rig.net.ledger(after=last))
    count = len(rig.node.model(model).versions) - 1
    print(f"{count} versions: {instructions:,} instructions, {server_s:.2f} s CPU")
    return instructions


@pytest.mark.nightly
def test_the_work_of_a_node_is_linear_in_the_versions_of_a_model(rig: Rig, tmp_path: Path) -> None:
    worked: list[int] = []
    for step, count in enumerate((10, 500, 1_000)):
        _versions(
            rig, "versioned", 0 if not step else len(rig.node.model("versioned").versions), count
        )
        worked.append(_worked(rig, tmp_path, "versioned", 50_000 + 10 * step))
    none, half, whole = worked
    assert whole - none <= 2.2 * (half - none)
    assert whole <= SERVER_S * INSTRUCTIONS_A_SECOND
