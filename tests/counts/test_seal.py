"""Instructions of all steps of a seal, under each metering version."""

from pathlib import Path

import pytest

from datanode.agent import identity as identities
from datanode.localnet.state.subnet import SubnetChoice
from datanode.metering import metering_names
from tests.fakes.checkpoints import checkpoint, some_bytes
from tests.fakes.gateway import Gateway
from tests.fakes.storage_gateway import StorageGateway

FRAMES = 8_000
CHUNK_BYTES = 96
MOST_INSTRUCTIONS = 1_500_000_000

pytestmark = pytest.mark.nightly
"""A minute of storing frames under each metering version."""


@pytest.mark.parametrize("metering", sorted(metering_names()))
def test_a_seal_of_8000_frames_stays_below_its_bound(tmp_path: Path, metering: str) -> None:
    owner = identities.generate(tmp_path / "owner.pem")
    net = Gateway(tmp_path / "network", subnet=SubnetChoice(metering=metering))
    try:
        node = StorageGateway.create(net, owner)
        files = {"a.bin": some_bytes(FRAMES * CHUNK_BYTES)}
        model = checkpoint(node, files, chunk_bytes=CHUNK_BYTES)
        assert len(model.records) == FRAMES
        lease = node.begin(owner, "many")
        node.put(owner, lease, list(model.frames.values()))
        last = node.last()
        node.seal(owner, lease, "many", model)
        steps = [e.instructions for e in node.entries(after=last) if e.method == "seal_model"]
        contents = [record.content for record in model.records]
        found = node.cost(owner, "find_contents", contents)
    finally:
        net.close()
    print(f"{metering}: seal {sum(steps):,} in {len(steps)} steps; find_contents {found:,}")
    assert sum(steps) <= MOST_INSTRUCTIONS
