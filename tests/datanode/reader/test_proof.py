"""No flipped bit of any proof material is believed."""

import random
from dataclasses import replace

import pytest

from datanode import frame
from datanode.digest import frame_digest
from datanode.errors import CertificateError, CorruptionError, DataNodeError, FormatError
from datanode.model import ElementType
from datanode.node.port import ManifestPart, WitnessAnswer
from datanode.placement import Placement
from datanode.reader import Reader, VerifiedVersion, proof
from tests.fakes.checkpoints import sealed
from tests.fakes.memory_node import MemoryNode
from tests.fakes.memory_world import NODE

FLIPS = 1_500


@pytest.fixture
def node() -> MemoryNode:
    node = MemoryNode()
    sealed(node, "llama")
    sealed(node, "phi", {"a": b"x"})
    return node


@pytest.fixture
def version(node: MemoryNode) -> VerifiedVersion:
    return Reader(node, root_key=node.root_key, clock_ns=node.world.clock).open_version("llama")


def flipped(data: bytes, draw: random.Random) -> bytes:
    bits = bytearray(data)
    at = draw.randrange(8 * len(bits))
    bits[at // 8] ^= 1 << at % 8
    return bytes(bits)


def test_a_flipped_bit_of_certificate_or_witness_proves_nothing(
    node: MemoryNode, version: VerifiedVersion
) -> None:
    draw = random.Random(1)
    good = version.answer
    for _ in range(FLIPS):
        answer = WitnessAnswer(
            certificate=good.certificate, witness=flipped(good.witness, draw), version=1
        )
        if draw.random() < 0.5:
            answer = WitnessAnswer(
                certificate=flipped(good.certificate, draw), witness=good.witness, version=1
            )
        with pytest.raises(CertificateError):
            proof.trust_witness(
                answer,
                root_key=node.root_key,
                node=NODE,
                model="llama",
                version=None,
                now_ns=node.world.clock(),
            )


def test_a_flipped_bit_of_any_part_is_refused(version: VerifiedVersion) -> None:
    draw = random.Random(2)
    head = version.head
    page = version.part_frame(ManifestPart.CHUNK_PAGE)
    tensors = version.part_frame(ManifestPart.TENSOR_PAGE)
    place = version.part_frame(ManifestPart.PLACEMENT)
    (chunk,) = version.node.get_frames("llama", version.manifest, [3])
    assert isinstance(chunk, bytes)
    record = version.record(3)
    assert proof.trust_chunk(record, chunk)
    for _ in range(FLIPS):
        for trust in (
            lambda: proof.trust_head(version.trusted, flipped(version.head_frame, draw)),
            lambda: proof.trust_chunk_page(head, 0, flipped(page, draw)),
            lambda: proof.trust_tensor_page(head, 0, flipped(tensors, draw)),
            lambda: proof.trust_placement(version.trusted, head, flipped(place, draw)),
            lambda: proof.trust_chunk(record, flipped(chunk, draw)),
        ):
            with pytest.raises(CorruptionError):
                trust()


def test_a_part_that_is_sealed_compressed_is_refused(version: VerifiedVersion) -> None:
    raw = frame.parse(version.head_frame).open()
    data = frame.seal(raw * 50, ElementType.BYTES, 0)
    trusted = replace(version.trusted, manifest=frame_digest(data))
    with pytest.raises(FormatError, match="not stored raw"):
        proof.trust_head(trusted, data)


def test_the_placement_of_another_manifest_is_refused(version: VerifiedVersion) -> None:
    other = Placement(
        manifest=version.head.chunk_pages[0], nodes=(NODE,), runs=((0, 11),), chunk_count=11
    )
    data = frame.seal_raw(other.pack())
    trusted = replace(version.trusted, placement=frame_digest(data))
    with pytest.raises(FormatError, match="another manifest"):
        proof.trust_placement(trusted, version.head, data)


def test_a_page_of_another_size_than_its_place_is_refused(version: VerifiedVersion) -> None:
    raw = frame.parse(version.part_frame(ManifestPart.CHUNK_PAGE)).open()
    data = frame.seal_raw(raw[:-80])
    head = replace(version.head, chunk_pages=(frame_digest(data),))
    with pytest.raises(FormatError, match="has 10 records, its place has 11"):
        proof.trust_chunk_page(head, 0, data)


def test_a_manifest_that_contradicts_its_frames_is_corruption(version: VerifiedVersion) -> None:
    (data,) = version.node.get_frames("llama", version.manifest, [0])
    assert isinstance(data, bytes)
    record = version.record(0)
    for lie in (
        replace(record, content=version.record(1).content),
        replace(record, raw_bytes=record.raw_bytes - 1),
        replace(record, codec_id=2),
        replace(record, element=ElementType.F16),
        replace(record, frame_bytes=record.frame_bytes + 1),
        replace(record, frame=version.record(1).frame),
    ):
        with pytest.raises(CorruptionError):
            proof.trust_chunk(lie, data)


def test_a_frame_that_was_sealed_broken_is_corruption(version: VerifiedVersion) -> None:
    junk = bytes(100)
    record = replace(version.record(0), frame=frame_digest(junk), frame_bytes=100)
    with pytest.raises(CorruptionError, match="does not open"):
        proof.trust_chunk(record, junk)
    (data,) = version.node.get_frames("llama", version.manifest, [0])
    assert isinstance(data, bytes)
    broken = data[:-1] + bytes([data[-1] ^ 1])
    record = replace(version.record(0), frame=frame_digest(broken))
    with pytest.raises(DataNodeError):
        proof.trust_chunk(record, broken)
