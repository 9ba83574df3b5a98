"""The walk over a version: every check has an outcome, and a bad one does not stop the rest.

What fails is asked for once more, alone, before it is called bad: one replica may lag or lie, and
a finding must survive a second answer. After `GIVE_UP` failures of the network in a row nothing
more is asked, so that a dead network ends an audit soon. When the node no longer knows the model,
its certificate decides: a version that is gone was deleted, one that is still certified is damaged.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, groupby
from typing import Final

from datanode.auditing.outcomes import AuditedPart, Outcome
from datanode.auditing.scrubbing import Scrubbed, scrub_node
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
from datanode.reader.frames import FrameReply, Wanted, read_frames
from datanode.reader.version import VerifiedVersion

GIVE_UP: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkCheck:
    """The outcome of one check.

    Attributes:
        part: What was looked at.
        index: Its position.
        outcome: What became of it.
        detail: In words, unless OK.
        record: What the manifest says of a chunk, where its page could be read.
        raw: Raw bytes of a chunk that was read and is good.
    """

    part: AuditedPart
    index: int
    outcome: Outcome
    detail: str = ""
    record: ChunkRecord | None = None
    raw: bytes = field(default=b"", repr=False)


@dataclass(slots=True)
class Walk:
    """Checks parts of one version.

    Attributes:
        version: What is audited.
        node: The node that holds it.
        jobs: Queries in flight.
        is_certified: Asks whether the node still certifies the version.
        pages: Frames of the chunk pages that were verified, by index.
    """

    version: VerifiedVersion
    node: StorageNode
    jobs: int
    is_certified: Callable[[], bool]
    pages: dict[int, bytes] = field(default_factory=dict)

    def parts(self) -> Iterator[ChunkCheck]:
        """Check the head, the pages of tensors and the placement record."""
        # There is no version without its head: it was verified when the version was opened.
        yield ChunkCheck(part=AuditedPart.HEAD, index=0, outcome=Outcome.OK)
        for index in range(len(self.version.head.tensor_pages)):
            yield self._part(
                AuditedPart.TENSOR_PAGE, index, partial(self.version.tensor_page, index)
            )
        yield self._part(AuditedPart.PLACEMENT, 0, self.version.placement)

    def chunks(self, drawn: Sequence[int]) -> Iterator[ChunkCheck]:
        """Check chunks by reading them; their pages are checked on the way."""
        for page, indices in groupby(drawn, lambda index: index // MAX_CHUNKS_A_PAGE):
            records, check = self._page(page)
            first = page * MAX_CHUNKS_A_PAGE
            yield check
            if records is None:
                yield from _unreadable(page, indices)
                continue
            yield from self._read((index, records[index - first]) for index in indices)

    def files(self, checks: Iterable[ChunkCheck]) -> Iterator[ChunkCheck]:
        """Compare the SHA-256 of each file as its chunks go by; all of them must go by, in order.

        A file with a chunk that is not good has no bytes to be compared: its chunks are findings.
        """
        left = iter(enumerate(self.version.head.files))
        current = next(left, None)
        sha256, length_bytes, is_good = hashlib.sha256(), 0, True

        def finish(until: int) -> Iterator[ChunkCheck]:
            nonlocal current, sha256, length_bytes, is_good
            while current is not None:
                index, entry = current
                if entry.first_chunk + entry.chunk_count > until:
                    return
                if is_good:
                    is_whole = (length_bytes, sha256.digest()) == (entry.length_bytes, entry.sha256)
                    yield ChunkCheck(
                        part=AuditedPart.FILE,
                        index=index,
                        outcome=Outcome.OK if is_whole else Outcome.CORRUPT,
                        detail="" if is_whole else _SEALED_WRONG,
                    )
                current = next(left, None)
                sha256, length_bytes, is_good = hashlib.sha256(), 0, True

        for check in checks:
            if check.part is AuditedPart.CHUNK:
                yield from finish(check.index)
                sha256.update(check.raw)
                length_bytes += len(check.raw)
                is_good = is_good and check.outcome is Outcome.OK
            yield check
        yield from finish(self.version.head.chunk_count)

    def scrub(self) -> Iterator[ChunkCheck]:
        """Have the node re-hash its frames, and judge every frame that the manifest names.

        A frame is good only if the node names it as checked and finds nothing wrong with it. Where
        a node names damaged frames only, the others are read as well.
        """
        parts = [*self.parts(), *self._pages()]
        bad_pages = {check.index for check in parts if _is_bad_page(check)}
        scrubbed = scrub_node(self.node, self._frames(bad_pages))
        if not scrubbed.names_checked:
            yield from self._read_beside(scrubbed)
            return
        for check in parts:
            digest = self._digest_of(check.part, check.index)
            is_read = check.outcome is Outcome.OK
            yield _judged(scrubbed, check.part, check.index, digest) if is_read else check
        for page in range(len(self.version.head.chunk_pages)):
            first = page * MAX_CHUNKS_A_PAGE
            if page in bad_pages:
                last = min(first + MAX_CHUNKS_A_PAGE, self.version.head.chunk_count)
                yield from _unreadable(page, range(first, last))
                continue
            for index, record in enumerate(self._records(page), first):
                yield _judged(scrubbed, AuditedPart.CHUNK, index, record.frame, record)

    def _read_beside(self, scrubbed: Scrubbed) -> Iterator[ChunkCheck]:
        """Read everything, and take the node's word for what it calls damaged."""
        for check in chain(self.parts(), self.chunks(range(self.version.head.chunk_count))):
            record = check.record
            if record is None or record.frame not in scrubbed.corrupt:
                yield check
            else:
                yield _judged(scrubbed, check.part, check.index, record.frame, record)

    def _pages(self) -> Iterator[ChunkCheck]:
        for page in range(len(self.version.head.chunk_pages)):
            yield self._page(page)[1]

    def _frames(self, bad_pages: set[int]) -> set[FrameDigest]:
        """Collect the digests of all frames that the manifest names and that can be known."""
        head = self.version.head
        known = {self.version.manifest, self.version.trusted.placement}
        known.update(head.chunk_pages, head.tensor_pages)
        for page in range(len(head.chunk_pages)):
            if page not in bad_pages:
                known.update(record.frame for record in self._records(page))
        return known

    def _records(self, page: int) -> Sequence[ChunkRecord]:
        """Read the records of a page that was verified before."""
        return proof.trust_chunk_page(self.version.head, page, self.pages[page])

    def _digest_of(self, part: AuditedPart, index: int) -> FrameDigest:
        match part:
            case AuditedPart.CHUNK_PAGE:
                return self.version.head.chunk_pages[index]
            case AuditedPart.TENSOR_PAGE:
                return self.version.head.tensor_pages[index]
            case AuditedPart.PLACEMENT:
                return self.version.trusted.placement
        return self.version.manifest

    def _page(self, index: int) -> tuple[Sequence[ChunkRecord] | None, ChunkCheck]:
        records: list[ChunkRecord] = []

        def read() -> None:
            frame, page = self.version.chunk_page_with_frame(index)
            self.pages[index] = frame
            records.extend(page)

        check = self._part(AuditedPart.CHUNK_PAGE, index, read)
        return (records if check.outcome is Outcome.OK else None), check

    def _part(self, part: AuditedPart, index: int, read: Callable[[], object]) -> ChunkCheck:
        for last in (False, True):
            try:
                read()
            except DataNodeError as error:
                if last:
                    outcome = self._confirmed(self._outcome_of(error, alone=True))
                    return ChunkCheck(part=part, index=index, outcome=outcome, detail=error.what)
            else:
                break
        return ChunkCheck(part=part, index=index, outcome=Outcome.OK)

    def _read(self, wanted: Iterable[Wanted]) -> Iterator[ChunkCheck]:
        node = _Patient(self.node)
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

    def _again(self, node: "_Patient", wish: Wanted) -> ChunkCheck:
        try:
            (frame,) = node.get_frames(self.version.model, self.version.manifest, [wish[0]])
        except NotFoundError as error:
            outcome = self._confirmed(Outcome.MISSING)
            return ChunkCheck(
                part=AuditedPart.CHUNK,
                index=wish[0],
                outcome=outcome,
                detail=error.what,
                record=wish[1],
            )
        except DataNodeError as error:
            return self._judge(FrameReply(*wish, error), alone=not node.has_given_up)
        return self._judge(FrameReply(*wish, frame), alone=True)

    def _confirmed(self, outcome: Outcome) -> Outcome:
        """Confirm that what is missing belongs to a version that the node still certifies.

        Raises:
            NotFoundError: It does not: the version was deleted meanwhile.
        """
        if outcome is not Outcome.MISSING:
            return outcome
        try:
            if self.is_certified():
                return outcome
        except NetworkError:
            return Outcome.UNREACHABLE
        raise NotFoundError(
            f"version {self.version.version} of {self.version.model} was deleted while it was "
            "audited, or this identity may no longer read it",
            safe="Nothing wrong was found before that.",
        )

    def _judge(self, answer: FrameReply, *, alone: bool) -> ChunkCheck:
        outcome, detail, raw = Outcome.OK, "", b""
        try:
            if isinstance(answer.frame, DataNodeError):
                raise answer.frame
            if isinstance(answer.frame, FrameAbsence):
                outcome, detail = _ABSENCES[answer.frame]
            else:
                raw = proof.trust_chunk(answer.record, answer.frame)
        except DataNodeError as error:
            outcome, detail = self._outcome_of(error, alone=alone), error.what
        return ChunkCheck(
            part=AuditedPart.CHUNK,
            index=answer.index,
            outcome=outcome,
            detail=detail,
            record=answer.record,
            raw=raw,
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
            self.node.status()
        except DataNodeError:
            return False
        return True


_SEALED_WRONG: Final = (
    "its chunks are what the manifest names, and their SHA-256 is not the file's: "
    "the version was sealed wrong"
)
_ABSENCES: Final = {
    FrameAbsence.MISSING: (Outcome.MISSING, "the node says that it has lost the frame"),
    FrameAbsence.ELSEWHERE: (Outcome.UNKNOWN, "the frame lies on another node of the fleet"),
    FrameAbsence.DID_NOT_FIT: (Outcome.UNKNOWN, "the node does not answer what it was asked"),
}


def _is_bad_page(check: ChunkCheck) -> bool:
    return check.part is AuditedPart.CHUNK_PAGE and check.outcome is not Outcome.OK


def _unreadable(page: int, indices: Iterable[int]) -> Iterator[ChunkCheck]:
    """Checks of chunks that cannot be judged, for want of their page."""
    for index in indices:
        detail = f"chunk page {page} could not be read"
        yield ChunkCheck(
            part=AuditedPart.CHUNK, index=index, outcome=Outcome.UNKNOWN, detail=detail
        )


def _judged(
    scrubbed: Scrubbed,
    part: AuditedPart,
    index: int,
    digest: FrameDigest,
    record: ChunkRecord | None = None,
) -> ChunkCheck:
    outcome, detail = scrubbed.judge(digest)
    return ChunkCheck(part=part, index=index, outcome=outcome, detail=detail, record=record)


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
