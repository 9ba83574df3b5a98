"""A scrub has the node re-hash what it holds."""

from collections.abc import Sequence

import pytest

from datanode.auditing import AuditReport, Outcome, Scrub, audit_model, verify_report
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
    assert "re-hashed all its frames by consensus" in report.sentence
    assert verify_report(report.to_json(), root_key=node.root_key).report == report


def test_a_scrub_judges_no_chunk_whose_page_is_bad(node: MemoryNode, model: Checkpoint) -> None:
    reader = Reader(node, root_key=node.root_key, clock_ns=node.world.clock)
    (page,) = reader.open_version("llama").head.chunk_pages
    node.world.lose(page)
    report = scrub(node)
    assert report.counts[Outcome.UNKNOWN] == 11
    assert verify_report(report.to_json(), root_key=node.root_key).error() is not None


def test_a_scrub_without_end_is_refused(
    node: MemoryNode, model: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datanode.auditing.walk.MAX_SCRUBBED", 5)
    step = ScrubStep(next_cursor=b"more", checked_count=0, corrupt=())
    monkeypatch.setattr(MemoryNode, "scrub", lambda *_: step)
    with pytest.raises(FormatError, match="does not end"):
        scrub(node)


def test_a_scrub_needs_a_controller(node: MemoryNode, model: Checkpoint) -> None:
    reader = Principal(b"\1")
    node.grant(Grant(to=reader, role=Role.READER, model="llama"))
    with pytest.raises(UnauthorizedError):
        scrub(node.as_caller(reader))
