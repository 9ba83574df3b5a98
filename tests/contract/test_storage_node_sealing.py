"""Contract of storage nodes: sealing, reading, proving and deleting models."""

import pytest

from datanode import frame
from datanode.digest import FrameDigest, frame_digest
from datanode.errors import (
    ConflictError,
    DataNodeError,
    FormatError,
    IncompleteSealError,
    LeaseLostError,
    NodeRejectedError,
    NotFoundError,
)
from datanode.limits import MAX_QUERY_REPLY_BYTES
from datanode.node.port import FrameAbsence, Grant, ManifestPart, Role
from datanode.placement import Placement
from datanode.reader import Reader
from tests.contract.conftest import World
from tests.fakes.checkpoints import Checkpoint, checkpoint, put, seal, sealed, some_bytes

FILES = {"a/model.bin": some_bytes(20_000), "config.json": b"{}", "empty": b""}
LOST = FrameDigest(bytes(32))


def begin(world: World, model: str = "llama") -> int:
    return world.node.begin_upload(model, frames_count=9, frame_bytes=30_000).id


def put_all(world: World, lease: int, model: Checkpoint) -> None:
    put(world.node, lease, list(model.frames.values()))


def version_of(world: World, lease: int, model: Checkpoint, expected: int | None = None) -> int:
    return world.node.seal_model(
        lease,
        "llama",
        manifest=model.manifest,
        placement=model.placement,
        expected_version=expected,
    )


def test_a_sealed_model_is_described(world: World) -> None:
    before = world.clock_ns()
    model = sealed(world.node, "llama", FILES)
    info = world.node.model("llama")
    assert (info.name, info.latest, len(info.versions)) == ("llama", 1, 1)
    (version,) = info.versions
    assert (version.manifest, version.placement) == (model.manifest, model.placement)
    assert (version.chunks_count, version.raw_bytes) == (5, 20_002)
    assert version.frame_bytes == sum(record.frame_bytes for record in model.records)
    assert version.sealed_by == info.owner
    # The canister's clock is its block's, which may lie a little behind.
    assert version.sealed_ns >= before - 10**10


def test_nothing_shows_before_it_is_sealed(world: World) -> None:
    put_all(world, begin(world), checkpoint(world.node, FILES))
    assert world.node.models() == []
    with pytest.raises(NotFoundError):
        world.node.model("llama")
    with pytest.raises(NotFoundError):
        world.node.witness("llama")


def test_versions_of_a_name_rise(world: World) -> None:
    sealed(world.node, "llama", FILES)
    second = sealed(world.node, "llama", {"a": b"two"})
    assert [v.version for v in world.node.model("llama").versions] == [1, 2]
    (listed,) = world.node.models()
    assert (listed.latest, [v.manifest for v in listed.versions]) == (2, [second.manifest])


def test_sealing_names_what_is_missing(world: World) -> None:
    model = checkpoint(world.node, FILES)
    lease = begin(world)
    left_out = {model.records[1].frame, model.records[3].frame}
    put(world.node, lease, [data for d, data in model.frames.items() if d not in left_out])
    with pytest.raises(IncompleteSealError) as caught:
        version_of(world, lease, model)
    assert set(caught.value.missing) == left_out
    assert caught.value.missing_count == 2
    put_all(world, lease, model)
    assert version_of(world, lease, model) == 1


@pytest.mark.parametrize("part", ["manifest", "placement", "page"])
def test_sealing_names_a_missing_part_of_the_manifest(world: World, part: str) -> None:
    model = checkpoint(world.node, FILES)
    lease = begin(world)
    parts = set(model.frames) - {record.frame for record in model.records}
    pages = parts - {model.manifest, model.placement}
    left_out = {"manifest": model.manifest, "placement": model.placement, "page": min(pages)}[part]
    put(world.node, lease, [data for d, data in model.frames.items() if d != left_out])
    with pytest.raises(IncompleteSealError) as caught:
        version_of(world, lease, model)
    assert left_out in caught.value.missing


