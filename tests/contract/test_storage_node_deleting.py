"""Contract of storage nodes: deletion and garbage collection."""

import pytest

from datanode.errors import NotFoundError
from datanode.node.port import PutStatus
from tests.contract.conftest import World
from tests.fakes.checkpoints import put, sealed, some_bytes

FILES = {"a/model.bin": some_bytes(20_000), "config.json": b"{}", "empty": b""}


def test_a_deleted_version_is_gone_and_its_number_with_it(world: World) -> None:
    sealed(world.node, "llama", FILES)
    sealed(world.node, "llama", {"a": b"two"})
    world.node.delete_model("llama", 1)
    assert [v.version for v in world.node.model("llama").versions] == [2]
    with pytest.raises(NotFoundError):
        world.node.witness("llama", 1)
    world.node.delete_model("llama")
    with pytest.raises(NotFoundError):
        world.node.model("llama")
    sealed(world.node, "llama", {"a": b"three"})
    assert world.node.model("llama").latest == 3


def test_deleting_what_is_not_there_is_not_found(world: World) -> None:
    with pytest.raises(NotFoundError):
        world.node.delete_model("llama")
    sealed(world.node, "llama", FILES)
    with pytest.raises(NotFoundError):
        world.node.delete_model("llama", 2)


def collect(world: World, *, force: bool = False) -> int:
    freed, cursor = 0, b""
    while True:
        step = world.node.collect_garbage(cursor, force=force)
        freed += step.freed_count
        if step.next_cursor is None:
            return freed
        cursor = step.next_cursor


def test_garbage_lives_for_fourteen_days(aging_world: World) -> None:
    model = sealed(aging_world.node, "llama", FILES)
    sealed(aging_world.node, "phi", {"a": FILES["a/model.bin"][:5_000]})
    assert collect(aging_world, force=True) == 0
    aging_world.node.delete_model("llama")
    assert collect(aging_world) == 0
    aging_world.advance(13 * 86_400)
    assert collect(aging_world) == 0
    aging_world.advance(2 * 86_400)
    assert collect(aging_world) == len(model.frames) - 1
    phi = aging_world.node.model("phi").versions[0].manifest
    assert isinstance(aging_world.node.get_frames("phi", phi, [0])[0], bytes)


def test_a_controller_may_force_the_collection_and_a_lease_protects(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    lease = world.node.begin_upload("phi", frames_count=1, frame_bytes=1).id
    pinned = model.records[0].frame
    assert world.node.pin_frames(lease, [pinned]) == [True]
    world.node.delete_model("llama")
    assert collect(world, force=True) == len(model.frames) - 1
    assert world.node.missing_frames(lease, [pinned]) == [False]
    assert put(world.node, lease, [model.frames[pinned]]) == [PutStatus.ALREADY_STORED]
