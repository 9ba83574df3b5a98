"""Contract of storage nodes: leases and frames."""

import pytest

from datanode import frame
from datanode.digest import FrameDigest, content_digest, frame_digest
from datanode.errors import (
    ConflictError,
    LeaseHeldError,
    LeaseLostError,
    NodeRejectedError,
    NotFoundError,
    UnauthorizedError,
)
from datanode.model import ElementType
from datanode.node.port import (
    Grant,
    PutStatus,
    Refused,
    Role,
    Settled,
    StorageNode,
)
from tests.contract.conftest import World
from tests.fakes.checkpoints import put, sealed, some_bytes

FRAME = frame.seal_raw(b"some weights")
OTHER = frame.seal(bytes(5_000), ElementType.BYTES, 0)
DIGEST, OTHER_DIGEST = frame_digest(FRAME), frame_digest(OTHER)
STORED, ALREADY, BAD = PutStatus.STORED, PutStatus.ALREADY_STORED, PutStatus.BAD


def begin(node: StorageNode, model: str = "llama", *, takeover: bool = False) -> int:
    return node.begin_upload(model, frames_count=2, frame_bytes=100, takeover=takeover).id


def uploader(world: World, name: str, model: str | None = None) -> StorageNode:
    world.node.grant(Grant(to=world.who(name), role=Role.UPLOADER, model=model))
    return world.caller(name)


def test_it_tells_its_versions_to_everybody_and_its_details_to_controllers(world: World) -> None:
    status = world.node.status()
    assert (status.interface_version, status.store_version) == (2, 3)
    assert status.details is not None
    assert world.caller("stranger").status().details is None


def test_a_lease_is_had_again_by_its_holder(world: World) -> None:
    first = world.node.begin_upload("llama", frames_count=1, frame_bytes=100)
    again = world.node.begin_upload("llama", frames_count=1, frame_bytes=100)
    assert (again.id, again.model, again.holder) == (first.id, "llama", first.holder)
    assert again.expires_ns >= first.expires_ns > world.clock_ns()
    assert world.node.renew_upload(first.id).expires_ns >= again.expires_ns


def test_a_stranger_gets_no_lease(world: World) -> None:
    with pytest.raises(UnauthorizedError):
        begin(world.caller("stranger"))


def test_one_uploader_at_a_time(world: World) -> None:
    begin(world.node)
    with pytest.raises(LeaseHeldError) as caught:
        begin(uploader(world, "bob", "llama"))
    assert not isinstance(caught.value, LeaseLostError)


def test_a_controller_takes_over_with_an_empty_lease(world: World) -> None:
    bob = uploader(world, "bob")
    old = begin(bob)
    put(bob, old, [FRAME])
    with pytest.raises(LeaseHeldError):
        begin(world.node)
    new = world.node.begin_upload("llama", frames_count=1, frame_bytes=1, takeover=True)
    assert new.id != old
    assert new.frames_count == 0
    assert world.node.missing_frames(new.id, [DIGEST]) == [True]
    with pytest.raises(LeaseLostError):
        bob.renew_upload(old)
    outcome = bob.send(bob.prepare(old, [FRAME]))
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, LeaseLostError)


def test_an_uploader_cannot_take_over(world: World) -> None:
    begin(world.node)
    with pytest.raises(LeaseHeldError):
        begin(uploader(world, "bob"), takeover=True)


def test_an_expired_lease_may_be_taken_and_is_had_again_if_nobody_did(aging_world: World) -> None:
    bob = uploader(aging_world, "bob")
    lease = begin(bob)
    put(bob, lease, [FRAME])
    aging_world.advance(3_601)
    assert begin(bob) == lease
    assert bob.missing_frames(lease, [DIGEST]) == [False]
    aging_world.advance(3_601)
    assert begin(aging_world.node) != lease
    with pytest.raises(LeaseLostError):
        bob.renew_upload(lease)


def test_an_ended_lease_is_lost(world: World) -> None:
    lease = begin(world.node)
    put(world.node, lease, [FRAME])
    world.node.end_upload(lease)
    with pytest.raises(LeaseLostError):
        world.node.missing_frames(lease, [DIGEST])
    assert world.node.missing_frames(begin(world.node), [DIGEST]) == [True]


def test_a_lease_serves_its_holder_alone(world: World) -> None:
    lease = begin(world.node)
    bob = uploader(world, "bob")
    for use in (
        lambda: bob.renew_upload(lease),
        lambda: bob.end_upload(lease),
        lambda: bob.pin_frames(lease, [DIGEST]),
        lambda: bob.missing_frames(lease, [DIGEST]),
        lambda: list(bob.lease_frames(lease)),
        lambda: bob.seal_model(lease, "llama", manifest=DIGEST, placement=DIGEST),
    ):
        with pytest.raises(LeaseLostError):
            use()


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "caf\u00e9", "a\nb"])
def test_a_name_that_is_none_is_refused(world: World, name: str) -> None:
    with pytest.raises(NodeRejectedError):
        begin(world.node, name)