def test_a_frame_of_somebody_else_does_not_count(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    world.node.grant(Grant(to=world.who("bob"), role=Role.UPLOADER, model="gpt"))
    bob = world.caller("bob")
    lease = bob.begin_upload("gpt", frames_count=1, frame_bytes=1)
    with pytest.raises(IncompleteSealError):
        bob.seal_model(lease.id, "gpt", manifest=model.manifest, placement=model.placement)


def test_sealing_ends_the_lease_and_may_be_repeated(world: World) -> None:
    model = checkpoint(world.node, FILES)
    lease = begin(world)
    put_all(world, lease, model)
    assert version_of(world, lease, model) == 1
    assert version_of(world, lease, model) == 1
    with pytest.raises(LeaseLostError):
        world.node.renew_upload(lease)
    again = begin(world)
    assert version_of(world, again, model) == 1
    assert world.node.model("llama").latest == 1


def test_an_unexpected_version_is_a_conflict(world: World) -> None:
    sealed(world.node, "llama", FILES)
    model = checkpoint(world.node, {"a": b"two"})
    lease = begin(world)
    put_all(world, lease, model)
    with pytest.raises(ConflictError):
        version_of(world, lease, model, expected=1)
    assert version_of(world, lease, model, expected=2) == 2


def test_what_is_no_manifest_is_refused(world: World) -> None:
    model = checkpoint(world.node, FILES)
    lease = begin(world)
    junk = frame.seal_raw(b"not a manifest")
    put(world.node, lease, [*model.frames.values(), junk])
    with pytest.raises(FormatError):
        world.node.seal_model(
            lease, "llama", manifest=frame_digest(junk), placement=model.placement
        )
    with pytest.raises(FormatError):
        world.node.seal_model(lease, "llama", manifest=model.manifest, placement=frame_digest(junk))
    assert version_of(world, lease, model) == 1


def test_the_placement_of_another_manifest_is_refused(world: World) -> None:
    model = checkpoint(world.node, FILES)
    place = Placement(manifest=LOST, nodes=(world.node.principal,), runs=((0, 5),), chunk_count=5)
    data = frame.seal_raw(place.pack())
    lease = begin(world)
    put(world.node, lease, [*model.frames.values(), data])
    with pytest.raises(FormatError):
        world.node.seal_model(lease, "llama", manifest=model.manifest, placement=frame_digest(data))


def test_a_lease_seals_its_own_model_only(world: World) -> None:
    model = checkpoint(world.node, FILES)
    lease = begin(world, "phi")
    put_all(world, lease, model)
    with pytest.raises(DataNodeError):
        version_of(world, lease, model)


def test_a_damaged_frame_cannot_be_sealed(world: World) -> None:
    model = checkpoint(world.node, FILES)
    lease = begin(world)
    put_all(world, lease, model)
    victim = model.records[2].frame
    world.corrupt(model.frames[victim])
    assert world.node.scrub(b"", 10_000_000).corrupt == (victim,)
    with pytest.raises(IncompleteSealError) as caught:
        version_of(world, lease, model)
    assert caught.value.missing == (victim,)


def test_frames_are_read_by_position(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    answers = world.node.get_frames("llama", model.manifest, [4, 0, 0])
    records = [model.records[index] for index in (4, 0, 0)]
    assert answers == [model.frames[record.frame] for record in records]
    assert world.node.get_frames("llama", model.manifest, []) == []


def test_what_does_not_fit_a_reply_is_left_for_the_next(world: World) -> None:
    model = checkpoint(world.node, {"big": some_bytes(5_000_000)}, chunk_bytes=1_000_000)
    lease = begin(world)
    for data in model.frames.values():
        put(world.node, lease, [data])
    version_of(world, lease, model)
    answers = world.node.get_frames("llama", model.manifest, [0, 1, 2, 3, 4])
    came = [answer for answer in answers if isinstance(answer, bytes)]
    assert 1 <= len(came) <= MAX_QUERY_REPLY_BYTES // 1_000_000
    assert answers[0] == model.frames[model.records[0].frame]
    assert answers.count(FrameAbsence.DID_NOT_FIT) == 5 - len(came)


def test_what_is_not_there_cannot_be_read(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    for read in (
        lambda: world.node.get_frames("phi", model.manifest, [0]),
        lambda: world.node.get_frames("llama", LOST, [0]),
        lambda: world.node.get_manifest("llama", LOST, ManifestPart.HEAD),
        lambda: world.node.get_manifest("llama", model.manifest, ManifestPart.CHUNK_PAGE, 1),
        lambda: world.node.get_manifest("llama", model.manifest, ManifestPart.TENSOR_PAGE, 1),
        lambda: world.node.witness("llama", 2),
    ):
        with pytest.raises(NotFoundError):
            read()
    with pytest.raises((NotFoundError, NodeRejectedError)):
        world.node.get_frames("llama", model.manifest, [5])


def test_the_parts_of_a_manifest_are_served_as_frames(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    head = world.node.get_manifest("llama", model.manifest, ManifestPart.HEAD)
    place = world.node.get_manifest("llama", model.manifest, ManifestPart.PLACEMENT)
    assert (frame_digest(head), frame_digest(place)) == (model.manifest, model.placement)
    for part in (ManifestPart.CHUNK_PAGE, ManifestPart.TENSOR_PAGE):
        data = world.node.get_manifest("llama", model.manifest, part, 0)
        assert model.frames[frame_digest(data)] == data


def test_a_reader_verifies_every_byte(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    sealed(world.node, "phi", {"a": b"neighbour"})
    sealed(world.node, "llama", {"a": b"two"})
    reader = Reader(world.node, root_key=world.root_key, clock_ns=world.clock_ns)
    version = reader.open_version("llama", 1)
    assert (version.latest, version.manifest) == (2, model.manifest)
    assert b"".join(version.chunks(range(4))) == FILES["a/model.bin"]
    assert [entry.name for entry in version.tensors()] == [f"{path}.weight" for path in FILES]
    assert version.placement().node_of(0) == world.node.principal


def test_a_witness_of_one_model_names_no_other(world: World) -> None:
    sealed(world.node, "llama", FILES)
    secret = sealed(world.node, "secret-name", {"a": b"neighbour"})
    answer = world.node.witness("llama")
    assert b"secret-name" not in answer.witness + answer.certificate
    assert bytes(secret.manifest) not in answer.witness


def test_a_node_of_its_own_model_can_be_sealed_twice_over(world: World) -> None:
    model = sealed(world.node, "llama", FILES)
    assert seal(world.node, "phi", model) == 1
    assert {info.name for info in world.node.models()} == {"llama", "phi"}
