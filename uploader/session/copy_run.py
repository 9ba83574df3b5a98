"""Route every chunk of a version that is copied from another node.

The manifest names every frame, so nothing is read before it is known to be needed:

- its row is there, or this identity has brought this very frame to the node: it is pinned;
- the node holds the frame for another reason: it is read from the source, opened, then pinned;
- otherwise it is read from the source, opened and sent as it is stored.

A frame is opened once before this identity vouches for it with a seal: a manifest of somebody else
may name a content that its frame does not have.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from datanode.cleanup import rollback_on_error
from datanode.digest import FrameDigest
from datanode.limits import MAX_DIGESTS_A_CALL
from datanode.model import ChunkRecord
from datanode.node.port import StorageNode
from datanode.progress import Progress, Tally
from uploader.dedup import HeldContents
from uploader.session.copy_source import CopySource
from uploader.session.message_delivery import Stopping, raise_if_stopping
from uploader.session.message_sender import Parcel, Sender
from uploader.state.store import StateStore

_ASK_BATCH: Final = MAX_DIGESTS_A_CALL // 2
"""Contents asked for in one call: their records fill some 0.8 MB of a reply of 2 MiB. Ours."""
_ROW_BATCH: Final = 1_024


class _Way(IntEnum):
    """Next step of a chunk."""

    NOTHING = 0
    OPEN = 1
    SEND = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Frames that a node lacks."""

    frames_count: int
    frame_bytes: int


