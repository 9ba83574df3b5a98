"""Replicated answers: what every storage node certifies, whatever one replica says."""

import pytest

from datanode import frame
from datanode.digest import frame_digest
from datanode.errors import LeaseLostError, NotFoundError
from tests.contract.conftest import MemoryWorld, World
from tests.fakes.checkpoints import put, sealed

FRAME = frame.seal_raw(b"some weights")
DIGEST = frame_digest(FRAME)


@pytest.mark.parametrize("replicated", [False, True])
def test_both_forms_list_the_same(world: World, *, replicated: bool) -> None:
    model = sealed(world.node, "llama")
    lease = world.node.begin_upload("phi", frames_count=1, frame_bytes=100).id
    put(world.node, lease, [FRAME])
    (listed,) = world.node.models(replicated=replicated)
    assert (listed.name, listed.versions[0].manifest) == ("llama", model.manifest)
    assert world.node.model("llama", replicated=replicated) == listed
    held = [record.frame for record in world.node.lease_frames(lease, replicated=replicated)]
    assert held == [DIGEST]
    assert world.node.missing_frames(lease, [DIGEST], replicated=replicated) == [False]


def test_replicated_errors_are_those_of_queries(world: World) -> None:
    with pytest.raises(NotFoundError):
        world.node.model("llama", replicated=True)
    with pytest.raises(LeaseLostError):
        list(world.node.lease_frames(7, replicated=True))


def test_a_lagging_replica_misleads_queries_and_no_replicated_answer() -> None:
    world = MemoryWorld()
    lease = world.node.begin_upload("phi", frames_count=1, frame_bytes=100).id
    world.memory.world.lagging = world.memory.world.snapshot()
    put(world.node, lease, [FRAME])
    model = sealed(world.node, "llama")
    assert world.node.models() == []
    assert world.node.missing_frames(lease, [DIGEST]) == [True]
    assert list(world.node.lease_frames(lease)) == []
    assert world.node.missing_frames(lease, [DIGEST], replicated=True) == [False]
    assert len(list(world.node.lease_frames(lease, replicated=True))) == 1
    (listed,) = world.node.models(replicated=True)
    assert world.node.model("llama", replicated=True) == listed
    assert listed.versions[0].manifest == model.manifest
    assert world.memory.world.replicated == 4
