"""Contract of storage nodes: roles, and the privacy of private models."""

from collections.abc import Callable

import pytest

from datanode.errors import (
    ConflictError,
    DataNodeError,
    NodeRejectedError,
    NotFoundError,
    QuotaError,
    UnauthorizedError,
)
from datanode.node.port import (
    Grant,
    ManifestPart,
    PutStatus,
    Refused,
    Role,
    Settled,
    StorageNode,
    Visibility,
)
from tests.contract.conftest import World
from tests.fakes.checkpoints import Checkpoint, checkpoint, put, sealed, some_bytes

FILES = {"model.bin": some_bytes(12_000)}


def give(
    world: World,
    name: str,
    role: Role,
    model: str | None = None,
    *,
    expires_ns: int | None = None,
    quota_bytes: int | None = None,
) -> StorageNode:
    grant = Grant(
        to=world.who(name),
        role=role,
        model=model,
        expires_ns=expires_ns,
        quota_bytes=quota_bytes,
    )
    world.node.grant(grant)
    return world.caller(name)


def reads(node: StorageNode, name: str, model: Checkpoint) -> list[Callable[[], object]]:
    return [
        lambda: node.model(name),
        lambda: node.witness(name),
        lambda: node.witness(name, 1),
        lambda: node.get_frames(name, model.manifest, [0]),
        lambda: node.get_manifest(name, model.manifest, ManifestPart.HEAD),
        lambda: node.get_manifest(name, model.manifest, ManifestPart.PLACEMENT),
    ]


def writes(node: StorageNode, name: str) -> list[Callable[[], object]]:
    me = node.principal
    return [
        lambda: node.begin_upload(name, frames_count=1, frame_bytes=1),
        lambda: node.delete_model(name),
        lambda: node.delete_model(name, 1),
        lambda: node.set_visibility(name, Visibility.PUBLIC),
        lambda: node.transfer_model(name, me),
        lambda: node.grant(Grant(to=me, role=Role.READER, model=name)),
        lambda: node.revoke(me, Role.READER, name),
        lambda: node.grants(name),
    ]


def test_a_private_model_looks_to_a_stranger_like_one_that_is_not_there(world: World) -> None:
    model = sealed(world.node, "secret", FILES)
    stranger = world.caller("stranger")
    assert stranger.models() == []
    for there, absent in zip(
        reads(stranger, "secret", model), reads(stranger, "absent", model), strict=True
    ):
        with pytest.raises(NotFoundError) as one:
            there()
        with pytest.raises(NotFoundError) as two:
            absent()
        assert one.value.what.replace("secret", "absent") == two.value.what


def test_a_stranger_can_write_nothing_and_learns_nothing_from_trying(world: World) -> None:
    sealed(world.node, "secret", FILES)
    stranger = world.caller("stranger")
    for there, absent in zip(writes(stranger, "secret"), writes(stranger, "absent"), strict=True):
        with pytest.raises(DataNodeError) as one:
            there()
        with pytest.raises(DataNodeError) as two:
            absent()
        assert type(one.value) is type(two.value)
        assert isinstance(one.value, UnauthorizedError | NotFoundError)
        assert one.value.what.replace("secret", "absent") == two.value.what
    for use in (
        lambda: stranger.scrub(b"", 1),
        lambda: stranger.collect_garbage(b"", force=True),
        lambda: stranger.grants(None),
        lambda: stranger.grant(Grant(to=world.who("stranger"), role=Role.UPLOADER, model=None)),
    ):
        with pytest.raises(UnauthorizedError):
            use()


