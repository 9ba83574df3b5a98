"""An audit finds exactly what is wrong, and proves what it found."""

import json
from collections.abc import Sequence

import pytest

from datanode.agent import identity
from datanode.agent.network import MAINNET_ROOT_KEY
from datanode.auditing import (
    AuditedPart,
    AuditReport,
    Full,
    Mode,
    Outcome,
    Rolling,
    Sample,
    Scrub,
    audit_model,
)
from datanode.auditing.verifying import open_report
from datanode.digest import FrameDigest
from datanode.errors import (
    AuditIncompleteError,
    CertificateError,
    CorruptionError,
    NetworkError,
    NotFoundError,
)
from datanode.node.port import FrameAbsence, ManifestPart, NodeStatus
from datanode.reader import Reader
from tests.fakes.checkpoints import (
    CHUNK_BYTES,
    Checkpoint,
    checkpoint,
    seal,
    sealed,
    some_bytes,
)
from tests.fakes.memory_node import MemoryNode
from tests.fakes.memory_world import CONTROLLER

FILES = {
    "a.bin": some_bytes(3 * CHUNK_BYTES),
    "b.bin": some_bytes(20 * CHUNK_BYTES - 1, seed=1),
    "c.json": b"{}",
}


@pytest.fixture
def node() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
def model(node: MemoryNode) -> Checkpoint:
    return sealed(node, "llama", FILES)


def audit(node: MemoryNode, mode: Mode | None = None, **options: object) -> AuditReport:
    reader = Reader(node, root_key=node.root_key, clock_ns=node.world.clock)
    return audit_model(
        reader,
        "llama",
        mode,
        prover=node.world,
        clock_ns=node.world.clock,
        **options,  # type: ignore[arg-type]
    )


def bad(report: AuditReport) -> dict[int, Outcome]:
    return {finding.index: finding.outcome for finding in report.findings}


def test_a_healthy_model_passes_with_every_chunk_checked(
    node: MemoryNode, model: Checkpoint
) -> None:
    report = audit(node)
    assert (report.verdict, report.error(), report.findings) == ("ok", None, ())
    assert report.counts[Outcome.OK] == report.chunk_count == len(model.records) == 24
    assert report.sentence == (
        "checked all 24 chunks, and the SHA-256 of each file whose chunks are good"
    )
    assert [(run.first, run.count) for part, run in report.checks if part is AuditedPart.FILE] == [
        (0, 3)
    ]
    assert (report.manifest, report.version, report.latest) == (model.manifest, 1, 1)
    assert report.freezing_days == 1_000
    assert report.canister is not None
    assert report.canister.module_hash == node.world.module_hash
    assert report.canister.controllers == (CONTROLLER,)


def test_each_bad_chunk_is_found_named_and_stops_nothing(
    node: MemoryNode, model: Checkpoint
) -> None:
    node.world.corrupt(model.records[4].frame)
    node.world.lose(model.records[9].frame)
    report = audit(node)
    assert bad(report) == {4: Outcome.CORRUPT, 9: Outcome.MISSING}
    assert report.counts[Outcome.OK] == 22
    assert isinstance(report.error(), CorruptionError)
    first, second = report.findings
    assert (first.file, first.tensor) == ("b.bin", "b.bin.weight")
    assert (first.offset_bytes, second.offset_bytes) == (CHUNK_BYTES, 6 * CHUNK_BYTES)
    assert first.frame == model.records[4].frame.hex()
    assert first.content == model.records[4].content.hex()


def test_a_frame_that_the_network_does_not_bring_is_not_called_corrupt(
    node: MemoryNode, model: Checkpoint
) -> None:
    node.world.unreachable.add(model.records[4].frame)
    report = audit(node)
    assert bad(report) == {4: Outcome.CONTAINED}
    assert report.verdict == "incomplete"
    assert isinstance(report.error(), AuditIncompleteError)


def test_corruption_outweighs_what_could_not_be_checked(
    node: MemoryNode, model: Checkpoint
) -> None:
    node.world.unreachable.add(model.records[4].frame)
    node.world.corrupt(model.records[5].frame)
    assert isinstance(audit(node).error(), CorruptionError)


class Fading(MemoryNode):
    """Stops answering after a number of reads of frames."""

    answers = 0
    asked = 0

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        self.asked += 1
        if self.asked > self.answers:
            raise NetworkError("gone")
        return super().get_frames(model, manifest, chunks)

    def status(self) -> NodeStatus:
        raise NetworkError("gone")


def test_a_dead_network_ends_an_audit_soon(node: MemoryNode, model: Checkpoint) -> None:
    fading = Fading(node.world)
    report = audit(fading, jobs=1)
    assert set(bad(report).values()) == {Outcome.UNREACHABLE}
    assert len(report.findings) == 24
    assert fading.asked == 3
    assert report.interface_version == 0


