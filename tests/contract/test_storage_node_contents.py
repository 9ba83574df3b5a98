"""Every storage node finds the frames of contents that the caller has sealed, and no others."""

import pytest

from datanode.digest import ContentDigest, FrameDigest
from datanode.errors import NodeRejectedError, UnauthorizedError
from datanode.node.port import Grant, Role, StorageNode, Visibility
from tests.contract.conftest import World
from tests.fakes.checkpoints import Checkpoint, checkpoint, put, sealed, some_bytes

FILES = {"a/model.bin": some_bytes(20_000), "config.json": b"{}"}
UNKNOWN = ContentDigest(bytes(32))


def contents(model: Checkpoint) -> list[ContentDigest]:
    return [record.content for record in model.records]


def frames(node: StorageNode, wanted: list[ContentDigest]) -> list[FrameDigest | None]:
    return [None if record is None else record.frame for record in node.find_contents(wanted)]


def uploader(world: World, name: str) -> StorageNode:
    world.node.grant(Grant(to=world.who(name), role=Role.UPLOADER, model=None))
    return world.caller(name)


def test_sealed_contents_are_described_in_order(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    wanted = [UNKNOWN, *reversed(contents(model))]
    for replicated in (False, True):
        found = world.node.find_contents(wanted, replicated=replicated)
        assert found == [None, *reversed(model.records)]
    assert world.node.find_contents([]) == []


def test_contents_are_found_once_they_are_sealed(world: World) -> None:
    model = checkpoint(world.node, FILES)
    lease = world.node.begin_upload("llama", frames_count=9, frame_bytes=30_000).id
    put(world.node, lease, list(model.frames.values()))
    assert frames(world.node, contents(model)) == [None] * len(model.records)
    world.node.seal_model(lease, "llama", manifest=model.manifest, placement=model.placement)
    assert None not in frames(world.node, contents(model))


def test_contents_of_other_sealers_are_not_found(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    world.node.set_visibility("llama", Visibility.PUBLIC)
    bob = uploader(world, "bob")
    assert frames(bob, contents(model)) == [None] * len(model.records)
    sealed(bob, "bobs", {"a": FILES["a/model.bin"]})
    found = frames(bob, contents(model))
    assert found[:-1] == [record.frame for record in model.records[:-1]]
    assert found[-1] is None


def test_strangers_are_refused(world: World) -> None:
    sealed(world.node, "llama", FILES)
    with pytest.raises(UnauthorizedError):
        world.caller("stranger").find_contents([UNKNOWN])


def test_contents_of_a_model_that_the_sealer_may_no_longer_read_are_not_found(
    world: World,
) -> None:
    bob = uploader(world, "bob")
    model = sealed(bob, "bobs", FILES)
    bob.transfer_model("bobs", world.who("carol"))
    assert frames(bob, contents(model)) == [None] * len(model.records)
    world.node.grant(Grant(to=world.who("bob"), role=Role.READER, model="bobs"))
    assert None not in frames(bob, contents(model))


def test_contents_of_deleted_versions_are_not_found(world: World) -> None:
    first = sealed(world.node, "llama", FILES)
    second = sealed(world.node, "llama", {"a": FILES["config.json"]})
    world.node.delete_model("llama", 1)
    found = frames(world.node, contents(first))
    assert found == [*[None] * (len(first.records) - 1), second.records[0].frame]
    world.node.delete_model("llama")
    assert frames(world.node, contents(first)) == [None] * len(first.records)


def test_damaged_frames_are_not_found(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    victim = model.records[1]
    world.corrupt(model.frames[victim.frame])
    world.node.scrub(b"", 10_000_000)
    found = frames(world.node, contents(model))
    assert found.index(None) == 1
    assert found.count(None) == 1


def test_a_digest_that_is_named_twice_is_refused(world: World) -> None:
    with pytest.raises(NodeRejectedError):
        world.node.find_contents([UNKNOWN, UNKNOWN])