def test_a_reader_reads_one_model(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    sealed(world.node, "phi", {"a": b"other"})
    reader = give(world, "ann", Role.READER, "llama")
    for read in reads(reader, "llama", model):
        read()
    assert [info.name for info in reader.models()] == ["llama"]
    with pytest.raises(UnauthorizedError):
        reader.begin_upload("llama", frames_count=1, frame_bytes=1)
    world.node.revoke(world.who("ann"), Role.READER, "llama")
    with pytest.raises(NotFoundError):
        reader.model("llama")


def test_a_reader_of_all_reads_all(world: World) -> None:
    sealed(world.node, "llama", FILES)
    reader = give(world, "ann", Role.READER)
    sealed(world.node, "phi", {"a": b"other"})
    assert [info.name for info in reader.models()] == ["llama", "phi"]


def test_a_grant_ends_with_its_time(world: World) -> None:
    sealed(world.node, "llama", FILES)
    reader = give(world, "ann", Role.READER, "llama", expires_ns=world.clock_ns() + 2 * 10**9)
    reader.model("llama")
    world.advance(2.1)
    with pytest.raises(NotFoundError):
        reader.model("llama")


def test_a_grant_that_would_have_ended_is_refused(world: World) -> None:
    sealed(world.node, "llama", FILES)
    with pytest.raises(NodeRejectedError):
        give(world, "ann", Role.READER, "llama", expires_ns=1)
    with pytest.raises(NotFoundError):
        world.caller("ann").model("llama")


def test_a_public_model_is_read_by_everybody_and_written_by_nobody_else(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    world.node.set_visibility("llama", Visibility.PUBLIC)
    stranger = world.caller("stranger")
    for read in reads(stranger, "llama", model):
        read()
    assert stranger.models()[0].visibility is Visibility.PUBLIC
    with pytest.raises(UnauthorizedError):
        stranger.delete_model("llama")
    world.node.set_visibility("llama", Visibility.PRIVATE)
    with pytest.raises(NotFoundError):
        stranger.model("llama")


def test_who_seals_a_name_first_owns_it(world: World) -> None:
    bob = give(world, "bob", Role.UPLOADER)
    sealed(bob, "gpt", FILES)
    assert world.node.model("gpt").owner == world.who("bob")
    bob.grant(Grant(to=world.who("ann"), role=Role.READER, model="gpt"))
    assert world.caller("ann").model("gpt").latest == 1
    assert [grant.to for grant in bob.grants("gpt")] == [world.who("ann")]
    with pytest.raises(UnauthorizedError):
        bob.grant(Grant(to=world.who("ann"), role=Role.READER, model=None))


def test_an_owner_is_no_owner_of_other_models(world: World) -> None:
    sealed(world.node, "llama", FILES)
    bob = give(world, "bob", Role.UPLOADER, "gpt")
    sealed(bob, "gpt", FILES)
    for write in writes(bob, "llama"):
        with pytest.raises((UnauthorizedError, NotFoundError)):
            write()


def test_a_model_can_be_given_away(world: World) -> None:
    bob = give(world, "bob", Role.UPLOADER, "gpt")
    sealed(bob, "gpt", FILES)
    bob.transfer_model("gpt", world.who("ann"))
    assert world.node.model("gpt").owner == world.who("ann")
    world.caller("ann").set_visibility("gpt", Visibility.PUBLIC)
    with pytest.raises(UnauthorizedError):
        bob.set_visibility("gpt", Visibility.PRIVATE)


def test_an_uploader_reads_what_it_uploads_and_does_not_own_it(world: World) -> None:
    sealed(world.node, "llama", FILES)
    bob = give(world, "bob", Role.UPLOADER, "llama")
    sealed(bob, "llama", {"model.bin": b"two"})
    assert bob.model("llama").latest == 2
    assert bob.model("llama").owner != world.who("bob")
    with pytest.raises(UnauthorizedError):
        bob.delete_model("llama", 1)


def test_grants_are_listed_replaced_and_revoked(world: World) -> None:
    give(world, "ann", Role.READER, quota_bytes=None)
    give(world, "bob", Role.UPLOADER, quota_bytes=10)
    give(world, "bob", Role.UPLOADER, quota_bytes=20, expires_ns=10**19)
    listed = {(grant.to, grant.role): grant for grant in world.node.grants(None)}
    assert set(listed) == {
        (world.who("ann"), Role.READER),
        (world.who("bob"), Role.UPLOADER),
    }
    bob = listed[world.who("bob"), Role.UPLOADER]
    assert (bob.quota_bytes, bob.expires_ns, bob.model) == (20, 10**19, None)
    world.node.revoke(world.who("bob"), Role.UPLOADER, None)
    assert [grant.to for grant in world.node.grants(None)] == [world.who("ann")]
    world.node.revoke(world.who("bob"), Role.UPLOADER, None)


def test_an_uploader_of_all_makes_new_models_and_reads_no_others(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    bob = give(world, "bob", Role.UPLOADER)
    sealed(bob, "gpt", {"a": b"mine"})
    assert [info.name for info in bob.models()] == ["gpt"]
    with pytest.raises((UnauthorizedError, NotFoundError)):
        bob.begin_upload("llama", frames_count=1, frame_bytes=1)
    lease = bob.begin_upload("new", frames_count=1, frame_bytes=1).id
    assert bob.pin_frames(lease, [model.records[0].frame]) == [False]


def test_a_quota_ends_what_an_uploader_can_put(world: World) -> None:
    model = checkpoint(world.node, FILES)
    frames = [model.frames[record.frame] for record in model.records]
    bob = give(world, "bob", Role.UPLOADER, "gpt", quota_bytes=len(frames[0]) + len(frames[1]))
    lease = bob.begin_upload("gpt", frames_count=3, frame_bytes=1).id
    assert put(bob, lease, frames) == [
        PutStatus.STORED,
        PutStatus.STORED,
        PutStatus.NO_ROOM,
    ]
    assert put(bob, lease, frames[:2]) == [PutStatus.ALREADY_STORED] * 2


def test_a_quota_counts_pins_too(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    world.node.set_visibility("llama", Visibility.PUBLIC)
    bob = give(world, "bob", Role.UPLOADER, "gpt", quota_bytes=100)
    lease = bob.begin_upload("gpt", frames_count=3, frame_bytes=1).id
    try:
        pinned = bob.pin_frames(lease, [model.records[0].frame])
    except QuotaError:
        return
    assert pinned == [False]


def test_no_room_is_said_alike_of_frames_that_others_hold(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    held = model.frames[model.records[0].frame]
    fresh = checkpoint(world.node, {"x": some_bytes(5_000, seed=9)})
    bob = give(world, "bob", Role.UPLOADER, "gpt", quota_bytes=100)
    lease = bob.begin_upload("gpt", frames_count=3, frame_bytes=1).id
    unknown = fresh.frames[fresh.records[0].frame]
    outcomes = [bob.send(bob.prepare(lease, [data])) for data in (held, unknown)]
    assert [type(outcome) for outcome in outcomes] == [type(outcomes[0])] * 2
    for outcome in outcomes:
        if isinstance(outcome, Settled):
            assert outcome.results[0].status is PutStatus.NO_ROOM
        else:
            assert isinstance(outcome, Refused)
            assert isinstance(outcome.error, QuotaError)


def test_quota_counts_what_an_ended_upload_left_until_it_is_collected(world: World) -> None:
    model = checkpoint(world.node, FILES)
    one, two, three = (model.frames[record.frame] for record in model.records[:3])
    quota_bytes = max(len(one) + len(two), len(three))
    bob = give(world, "bob", Role.UPLOADER, quota_bytes=quota_bytes)
    lease = bob.begin_upload("gpt", frames_count=3, frame_bytes=1).id
    assert put(bob, lease, [one, two]) == [PutStatus.STORED] * 2
    bob.end_upload(lease)
    lease = bob.begin_upload("other", frames_count=0, frame_bytes=0).id
    with pytest.raises(QuotaError):
        settled_or_raise(bob, lease, three)
    step = world.node.collect_garbage(b"", force=True)
    while step.next_cursor is not None:
        step = world.node.collect_garbage(step.next_cursor, force=True)
    assert put(bob, lease, [three]) == [PutStatus.STORED]


def test_uploader_of_a_bound_owner_counts_on_the_quota_of_the_owner(world: World) -> None:
    plan = checkpoint(world.node, FILES)
    size = sum(map(len, plan.frames.values()))
    fresh = checkpoint(world.node, {"x": some_bytes(50_000, seed=9)})
    more = fresh.frames[fresh.records[0].frame]
    alice = give(world, "alice", Role.UPLOADER, quota_bytes=size + len(more) - 1)
    sealed(alice, "llama", FILES)
    alice.grant(Grant(to=world.who("bob"), role=Role.UPLOADER, model="llama"))
    bob = world.caller("bob")
    alice.transfer_model("llama", world.who("carol"))
    for caller in (bob, world.caller("carol")):
        lease = caller.begin_upload("llama", frames_count=1, frame_bytes=1).id
        with pytest.raises((QuotaError, ConflictError)):
            settled_or_raise(caller, lease, more)
        caller.end_upload(lease)


def settled_or_raise(node: StorageNode, lease: int, data: bytes) -> None:
    """Put a frame for which there is no room: said by an error, or by its result."""
    outcome = node.send(node.prepare(lease, [data]))
    if isinstance(outcome, Refused):
        raise outcome.error
    assert isinstance(outcome, Settled)
    assert outcome.results[0].status is PutStatus.NO_ROOM
    raise QuotaError("no room")


def test_settings_are_told_to_controllers_alone(world: World) -> None:
    found = world.node.settings()
    assert found is not None
    assert found.memory_bytes > 0
    assert found.burn_per_day_cycles > 0
    uploader = give(world, "uploader", Role.UPLOADER)
    assert uploader.settings() is None
    assert world.caller("stranger").settings() is None
