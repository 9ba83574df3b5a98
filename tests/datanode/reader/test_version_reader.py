"""A reader believes what is proven, and nothing else."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from datanode.agent.hash_tree import HashTree, Plan
from datanode.digest import FrameDigest, frame_digest
from datanode.errors import (
    CertificateError,
    CorruptionError,
    NotFoundError,
    UnsupportedVersionError,
)
from datanode.node.port import FrameAbsence, WitnessAnswer
from datanode.principal import Principal
from datanode.reader import Reader
from datanode.reader.version_reader import WITNESS_ATTEMPTS
from tests.fakes.certifier import Certifier
from tests.fakes.checkpoints import Checkpoint, checkpoint, seal, sealed
from tests.fakes.memory_node import MemoryNode
from tests.fakes.memory_world import NODE


@pytest.fixture
def node() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
def model(node: MemoryNode) -> Checkpoint:
    return sealed(node, "llama")


def reader_of(node: MemoryNode) -> Reader:
    return Reader(node, root_key=node.root_key, clock_ns=node.world.clock)


def test_a_sealed_version_opens_with_its_proof(node: MemoryNode, model: Checkpoint) -> None:
    version = reader_of(node).open_version("llama")
    assert (version.version, version.latest, version.manifest) == (1, 1, model.manifest)
    assert version.raw_bytes == sum(map(len, model.files.values()))
    assert tuple(version.records()) == tuple(model.records)
    assert [entry.path for entry in version.head.files] == sorted(model.files)
    assert version.placement().nodes == (NODE,)


def test_the_latest_version_is_the_default_and_an_older_one_can_be_named(node: MemoryNode) -> None:
    first = sealed(node, "llama", {"a": b"one"})
    second = sealed(node, "llama", {"a": b"two"})
    reader = reader_of(node)
    assert reader.open_version("llama").manifest == second.manifest
    assert reader.open_version("llama", 1).manifest == first.manifest


def test_chunks_come_raw_and_in_the_order_asked(node: MemoryNode, model: Checkpoint) -> None:
    version = reader_of(node).open_version("llama")
    raw = model.files["a/model.bin"]
    assert b"".join(version.chunks(range(10), jobs=2)) == raw
    assert list(version.chunks([3, 0])) == [raw[15_000:20_000], raw[:5_000]]
    assert version.read_chunk(10) == b"{}"


def test_a_model_without_chunks_opens(node: MemoryNode) -> None:
    sealed(node, "empty", {"nothing": b""})
    version = reader_of(node).open_version("empty")
    assert list(version.records()) == []
    assert list(version.chunks([])) == []


@pytest.mark.parametrize("version", [0, 2, 2**32, -1])
def test_a_version_that_is_not_there_is_not_found(
    node: MemoryNode, model: Checkpoint, version: int
) -> None:
    with pytest.raises(NotFoundError):
        reader_of(node).open_version("llama", version)


def test_another_root_key_is_refused(node: MemoryNode, model: Checkpoint) -> None:
    other = Certifier(node.world.clock, secret=4711).root_key
    with pytest.raises(CertificateError):
        Reader(node, root_key=other, clock_ns=node.world.clock).open_version("llama")


def test_an_old_certificate_is_refused(node: MemoryNode, model: Checkpoint) -> None:
    now = node.world.clock() + 301 * 10**9
    with pytest.raises(CertificateError, match="old"):
        Reader(node, root_key=node.root_key, clock_ns=lambda: now).open_version("llama")


class Lying(MemoryNode):
    """Answers `witness` with something else."""

    answer: WitnessAnswer

    def witness(self, model: str, version: int | None = None) -> WitnessAnswer:
        return self.answer


def lying(node: MemoryNode, answer: WitnessAnswer) -> Lying:
    liar = Lying(node.world)
    liar.answer = answer
    return liar


def replaced(answer: WitnessAnswer, witness: bytes) -> WitnessAnswer:
    return WitnessAnswer(certificate=answer.certificate, witness=witness, version=answer.version)


def test_a_witness_that_was_not_certified_is_refused(node: MemoryNode, model: Checkpoint) -> None:
    answer = node.witness("llama")
    sealed(node, "llama", {"a": b"two"})
    other = node.witness("llama", 1).witness
    with pytest.raises(CertificateError, match="not what the subnet certified"):
        reader_of(lying(node, replaced(answer, other))).open_version("llama")


def test_the_witness_of_another_model_proves_nothing(node: MemoryNode, model: Checkpoint) -> None:
    sealed(node, "other", {"a": b"two"})
    with pytest.raises(CertificateError, match="does not show"):
        reader_of(lying(node, node.witness("other"))).open_version("llama")


def test_an_older_version_cannot_pass_as_the_latest(node: MemoryNode, model: Checkpoint) -> None:
    sealed(node, "llama", {"a": b"two"})
    with pytest.raises(CertificateError, match="does not show version 2"):
        reader_of(lying(node, node.witness("llama", 1))).open_version("llama")


def test_a_certificate_of_another_canister_proves_nothing(
    node: MemoryNode, model: Checkpoint
) -> None:
    class Elsewhere(MemoryNode):
        @property
        def principal(self) -> Principal:
            return Principal(b"\x01")

    with pytest.raises(CertificateError):
        reader_of(Elsewhere(node.world)).open_version("llama")


def test_a_witness_that_is_not_a_tree_is_refused(node: MemoryNode, model: Checkpoint) -> None:
    with pytest.raises(CertificateError):
        reader_of(lying(node, replaced(node.witness("llama"), b"\x00"))).open_version("llama")


def certified(node: MemoryNode, tree: HashTree) -> WitnessAnswer:
    state = {b"canister": {NODE.raw: {b"certified_data": tree.digest()}}}
    certificate = node.world.certifier.certificate(state)
    return WitnessAnswer(certificate=certificate, witness=tree.cbor(), version=1)


def test_a_newer_certified_interface_is_told_from_a_lie(node: MemoryNode) -> None:
    answer = certified(node, HashTree.from_dict({b"dn": {b"interface": b"\0\0\0\3"}}))
    with pytest.raises(UnsupportedVersionError):
        reader_of(lying(node, answer)).open_version("llama")


@pytest.mark.parametrize(
    "entry",
    [
        {b"latest": b"\0\0\0\1", b"\0\0\0\1": bytes(63)},
        {b"latest": b"\1", b"\0\0\0\1": bytes(64)},
        {b"latest": {b"x": b""}},
    ],
    ids=["leaf too short", "latest is no number", "latest is a tree"],
)
def test_a_certified_tree_of_another_shape_is_refused(
    node: MemoryNode, entry: dict[bytes, bytes]
) -> None:
    tree = HashTree.from_dict({b"dn": {b"interface": b"\0\0\0\2", b"model": {b"llama": entry}}})
    with pytest.raises(CertificateError):
        reader_of(lying(node, certified(node, tree))).open_version("llama")


def test_a_version_above_the_latest_is_a_contradiction(node: MemoryNode) -> None:
    entry = {b"latest": b"\0\0\0\1", b"\0\0\0\2": bytes(64)}
    tree = HashTree.from_dict({b"dn": {b"interface": b"\0\0\0\2", b"model": {b"llama": entry}}})
    with pytest.raises(CertificateError, match="contradicts"):
        reader_of(lying(node, certified(node, tree))).open_version("llama", 2)


@pytest.mark.parametrize("version", [-1, 2**32])
def test_a_number_that_no_version_can_have_is_not_found(node: MemoryNode, version: int) -> None:
    entry = {b"latest": b"\0\0\0\1", b"\0\0\0\1": bytes(64)}
    tree = HashTree.from_dict({b"dn": {b"interface": b"\0\0\0\2", b"model": {b"llama": entry}}})
    with pytest.raises(NotFoundError):
        reader_of(lying(node, certified(node, tree))).open_version("llama", version)


def test_no_witness_proves_a_model_absent(node: MemoryNode) -> None:
    """Models are not in the order of their names: a neighbour tells nothing."""
    entry: dict[bytes, Plan | bytes] = {b"latest": b"\0\0\0\1", b"\0\0\0\1": bytes(64)}
    several: list[dict[bytes, Plan | bytes]] = [
        {},
        {b"a": entry},
        {b"z": entry},
        {b"a": entry, b"z": entry},
    ]
    for models in several:
        tree = HashTree.from_dict({b"dn": {b"interface": b"\0\0\0\2", b"model": models}})
        with pytest.raises(CertificateError, match="does not show model llama"):
            reader_of(lying(node, certified(node, tree))).open_version("llama")


def test_a_head_that_is_not_the_certified_one_is_corrupt(
    node: MemoryNode, model: Checkpoint
) -> None:
    node.world.corrupt(model.manifest)
    with pytest.raises(CorruptionError, match="head"):
        reader_of(node).open_version("llama")


def test_a_lost_head_is_corruption(node: MemoryNode, model: Checkpoint) -> None:
    node.world.lose(model.manifest)
    with pytest.raises(CorruptionError, match="head"):
        reader_of(node).open_version("llama")


def test_a_corrupt_page_is_corruption(node: MemoryNode, model: Checkpoint) -> None:
    version = reader_of(node).open_version("llama")
    node.world.corrupt(version.head.chunk_pages[0])
    with pytest.raises(CorruptionError, match="chunk page 0"):
        list(version.records())


def test_a_flipped_bit_in_any_byte_of_a_frame_is_found(node: MemoryNode) -> None:
    model = sealed(node, "small", {"a": b"some weights"})
    version = reader_of(node).open_version("small")
    digest = model.records[0].frame
    for offset in range(len(model.frames[digest])):
        node.world.corrupt(digest, offset)
        with pytest.raises(CorruptionError, match="chunk 0 of a"):
            version.read_chunk(0)
        node.world.corrupt(digest, offset)
    assert version.read_chunk(0) == b"some weights"


def test_another_good_frame_in_its_place_is_found(node: MemoryNode, model: Checkpoint) -> None:
    first, second = model.records[:2]
    node.world.lies[first.frame] = model.frames[second.frame]
    with pytest.raises(CorruptionError, match=r"chunk 0 of a/model\.bin"):
        list(reader_of(node).open_version("llama").chunks(range(10)))


def test_a_lost_frame_is_named_with_its_file(node: MemoryNode, model: Checkpoint) -> None:
    node.world.lose(model.records[10].frame)
    with pytest.raises(CorruptionError, match=r"chunk 10 of config\.json \(missing\)"):
        reader_of(node).open_version("llama").read_chunk(10)


def test_a_node_that_fits_nothing_is_not_asked_for_ever(
    node: MemoryNode, model: Checkpoint
) -> None:
    class Full(MemoryNode):
        def get_frames(self, *args: object) -> list[bytes | FrameAbsence]:
            return [FrameAbsence.DID_NOT_FIT]

    with pytest.raises(Exception, match="does not answer what it was asked"):
        reader_of(Full(node.world)).open_version("llama").read_chunk(0)


def test_what_does_not_fit_a_reply_is_asked_again(node: MemoryNode) -> None:
    files = {"big": bytes(range(256)) * 40_000}
    model = checkpoint(node, files, chunk_bytes=1_900_000)
    seal(node, "big", model)

    class Tight(MemoryNode):
        def get_frames(
            self, model: str, manifest: FrameDigest, chunks: Sequence[int]
        ) -> list[bytes | FrameAbsence]:
            answers = super().get_frames(model, manifest, chunks)
            return [answers[0], *[FrameAbsence.DID_NOT_FIT] * (len(answers) - 1)]

    tight = Tight(node.world)
    version = reader_of(tight).open_version("big")
    assert b"".join(version.chunks(range(len(model.records)))) == files["big"]


def test_the_digest_of_the_head_is_the_manifest_digest(node: MemoryNode, model: Checkpoint) -> None:
    version = reader_of(node).open_version("llama")
    assert frame_digest(version.head_frame) == model.manifest


def test_an_unknown_chunk_or_tensor_is_not_found(node: MemoryNode, model: Checkpoint) -> None:
    version = reader_of(node).open_version("llama")
    with pytest.raises(NotFoundError):
        version.record(11)
    with pytest.raises(NotFoundError):
        version.tensor("no.such.tensor")
    assert version.tensor("config.json.weight").chunk_count == 1


class Doubtful(MemoryNode):
    """Answers `witness` wrongly a few times: a replica that lies, before one that does not."""

    wrong: int

    def witness(self, model: str, version: int | None = None) -> WitnessAnswer:
        answer = super().witness(model, version)
        self.wrong -= 1
        return replace(answer, certificate=b"") if self.wrong >= 0 else answer


@pytest.mark.parametrize("wrong", range(WITNESS_ATTEMPTS + 1))
def test_witness_that_proves_nothing_is_asked_for_again(
    node: MemoryNode, model: Checkpoint, wrong: int
) -> None:
    doubtful = Doubtful(node.world)
    doubtful.wrong = wrong
    if wrong < WITNESS_ATTEMPTS:
        assert reader_of(doubtful).open_version("llama").trusted.version == 1
    else:
        with pytest.raises(CertificateError):
            reader_of(doubtful).open_version("llama")
    assert doubtful.wrong == max(wrong - WITNESS_ATTEMPTS, -1)