@dataclass(slots=True)
class CopyRun:
    """The chunk stages of one run of one copy; one thread calls it.

    Attributes:
        source: The version that is copied.
        upload_id: The upload in the database.
        lease_id: The lease on the node.
        node: Where frames go.
        state: The database.
        known: What the node holds.
        sender: Sends what it does not hold.
        progress: Listens.
        stopping: Turns true when the user wants to stop.
        known_bytes: Raw bytes that the node held before this run.
    """

    source: CopySource
    upload_id: int
    lease_id: int
    node: StorageNode
    state: StateStore
    known: HeldContents
    sender: Sender
    progress: Progress
    stopping: Stopping
    known_bytes: int = 0
    _ways: bytearray = field(init=False)
    _done: bytearray = field(init=False)
    _done_bytes: int = 0
    _waiting: dict[ChunkRecord, set[int]] = field(default_factory=dict)
    _pins: list[ChunkRecord] = field(default_factory=list)
    _rows: list[tuple[int, ChunkRecord, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ways = bytearray(self.chunk_count)
        self._done = bytearray(self.chunk_count)

    @property
    def chunk_count(self) -> int:
        """Chunks of the version."""
        return self.source.chunk_count

    def await_unresolved(self, parcels: Iterable[Parcel]) -> None:
        """Let chunks wait for messages whose outcome an earlier run never learnt."""
        for parcel in parcels:
            chunks = self._waiting.setdefault(parcel.record, set())
            if parcel.chunk_index is not None:
                chunks.add(parcel.chunk_index)

    def mark_unheld(self, frames: Sequence[FrameDigest]) -> None:
        """Believe no longer that the node holds these frames."""
        self.state.unlearn(self.node.principal, frames)
        self.known.mark_unheld(frames)

    def survey(self) -> Missing:
        """Ask the node, by consensus, what it lacks; pin what this identity brought there."""
        missing: dict[FrameDigest, int] = {}
        for first, records in self.source.pages():
            raise_if_stopping(self.stopping)
            for index, record in self._undecided(first, records):
                if self._ways[index] == _Way.SEND:
                    missing[record.frame] = record.frame_bytes
            self._flush()
        return Missing(frames_count=len(missing), frame_bytes=sum(missing.values()))

    def send_all(self) -> None:
        """Bring every chunk to the node; afterwards every chunk has a row.

        Raises:
            DataNodeError: What is stored by then stays; running again goes on from there.
        """
        with rollback_on_error(self._absorb):  # what arrived until then is reported all the same
            while True:
                for index, record, frame in self.source.frames(self._wanted()):
                    raise_if_stopping(self.stopping)
                    if self._ways[index] == _Way.SEND:
                        self.sender.add(Parcel(record=record, chunk_index=index, frame=frame))
                    else:
                        self._pins.append(record)
                        if len(self._pins) >= _ROW_BATCH:
                            self._pin()
                    self._absorb()
                self.sender.finish()
                self._absorb()
                self._flush()
                if not any(self._ways):
                    return

    def _undecided(
        self, first: int, records: Sequence[ChunkRecord]
    ) -> list[tuple[int, ChunkRecord]]:
        """Decide about the chunks of a page; return those that are not settled."""
        rows = dict(self.state.chunk_records(self.upload_id, first, len(records)))
        left: list[tuple[int, ChunkRecord]] = []
        for index, record in enumerate(records, first):
            if record in self._waiting:
                self._waiting[record].add(index)
            elif rows.get(index) == record:
                self._take(index, record)
            else:
                left.append((index, record))
        known = self._brought(record for _, record in left)
        for index, record in left:
            if record in known:
                self._take(index, record)
        left = [(index, record) for index, record in left if record not in known]
        frames = list(dict.fromkeys(record.frame for _, record in left))
        lacks: dict[FrameDigest, bool] = {}
        if frames:
            answers = self.node.missing_frames(self.lease_id, frames, replicated=True)
            lacks = dict(zip(frames, answers, strict=True))
        for index, record in left:
            self._ways[index] = _Way.SEND if lacks[record.frame] else _Way.OPEN
        return left

    def _brought(self, records: Iterable[ChunkRecord]) -> set[ChunkRecord]:
        """Return frames that this identity has brought to the node, with these very contents."""
        contents = sorted({record.content for record in records})
        found: set[ChunkRecord] = set()
        for start in range(0, len(contents), _ASK_BATCH):
            found.update(self.known.find(contents[start : start + _ASK_BATCH]).values())
        return found

    def _wanted(self) -> Iterator[tuple[int, ChunkRecord]]:
        """Yield the chunks to read; those that share a frame under way wait for it."""
        for first, records in self.source.pages():
            for index, record in enumerate(records, first):
                if not self._ways[index]:
                    continue
                if record in self._waiting:
                    self._waiting[record].add(index)
                    continue
                if record.frame in self.known.held:
                    self._ways[index] = _Way.OPEN
                self._waiting[record] = {index}
                yield index, record

    def _take(self, index: int, record: ChunkRecord) -> None:
        """Use a frame that this identity has brought to the node."""
        if not self.known.needs_pin(record):
            self._keep(index, record, known=True)
            return
        if record not in self._waiting:
            self._waiting[record] = set()
            self._pins.append(record)
        self._waiting[record].add(index)
        if len(self._pins) >= MAX_DIGESTS_A_CALL:
            self._pin()

    def _absorb(self) -> None:
        """Take over what became of parcels."""
        fates = self.sender.collect()
        for fate in fates:
            record = fate.parcel.record
            if fate.is_held and not fate.is_leased:
                self._pins.append(record)
                continue
            chunks = self._waiting.pop(record, set())
            if fate.is_held:
                self.known.hold([record.frame])
            for index in chunks:
                if fate.is_held:
                    self._keep(index, record, known=False)
                else:
                    self._ways[index] = _Way.SEND
        if fates:
            self._report()

    def _flush(self) -> None:
        self._pin()
        self._record()
        self._report()

    def _pin(self) -> None:
        pins, self._pins = list(dict.fromkeys(self._pins)), []
        for start in range(0, len(pins), MAX_DIGESTS_A_CALL):
            self._pin_batch(pins[start : start + MAX_DIGESTS_A_CALL])

    def _pin_batch(self, records: Sequence[ChunkRecord]) -> None:
        frames = list(dict.fromkeys(record.frame for record in records))
        answers = self.node.pin_frames(self.lease_id, frames)
        pinned = {frame for frame, held in zip(frames, answers, strict=True) if held}
        self.state.unlearn(self.node.principal, set(frames) - pinned)
        self.state.learn(self.node.principal, [r for r in records if r.frame in pinned])
        self.known.hold(pinned)
        for record in records:
            for index in self._waiting.pop(record, set()):
                if record.frame in pinned:
                    self._keep(index, record, known=True)
                else:
                    self._ways[index] = _Way.SEND

    def _keep(self, index: int, record: ChunkRecord, *, known: bool) -> None:
        """Settle a chunk; `known` if nothing was sent for it."""
        self._ways[index] = _Way.NOTHING
        self._rows.append((index, record, known))
        if len(self._rows) >= _ROW_BATCH:
            self._record()

    def _record(self) -> None:
        rows, self._rows = self._rows, []
        if not rows:
            return
        self.state.record_known(self.upload_id, [(index, record) for index, record, _ in rows])
        for index, record, known in rows:
            if not self._done[index]:
                self._done[index] = 1
                self._done_bytes += record.raw_bytes
                self.known_bytes += record.raw_bytes if known else 0

    def _report(self) -> None:
        spending = self.sender.spending
        self.progress.tally(
            Tally(
                total_bytes=self.source.version.raw_bytes,
                done_bytes=self._done_bytes,
                known_bytes=self.known_bytes,
                sent_bytes=spending.envelope_bytes,
                frames_count=spending.frames_count,
                messages_count=spending.messages_count,
                cycles=spending.cycles,
            )
        )