def test_each_frame_has_its_own_result(world: World) -> None:
    lease = begin(world.node)
    assert put(world.node, lease, [FRAME, FRAME[:-1], b"", OTHER, FRAME]) == [
        STORED,
        BAD,
        BAD,
        STORED,
        ALREADY,
    ]


def test_the_reason_of_a_bad_frame_is_told(world: World) -> None:
    outcome = world.node.send(world.node.prepare(begin(world.node), [b"X" * 64]))
    assert isinstance(outcome, Settled)
    assert outcome.results[0].detail


def test_the_same_message_is_executed_once(world: World) -> None:
    lease = begin(world.node)
    message = world.node.prepare(lease, [FRAME])
    first, second = world.node.send(message), world.node.send(message)
    assert isinstance(first, Settled)
    assert isinstance(second, Settled)
    assert first.results == second.results
    assert first.results[0].status is STORED
    assert first.receipt


def test_a_settled_message_can_be_recovered_by_its_request_id(world: World) -> None:
    message = world.node.prepare(begin(world.node), [FRAME, OTHER])
    world.node.send(message)
    recovered = world.node.recover(message.request_id, message.expiry_ns)
    assert isinstance(recovered, Settled)
    assert [result.status for result in recovered.results] == [STORED, STORED]


def test_a_message_has_no_room_to_be_another(world: World) -> None:
    lease = begin(world.node)
    one, two = (world.node.prepare(lease, [FRAME]) for _ in range(2))
    assert one.request_id != two.request_id
    assert one.canister == world.node.principal
    assert one.expiry_ns > world.clock_ns()


def test_a_put_without_right_is_refused_with_proof(world: World) -> None:
    stranger = world.caller("stranger")
    lease = begin(world.node)
    message = stranger.prepare(lease, [FRAME])
    try:
        outcome = stranger.send(message)
    except UnauthorizedError:
        return
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.error, LeaseLostError | UnauthorizedError)


def test_what_is_missing_is_told_in_order(world: World) -> None:
    lease = begin(world.node)
    put(world.node, lease, [FRAME])
    unknown = FrameDigest(bytes(32))
    wanted = [unknown, DIGEST, OTHER_DIGEST]
    for replicated in (False, True):
        answer = world.node.missing_frames(lease, wanted, replicated=replicated)
        assert answer == [True, False, True]
    assert world.node.missing_frames(lease, []) == []


def test_many_digests_are_asked_about_in_one_call(world: World) -> None:
    lease = begin(world.node)
    put(world.node, lease, [FRAME])
    wanted = [FrameDigest(index.to_bytes(32, "big")) for index in range(2_000)]
    wanted[777] = DIGEST
    answer = world.node.missing_frames(lease, wanted, replicated=True)
    assert answer.index(False) == 777
    assert answer.count(False) == 1


def test_the_frames_of_a_lease_describe_themselves(world: World) -> None:
    lease = begin(world.node)
    put(world.node, lease, [FRAME, OTHER])
    records = {record.frame: record for record in world.node.lease_frames(lease)}
    assert set(records) == {DIGEST, OTHER_DIGEST}
    other = records[OTHER_DIGEST]
    assert other.content == content_digest(bytes(5_000))
    assert (other.raw_bytes, other.frame_bytes) == (5_000, len(OTHER))
    assert (other.codec_id, other.element) == (OTHER[5], ElementType.BYTES)


def test_a_lease_of_many_frames_is_listed_whole(world: World) -> None:
    lease = begin(world.node)
    frames = [frame.seal_raw(some_bytes(20, seed)) for seed in range(600)]
    for at in range(0, len(frames), 200):
        put(world.node, lease, frames[at : at + 200])
    listed = {record.frame for record in world.node.lease_frames(lease)}
    assert listed == {frame_digest(data) for data in frames}
    assert world.node.renew_upload(lease).frames_count == 600


def test_only_what_may_be_read_can_be_pinned(world: World) -> None:
    model = sealed(world.node, "llama")
    first = model.records[0].frame
    lease = begin(world.node, "phi")
    assert world.node.pin_frames(lease, [first, OTHER_DIGEST]) == [True, False]
    assert first in {record.frame for record in world.node.lease_frames(lease)}
    bob = uploader(world, "bob", "gpt")
    assert bob.pin_frames(begin(bob, "gpt"), [first]) == [False]


