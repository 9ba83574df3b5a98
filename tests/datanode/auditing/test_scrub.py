"""A scrub has the node re-hash what it holds."""

from collections.abc import Sequence

import pytest

from datanode.auditing import AuditedPart, AuditReport, Outcome, Scrub, audit_model
from datanode.auditing.verifying import open_report
from datanode.digest import FrameDigest
from datanode.errors import FormatError, UnauthorizedError
from datanode.node.port import FrameAbsence, Grant, Role, ScrubStep
from datanode.principal import Principal
from datanode.reader import Reader
from tests.fakes.checkpoints import Checkpoint, sealed
from tests.fakes.memory_node import MemoryNode


@pytest.fixture
def node() -> MemoryNode:
    return MemoryNode()


@pytest.fixture
def model(node: MemoryNode) -> Checkpoint:
    return sealed(node, "llama")


def scrub(node: MemoryNode) -> AuditReport:
    reader = Reader(node, root_key=node.root_key, clock_ns=node.world.clock)
    return audit_model(reader, "llama", Scrub(), prover=node.world, clock_ns=node.world.clock)


class Unread(MemoryNode):
    """Gives no frames."""

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        raise AssertionError("a scrub reads no frames")


def test_a_scrub_moves_no_frames_and_finds_damage(node: MemoryNode, model: Checkpoint) -> None:
    node.world.corrupt(model.records[4].frame)
    report = scrub(Unread(node.world))
    assert {finding.index: finding.outcome for finding in report.findings} == {4: Outcome.CORRUPT}
    assert report.counts[Outcome.OK] == 10
    assert "re-hashed by consensus" in report.sentence
    assert open_report(report.to_json(), root_key=node.root_key)[0] == report


def test_a_scrub_judges_no_chunk_whose_page_is_bad(node: MemoryNode, model: Checkpoint) -> None:
    reader = Reader(node, root_key=node.root_key, clock_ns=node.world.clock)
    (page,) = reader.open_version("llama").head.chunk_pages
    node.world.lose(page)
    report = scrub(node)
    assert report.counts[Outcome.UNKNOWN] == 11
    assert open_report(report.to_json(), root_key=node.root_key)[0].error() is not None


def test_a_scrub_without_end_is_refused(
    node: MemoryNode, model: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datanode.auditing.scrubbing.MAX_STEPS", 5)
    step = ScrubStep(next_cursor=b"more", checked=(), corrupt=())
    monkeypatch.setattr(MemoryNode, "scrub", lambda *_: step)
    with pytest.raises(FormatError, match="does not end"):
        scrub(node)


def test_a_scrub_needs_a_controller(node: MemoryNode, model: Checkpoint) -> None:
    reader = Principal(b"\1")
    node.grant(Grant(to=reader, role=Role.READER, model="llama"))
    with pytest.raises(UnauthorizedError):
        scrub(node.as_caller(reader))


class Forgetful(MemoryNode):
    """Answers reads, and leaves frames out of its scrubs."""

    forgotten: frozenset[FrameDigest] = frozenset()

    def scrub(self, cursor: bytes, max_bytes: int) -> ScrubStep:
        step = super().scrub(cursor, max_bytes)
        left = tuple(digest for digest in step.checked if digest not in self.forgotten)
        return ScrubStep(next_cursor=None, checked=left, corrupt=step.corrupt)


def _parts(node: MemoryNode, model: Checkpoint) -> dict[tuple[AuditedPart, int], FrameDigest]:
    head = (
        Reader(node, root_key=node.root_key, clock_ns=node.world.clock).open_version("llama").head
    )
    return {
        (AuditedPart.HEAD, 0): model.manifest,
        (AuditedPart.PLACEMENT, 0): model.placement,
        (AuditedPart.CHUNK_PAGE, 0): head.chunk_pages[0],
        (AuditedPart.TENSOR_PAGE, 0): head.tensor_pages[0],
        (AuditedPart.CHUNK, 5): model.records[5].frame,
    }


@pytest.mark.parametrize(
    "part",
    [
        AuditedPart.HEAD,
        AuditedPart.PLACEMENT,
        AuditedPart.CHUNK_PAGE,
        AuditedPart.TENSOR_PAGE,
        AuditedPart.CHUNK,
    ],
)
def test_frame_that_a_scrub_does_not_name_is_missing(
    node: MemoryNode, model: Checkpoint, part: AuditedPart
) -> None:
    parts = _parts(node, model)
    ((where, digest),) = [item for item in parts.items() if item[0][0] is part]
    forgetful = Forgetful(node.world)
    forgetful.forgotten = frozenset({digest})
    (finding,) = scrub(forgetful).findings
    assert ((finding.part, finding.index), finding.outcome) == (where, Outcome.MISSING)
    assert "did not name it" in finding.detail


@pytest.mark.parametrize(
    "part",
    [
        AuditedPart.HEAD,
        AuditedPart.PLACEMENT,
        AuditedPart.CHUNK_PAGE,
        AuditedPart.TENSOR_PAGE,
        AuditedPart.CHUNK,
    ],
)
def test_lost_reference_is_named_once_and_restored(
    node: MemoryNode, model: Checkpoint, part: AuditedPart
) -> None:
    ((where, digest),) = [item for item in _parts(node, model).items() if item[0][0] is part]
    node.world.unprotect(digest)
    report = scrub(node)
    (finding,) = report.findings
    assert ((finding.part, finding.index), finding.outcome) == (where, Outcome.UNPROTECTED)
    assert report.verdict == "corrupt"
    assert open_report(report.to_json(), root_key=node.root_key)[0] == report
    assert scrub(node).verdict == "ok"


def test_scrub_with_nothing_checked_is_not_ok(node: MemoryNode, model: Checkpoint) -> None:
    forgetful = Forgetful(node.world)
    forgetful.forgotten = frozenset(node.world.store.frames)
    report = scrub(forgetful)
    assert report.counts[Outcome.OK] == 0
    assert {finding.outcome for finding in report.findings} == {Outcome.MISSING}