def test_a_lie_that_is_told_once_is_not_a_finding(node: MemoryNode, model: Checkpoint) -> None:
    class Stuttering(MemoryNode):
        told = False

        def get_frames(
            self, model: str, manifest: FrameDigest, chunks: Sequence[int]
        ) -> list[bytes | FrameAbsence]:
            answers = super().get_frames(model, manifest, chunks)
            if not self.told:
                self.told = True
                answers[0] = b"junk"
                answers[1] = FrameAbsence.MISSING
            return answers

    assert audit(Stuttering(node.world)).verdict == "ok"


def test_a_bad_chunk_page_hides_its_chunks_and_is_a_finding(
    node: MemoryNode, model: Checkpoint
) -> None:
    reader = Reader(node, root_key=node.root_key, clock_ns=node.world.clock)
    (page,) = reader.open_version("llama").head.chunk_pages
    node.world.corrupt(page)
    report = audit(node)
    parts = [(finding.part, finding.outcome) for finding in report.findings]
    assert parts[0] == (AuditedPart.CHUNK_PAGE, Outcome.CORRUPT)
    assert parts[1:] == [(AuditedPart.CHUNK, Outcome.UNKNOWN)] * 24
    assert isinstance(report.error(), CorruptionError)
    assert open_report(report.to_json(), root_key=node.root_key)[0].error() is not None


@pytest.mark.parametrize("part", [ManifestPart.TENSOR_PAGE, ManifestPart.PLACEMENT])
def test_a_bad_part_of_the_manifest_is_a_finding_in_every_mode(
    node: MemoryNode, model: Checkpoint, part: ManifestPart
) -> None:
    reader = Reader(node, root_key=node.root_key, clock_ns=node.world.clock)
    version = reader.open_version("llama")
    pages = version.head.tensor_pages
    node.world.lose(pages[0] if part is ManifestPart.TENSOR_PAGE else model.placement)
    node.world.corrupt(model.records[0].frame)
    for mode in (Full(), Sample(24)):
        report = audit(node, mode)
        kinds = {(finding.part.value, finding.outcome) for finding in report.findings}
        assert kinds == {(part.value, Outcome.MISSING), ("chunk", Outcome.CORRUPT)}


def test_a_model_that_vanishes_meanwhile_is_missing(node: MemoryNode, model: Checkpoint) -> None:
    class Vanishing(MemoryNode):
        def get_frames(
            self, model: str, manifest: FrameDigest, chunks: Sequence[int]
        ) -> list[bytes | FrameAbsence]:
            raise NotFoundError("no model")

    assert set(bad(audit(Vanishing(node.world))).values()) == {Outcome.MISSING}


def test_an_audit_may_take_longer_than_a_certificate_is_fresh(
    node: MemoryNode, model: Checkpoint
) -> None:
    class Slow(MemoryNode):
        def get_frames(
            self, model: str, manifest: FrameDigest, chunks: Sequence[int]
        ) -> list[bytes | FrameAbsence]:
            self.world.clock.advance(3_600)
            return super().get_frames(model, manifest, chunks)

    report = audit(Slow(node.world))
    assert report.verdict == "ok"
    assert report.canister is not None
    assert open_report(report.to_json(), root_key=node.root_key)[0] == report


def test_a_forged_statement_about_the_canister_ends_the_audit(
    node: MemoryNode, model: Checkpoint
) -> None:
    class Forger:
        def canister_certificate(self, paths: Sequence[Sequence[bytes]]) -> bytes:
            return b"forged"

    class Silent:
        def canister_certificate(self, paths: Sequence[Sequence[bytes]]) -> bytes:
            raise NetworkError("gone")

    reader = Reader(node, root_key=node.root_key, clock_ns=node.world.clock)
    with pytest.raises(CertificateError):
        audit_model(reader, "llama", prover=Forger(), clock_ns=node.world.clock)
    report = audit_model(reader, "llama", prover=Silent(), clock_ns=node.world.clock)
    assert (report.canister, report.verdict) == (None, "ok")


def test_a_sample_is_drawn_after_the_certificate_and_finds_what_it_meets(
    node: MemoryNode, model: Checkpoint
) -> None:
    node.world.corrupt(model.records[7].frame)
    order: list[str] = []

    def choose(indices: Sequence[int], count: int) -> list[int]:
        order.append(f"drawn after {node.world.queries} queries")
        return [21, 7, 2][:count]

    report = audit(node, Sample(3), choose=choose)
    assert order == ["drawn after 2 queries"]
    assert bad(report) == {7: Outcome.CORRUPT}
    assert [(run.first, run.count) for part, run in report.checks if part is AuditedPart.CHUNK] == [
        (2, 1),
        (7, 1),
        (21, 1),
    ]
    assert "sampled 3 of 24 chunks; had 1 % been bad (1), this would have" in report.sentence
    assert report.sentence.endswith("missed it with probability 0.88")


