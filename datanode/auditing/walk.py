"""The walk over a version: every check has an outcome, and no bad one stops the rest.

What fails is asked for once more, alone, before it is called bad: one replica may lag or lie, and
a finding must survive a second answer. After `GIVE_UP` failures of the network in a row nothing
more is asked, so that a dead network ends an audit soon.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Final

from datanode.auditing.outcomes import Outcome, Part
from datanode.digest import FrameDigest
from datanode.errors import (
    CorruptionError,
    DataNodeError,
    FormatError,
    NetworkError,
    NotFoundError,
)
from datanode.limits import MAX_CHUNKS_A_PAGE
from datanode.model import ChunkRecord
from datanode.node.port import FrameAbsence, StorageNode
from datanode.reader import proof
from datanode.reader.frames import Answer, Wanted, read_frames
from datanode.reader.version import VerifiedVersion
from datanode.units import MIB

GIVE_UP: Final = 3
SCRUB_STEP_BYTES: Final = 512 * MIB
"""Bytes that the node re-hashes in one message: 7e9 instructions at 14 a byte."""
MAX_SCRUBBED: Final = 1 << 22
"""Most steps of a scrub, or damaged frames that it names: a node could go on for ever. Ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The outcome of one check.

    Attributes:
        part: What was looked at.
        index: Its position.
        outcome: What became of it.
        detail: In words, unless OK.
        record: What the manifest says of a chunk, where its page could be read.
    """

    part: Part
    index: int
    outcome: Outcome
    detail: str = ""
    record: ChunkRecord | None = None


@dataclass(slots=True)
class Walk:
    """Checks parts of one version.

    Attributes:
        version: What is audited.
        jobs: Queries in flight.
        pages: Frames of the chunk pages that were verified, by index.
    """

    version: VerifiedVersion
    jobs: int
    pages: dict[int, bytes] = field(default_factory=dict)

    def parts(self) -> Iterator[Check]:
        """Check the pages of tensors and the placement record."""
        for index in range(len(self.version.head.tensor_pages)):
            yield self._part(Part.TENSOR_PAGE, index, partial(self.version.tensor_page, index))
        yield self._part(Part.PLACEMENT, 0, self.version.placement)

    def chunks(self, drawn: Sequence[int]) -> Iterator[Check]:
        """Check chunks by reading them; their pages are checked on the way."""
        for page, indices in groupby(drawn, lambda index: index // MAX_CHUNKS_A_PAGE):
            records, check = self._page(page)
            first = page * MAX_CHUNKS_A_PAGE
            if records is None:
                yield from _unreadable(check, indices)
                continue
            yield from self._read((index, records[index - first]) for index in indices)

    def scrub(self) -> Iterator[Check]:
        """Have the node re-hash everything, and say which chunks it found damaged."""
        corrupt = set(_scrub(self.version.node))
        for page in range(len(self.version.head.chunk_pages)):
            records, check = self._page(page)
            first = page * MAX_CHUNKS_A_PAGE
            if records is None:
                last = min(first + MAX_CHUNKS_A_PAGE, self.version.head.chunk_count)
                yield from _unreadable(check, range(first, last))
                continue
            for index, record in enumerate(records, first):
                bad = record.frame in corrupt
                yield Check(
                    part=Part.CHUNK,
                    index=index,
                    outcome=Outcome.CORRUPT if bad else Outcome.OK,
                    detail="re-hashed by the node, by consensus" if bad else "",
                    record=record,
                )

    def _page(self, index: int) -> tuple[Sequence[ChunkRecord] | None, Check]:
        records: list[ChunkRecord] = []

        def read() -> None:
            frame, page = self.version.chunk_page_with_frame(index)
            self.pages[index] = frame
            records.extend(page)

        check = self._part(Part.CHUNK_PAGE, index, read)
        return (records if check.outcome is Outcome.OK else None), check

    def _part(self, part: Part, index: int, read: Callable[[], object]) -> Check:
        for last in (False, True):
            try:
                read()
            except DataNodeError as error:
                outcome = self._outcome_of(error, alone=last)
                if last:
                    detail = error.what
                    return Check(part=part, index=index, outcome=outcome, detail=detail)
            else:
                break
        return Check(part=part, index=index, outcome=Outcome.OK)

    def _read(self, wanted: Iterable[Wanted]) -> Iterator[Check]:
        node = _Patient(self.version.node)
        checks = read_frames(
            node,
            self.version.model,
            self.version.manifest,
            wanted,
            lambda answer: self._judge(answer, alone=False),
            jobs=self.jobs,
        )
        for check in checks:
            if check.outcome is Outcome.OK or check.record is None:
                yield check
            else:
                yield self._again(node, (check.index, check.record))

    def _again(self, node: "_Patient", wish: Wanted) -> Check:
        try:
            (frame,) = node.get_frames(self.version.model, self.version.manifest, [wish[0]])
        except DataNodeError as error:
            return self._judge(Answer(*wish, error), alone=not node.has_given_up)
        return self._judge(Answer(*wish, frame), alone=True)

    def _judge(self, answer: Answer, *, alone: bool) -> Check:
        outcome, detail = Outcome.OK, ""
        try:
            if isinstance(answer.frame, DataNodeError):
                raise answer.frame
            if isinstance(answer.frame, FrameAbsence):
                outcome, detail = _ABSENCES[answer.frame]
            else:
                proof.trust_chunk(answer.record, answer.frame)
        except DataNodeError as error:
            outcome, detail = self._outcome_of(error, alone=alone), error.what
        return Check(
            part=Part.CHUNK,
            index=answer.index,
            outcome=outcome,
            detail=detail,
            record=answer.record,
        )

    def _outcome_of(self, error: DataNodeError, *, alone: bool) -> Outcome:
        if isinstance(error, NotFoundError):
            return Outcome.MISSING
        if isinstance(error, CorruptionError | FormatError):
            return Outcome.CORRUPT
        if not isinstance(error, NetworkError):
            return Outcome.UNKNOWN
        return Outcome.CONTAINED if alone and self._node_answers() else Outcome.UNREACHABLE

    def _node_answers(self) -> bool:
        try:
            self.version.node.status()
        except DataNodeError:
            return False
        return True


_ABSENCES: Final = {
    FrameAbsence.MISSING: (Outcome.MISSING, "the node says that it has lost the frame"),
    FrameAbsence.ELSEWHERE: (Outcome.UNKNOWN, "the frame lies on another node of the fleet"),
    FrameAbsence.DID_NOT_FIT: (Outcome.UNKNOWN, "the node does not answer what it was asked"),
}


def _unreadable(page: Check, indices: Iterable[int]) -> Iterator[Check]:
    """A page that is not there, and what therefore cannot be judged."""
    yield page
    for index in indices:
        detail = f"chunk page {page.index} could not be read"
        yield Check(part=Part.CHUNK, index=index, outcome=Outcome.UNKNOWN, detail=detail)


def _scrub(node: StorageNode) -> Iterator[FrameDigest]:
    cursor: bytes | None = b""
    count = 0
    while cursor is not None:
        step = node.scrub(cursor, SCRUB_STEP_BYTES)
        count += max(1, len(step.corrupt))
        if count > MAX_SCRUBBED:
            raise FormatError("the node's scrub does not end")
        yield from step.corrupt
        cursor = step.next_cursor


class _Patient:
    """Asks for frames until the network has failed too often in a row."""

    def __init__(self, node: StorageNode) -> None:
        self._node = node
        self._failures = 0

    @property
    def has_given_up(self) -> bool:
        return self._failures >= GIVE_UP

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        if self.has_given_up:
            raise NetworkError("not asked: the network has failed too often in a row")
        try:
            frames = self._node.get_frames(model, manifest, chunks)
        except NetworkError:
            self._failures += 1
            raise
        self._failures = 0
        return frames