def test_no_answer_tells_whether_somebody_else_has_a_frame(world: World) -> None:
    model = sealed(world.node, "llama")
    held = model.records[0].frame
    bob = uploader(world, "bob", "gpt")
    lease = begin(bob, "gpt")
    assert bob.missing_frames(lease, [held, OTHER_DIGEST]) == [True, True]
    assert put(bob, lease, [model.frames[held], OTHER]) == [STORED, STORED]
    assert put(bob, lease, [model.frames[held], OTHER]) == [ALREADY, ALREADY]


def test_a_frame_is_held_through_a_readable_model(world: World) -> None:
    model = sealed(world.node, "llama")
    lease = begin(world.node, "phi")
    frames = list(model.frames.values())
    assert put(world.node, lease, frames) == [ALREADY] * len(frames)


def test_a_damaged_frame_is_found_by_scrubbing_and_healed_by_a_put(world: World) -> None:
    lease = begin(world.node)
    put(world.node, lease, [FRAME, OTHER])
    world.corrupt(OTHER)
    cursor: bytes | None = b""
    corrupt: list[FrameDigest] = []
    checked: list[FrameDigest] = []
    while cursor is not None:
        step = world.node.scrub(cursor, 1_000_000)
        corrupt += step.corrupt
        checked += step.checked
        cursor = step.next_cursor
    assert corrupt == [OTHER_DIGEST]
    assert sorted(checked) == sorted([DIGEST, OTHER_DIGEST])
    assert world.node.missing_frames(lease, [DIGEST, OTHER_DIGEST]) == [False, True]
    assert put(world.node, lease, [FRAME, OTHER]) == [ALREADY, STORED]
    assert world.node.missing_frames(lease, [OTHER_DIGEST]) == [False]


def test_a_put_heals_damage_that_nobody_has_noticed(world: World) -> None:
    lease = begin(world.node)
    put(world.node, lease, [OTHER])
    world.corrupt(OTHER)
    assert put(world.node, lease, [OTHER]) == [STORED]
    assert world.node.scrub(b"", 1_000_000).corrupt == ()


def test_frame_under_any_lease_of_the_caller_is_held(world: World) -> None:
    alice, bob = uploader(world, "alice"), uploader(world, "bob")
    first, second, bobs = begin(alice, "first"), begin(alice, "second"), begin(bob, "bobs")
    put(alice, first, [FRAME])
    assert alice.missing_frames(second, [DIGEST, OTHER_DIGEST]) == [False, True]
    assert bob.missing_frames(bobs, [DIGEST, OTHER_DIGEST]) == [True, True]
    assert alice.pin_frames(second, [DIGEST, OTHER_DIGEST]) == [True, False]
    assert bob.pin_frames(bobs, [DIGEST]) == [False]
    assert alice.renew_upload(first).frames_count == 1
    assert put(alice, second, [FRAME]) == [ALREADY]
    assert put(bob, bobs, [FRAME]) == [STORED]
    alice.end_upload(first)
    assert alice.missing_frames(second, [DIGEST]) == [False]
    alice.end_upload(second)
    assert alice.missing_frames(begin(alice, "third"), [DIGEST]) == [True]


def test_flood_of_leases_leaves_room_for_others(world: World) -> None:
    alice, bob = uploader(world, "alice"), uploader(world, "bob")
    kept = begin(bob, "bobs")
    put(bob, kept, [FRAME])
    ids = [begin(alice, f"flood-{index}") for index in range(32)]
    for index in range(3):
        with pytest.raises(ConflictError):
            begin(alice, f"more-{index}")
    assert begin(bob, "others") not in ids
    assert begin(bob, "bobs") == kept
    alice.end_upload(ids[0])
    assert begin(alice, "more-0") not in ids


def test_controllers_list_and_end_leases(world: World) -> None:
    alice = uploader(world, "alice")
    lease = begin(alice, "alices")
    put(alice, lease, [FRAME])
    own = begin(world.node, "own")
    listed = {it.id: it for it in world.node.leases()}
    assert list(listed) == sorted(listed)
    assert (listed[lease].model, listed[lease].holder) == ("alices", world.who("alice"))
    assert (listed[lease].frames_count, listed[lease].frame_bytes) == (1, len(FRAME))
    assert own in listed
    for refused in (alice.leases, lambda: alice.end_lease(own)):
        with pytest.raises(UnauthorizedError):
            refused()
    world.node.end_lease(lease)
    with pytest.raises(NotFoundError):
        world.node.end_lease(lease)
    with pytest.raises(LeaseLostError):
        alice.renew_upload(lease)


def test_holder_of_a_lease_is_told_to_administrators_alone(world: World) -> None:
    alice, bob = uploader(world, "alice"), uploader(world, "bob")
    begin(alice)
    with pytest.raises(LeaseHeldError) as told:
        begin(bob)
    assert str(world.who("alice")) not in str(told.value)
    with pytest.raises(LeaseHeldError, match=str(world.who("alice"))):
        begin(world.node)