def test_rolling_audits_cover_every_chunk_once(node: MemoryNode, model: Checkpoint) -> None:
    seen: list[int] = []
    for part in (1, 2, 3, 4, 5):
        for kind, run in audit(node, Rolling(part, 5)).checks:
            if kind is AuditedPart.CHUNK:
                seen += range(run.first, run.first + run.count)
    assert sorted(seen) == list(range(24))


def test_progress_is_told_chunk_by_chunk(node: MemoryNode, model: Checkpoint) -> None:
    told: list[tuple[Outcome, int]] = []
    audit(node, on_checked=lambda outcome, total: told.append((outcome, total)))
    assert told == [(Outcome.OK, 24)] * 24


def test_nothing_is_audited_without_proof(node: MemoryNode, model: Checkpoint) -> None:
    reader = Reader(node, root_key=MAINNET_ROOT_KEY, clock_ns=node.world.clock)
    with pytest.raises(CertificateError):
        audit_model(reader, "llama")


def test_a_model_without_chunks_passes(node: MemoryNode) -> None:
    sealed(node, "llama", {"empty": b""})
    for mode in (Full(), Sample(5), Rolling(1, 2)):
        report = audit(node, mode)
        assert report.verdict == "ok"
        open_report(report.to_json(), root_key=node.root_key)


def test_an_anonymous_auditor_signs_nothing(node: MemoryNode, model: Checkpoint) -> None:
    text = audit(node).to_json(identity.anonymous())
    assert json.loads(text)["seal"]["signature"] is None
    assert open_report(text, root_key=node.root_key)[1] is None


def test_model_deleted_during_an_audit_is_not_called_corrupt(
    node: MemoryNode, model: Checkpoint
) -> None:
    class Deleting(MemoryNode):
        def get_frames(
            self, model: str, manifest: FrameDigest, chunks: Sequence[int]
        ) -> list[bytes | FrameAbsence]:
            if "llama" in self.world.store.models:
                self.delete_model("llama")
            return super().get_frames(model, manifest, chunks)

    with pytest.raises(NotFoundError, match="was deleted while it was audited"):
        audit(Deleting(node.world))


def test_model_deleted_before_its_pages_are_read_is_not_called_corrupt(
    node: MemoryNode, model: Checkpoint
) -> None:
    class Deleting(MemoryNode):
        def get_manifest(
            self, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
        ) -> bytes:
            if part is not ManifestPart.HEAD and "llama" in self.world.store.models:
                self.delete_model("llama")
            return super().get_manifest(model, manifest, part, index)

    for mode in (Full(), Scrub()):
        with pytest.raises(NotFoundError, match="was deleted while it was audited"):
            audit(Deleting(node.world), mode)
        sealed(node, "llama", FILES)


def test_node_that_certifies_and_denies_is_corrupt(node: MemoryNode, model: Checkpoint) -> None:
    class Denying(MemoryNode):
        def get_manifest(
            self, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
        ) -> bytes:
            if part is ManifestPart.CHUNK_PAGE:
                raise NotFoundError("no model")
            return super().get_manifest(model, manifest, part, index)

    report = audit(Denying(node.world))
    assert report.findings[0].outcome is Outcome.MISSING
    assert report.verdict == "corrupt"


def test_file_that_was_sealed_with_another_sha256_is_found(node: MemoryNode) -> None:
    files = FILES | {"empty": b""}
    wrong = checkpoint(node, files, sha256={"b.bin": bytes(32), "empty": bytes(32)})
    seal(node, "llama", wrong)
    report = audit(node)
    found = [(finding.part, finding.file, finding.outcome) for finding in report.findings]
    assert found == [
        (AuditedPart.FILE, "b.bin", Outcome.CORRUPT),
        (AuditedPart.FILE, "empty", Outcome.CORRUPT),
    ]
    assert isinstance(report.error(), CorruptionError)
    assert open_report(report.to_json(), root_key=node.root_key)[0] == report
    assert audit(node, Sample(24)).verdict == "ok", "a sample does not read whole files"


def test_file_with_a_bad_chunk_is_not_judged_as_a_whole(
    node: MemoryNode, model: Checkpoint
) -> None:
    node.world.corrupt(model.records[4].frame)
    judged = [run for part, run in audit(node).checks if part is AuditedPart.FILE]
    assert [(run.first, run.count) for run in judged] == [(0, 1), (2, 1)]
