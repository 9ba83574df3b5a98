"""Route every chunk of the source: skip, pin, wait or send.

Chunks are decided about in groups, in order, on one thread:

- its row is there: an earlier run settled it; it is not even read, only pinned if need be;
- its content is known: its frame is pinned under the lease, and nothing is encoded;
- its content is on its way: it waits for that frame and shares its fate;
- otherwise it is encoded, and the node is asked to pin the frame. If it holds none, the frame is
  sent.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from datanode.cleanup import rollback_on_error
from datanode.digest import ContentDigest, FrameDigest
from datanode.errors import SourceChangedError
from datanode.limits import MAX_DIGESTS_A_CALL
from datanode.model import ChunkRecord, ChunkSpec
from datanode.node.port import StorageNode
from datanode.progress import Progress, Tally
from uploader.chunker import Layout
from uploader.dedup import HeldContents
from uploader.session.claims import prove_claim
from uploader.session.encode_pipeline import GROUP_BYTES, ReadChunk, encoded, groups
from uploader.session.message_delivery import Stopping, raise_if_stopping
from uploader.session.message_sender import Parcel, Sender
from uploader.source.base import Source
from uploader.state.store import StateStore

_PIN_BATCH: Final = MAX_DIGESTS_A_CALL
_ROW_BATCH: Final = 256
"""Chunks that share a commit: an fsync takes longer than everything else about a small chunk."""

_Settled = tuple[ChunkSpec, ChunkRecord]


@dataclass(slots=True)
class ChunkRun:
    """The chunk stages of one run of one upload; one thread calls it.

    Attributes:
        source: The checkpoint.
        layout: Its chunks.
        upload_id: The upload in the database.
        lease_id: The lease on the node.
        node: Where frames go.
        state: The database.
        known: What the node holds.
        sender: Sends what it does not hold.
        progress: Listens.
        stopping: Turns true when the user wants to stop.
        pool: Runs reading and encoding.
        ahead: Chunks that may wait in each stage.
        group_bytes: Raw bytes that are decided about together.
        resumed_bytes: Raw bytes that earlier runs of this upload brought to the node.
        known_bytes: Raw bytes that the node held before this run.
        file_digests: SHA-256 of each file read so far, by file index.
    """

    source: Source
    layout: Layout
    upload_id: int
    lease_id: int
    node: StorageNode
    state: StateStore
    known: HeldContents
    sender: Sender
    progress: Progress
    stopping: Stopping
    pool: ThreadPoolExecutor
    ahead: int
    group_bytes: int = GROUP_BYTES
    resumed_bytes: int = 0
    known_bytes: int = 0
    file_digests: dict[int, bytes] = field(default_factory=dict)
    _waiting: dict[ContentDigest, list[ChunkSpec]] = field(default_factory=dict)
    _unresolved: dict[int, ContentDigest] = field(default_factory=dict)
    _again: dict[int, ContentDigest] = field(default_factory=dict)
    _pins: list[_Settled] = field(default_factory=list)
    _held: list[_Settled] = field(default_factory=list)
    _stored: list[_Settled] = field(default_factory=list)
    _done: bytearray = field(init=False)
    _done_bytes: int = 0

    def __post_init__(self) -> None:
        self._done = bytearray(self.layout.chunk_count)

    @property
    def chunk_count(self) -> int:
        """Chunks of the checkpoint."""
        return self.layout.chunk_count

    def send_all(self) -> None:
        """Bring every chunk to the node; afterwards every chunk has a row.

        Raises:
            DataNodeError: What is stored by then stays; running again goes on from there.
        """
        with rollback_on_error(self._absorb):  # what arrived until then is reported all the same
            self._send_all()

    def _send_all(self) -> None:
        self.file_digests = self.state.file_digests(self.upload_id)
        self._report()
        for index, spec in enumerate(self.layout.files):
            self.progress.stage(spec.path)
            if not (index in self.file_digests and self._is_complete(index)):
                self._send_file(index)
        while True:
            self._flush()
            self.sender.finish()
            self._absorb()
            self._record_stored()
            self._report()
            if self._again:
                again, self._again = self._again, {}
                self._pump(map(self.layout.spec, sorted(again)), again)
            elif not (self._pins or self._held):
                return  # what arrived last may have left frames to pin or rows to write

    def await_unresolved(self, parcels: Iterable[Parcel]) -> None:
        """Let chunks wait for messages whose outcome an earlier run never learnt."""
        for parcel in parcels:
            specs = self._waiting.setdefault(parcel.record.content, [])
            if parcel.chunk_index is not None:
                specs.append(self.layout.spec(parcel.chunk_index))
                self._unresolved[parcel.chunk_index] = parcel.record.content

    def mark_unheld(self, frames: Sequence[FrameDigest]) -> None:
        """Believe no longer that the node holds these frames."""
        self.state.unlearn(self.node.principal, frames)
        self.known.mark_unheld(frames)

    def _is_complete(self, index: int) -> bool:
        """Tell whether every chunk of a file is settled or on its way, and pin what needs a pin.

        Otherwise the file is read again from its start: its SHA-256 must be that of the very bytes
        whose chunks are sealed, and a file may have changed unnoticed since it was read.
        """
        first, count = self.layout.file_chunks(index)
        rows = dict(self.state.chunk_records(self.upload_id, first, count))
        specs = range(first, first + count)
        if not all(chunk in rows or chunk in self._unresolved for chunk in specs):
            return False
        for chunk, record in rows.items():
            self._take(self.layout.spec(chunk), record)
        return True

    def _send_file(self, index: int) -> None:
        first, count = self.layout.file_chunks(index)
        sha256 = hashlib.sha256()
        specs = self.layout.chunks(index)
        for group in self._groups(specs):
            for chunk in group:
                sha256.update(chunk.raw)
            self._send(group, self._unresolved)
        self.source.check_digest(index, sha256.digest())
        self.file_digests[index] = sha256.digest()
        self.state.finish_file(self.upload_id, index, sha256.digest(), first, count)

    def _pump(self, specs: Iterable[ChunkSpec], expected: dict[int, ContentDigest]) -> None:
        for group in self._groups(specs):
            self._send(group, expected)

    def _groups(self, specs: Iterable[ChunkSpec]) -> Iterator[list[ReadChunk]]:
        return groups(
            specs, self.source, pool=self.pool, ahead=self.ahead, group_bytes=self.group_bytes
        )

    def _send(self, group: Sequence[ReadChunk], expected: dict[int, ContentDigest]) -> None:
        """Route a group; `expected` names the contents that were read before, by chunk."""
        self._absorb()
        for chunk in group:
            if expected.get(chunk.spec.index, chunk.content) != chunk.content:
                path = self.layout.files[chunk.spec.file_index].path
                raise SourceChangedError(f"{path} has changed since this upload read it")
        parcels: list[Parcel] = []
        for each in encoded(self._unknown(group), pool=self.pool, ahead=self.ahead):
            raise_if_stopping(self.stopping)
            parcels.append(
                Parcel(record=each.record, chunk_index=each.spec.index, frame=each.frame)
            )
        for parcel in self._missing(parcels):
            self.sender.add(parcel)
            self._absorb()
        self.sender.drain()
        self._absorb()

    def _unknown(self, group: Sequence[ReadChunk]) -> list[ReadChunk]:
        """Choose each chunk's way, and return those to encode."""
        contents = dict.fromkeys(chunk.content for chunk in group)
        found = self.known.find([each for each in contents if each not in self._waiting])
        unknown: list[ReadChunk] = []
        for chunk in group:
            raise_if_stopping(self.stopping)
            if chunk.content in self._waiting:
                self._waiting[chunk.content].append(chunk.spec)
            elif record := found.get(chunk.content) or prove_claim(self.node, self.known, chunk):
                found[chunk.content] = record
                self._take(chunk.spec, record)
            else:
                self._waiting[chunk.content] = [chunk.spec]
                unknown.append(chunk)
        return unknown

    def _missing(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Return the parcels that the node does not hold; settle the rest.

        The node is asked by pinning: the answer is certified, and what it holds needs no second
        call. Known frames that wait for a pin are pinned with them.
        """
        if not parcels:
            return []
        pinned = self._pin([parcel.record.frame for parcel in parcels])
        held = [parcel for parcel in parcels if pinned[parcel.record.frame]]
        self.state.learn(self.node.principal, [parcel.record for parcel in held])
        for parcel in held:
            for spec in self._waiting.pop(parcel.record.content):
                self._take(spec, parcel.record)
        return [parcel for parcel in parcels if not pinned[parcel.record.frame]]

    def _absorb(self) -> None:
        """Take over what became of parcels."""
        fates = self.sender.collect()
        for fate in fates:
            record = fate.parcel.record
            waiting = self._waiting.pop(record.content, [])
            if fate.is_held and fate.is_leased:
                self.known.hold([record.frame])
            for spec in waiting:
                self._unresolved.pop(spec.index, None)
                if not fate.is_held:
                    self._again[spec.index] = record.content
                elif fate.is_leased:
                    self._stored.append((spec, record))
                    self._finish(spec)
                else:
                    self._take(spec, record)
        if len(self._stored) >= _ROW_BATCH:
            self._record_stored()
        if fates:
            self._report()

    def _take(self, spec: ChunkSpec, record: ChunkRecord) -> None:
        """Use a frame that the node holds."""
        if self.known.needs_pin(record):
            self._pins.append((spec, record))
            if len(self._pins) >= _PIN_BATCH:
                self._pin()
        else:
            self._held.append((spec, record))
            if len(self._held) >= _ROW_BATCH:
                self._record()

    def _flush(self) -> None:
        self._pin()
        self._record()
        self.sender.dispatch()

    def _pin(self, asked: Sequence[FrameDigest] = ()) -> dict[FrameDigest, bool]:
        """Pin the frames that wait for it, and those that are asked about; tell which are held."""
        pins, self._pins = self._pins, []
        known = dict.fromkeys(record.frame for _, record in pins)
        frames = list(known | dict.fromkeys(asked))
        if not frames:
            return {}
        pinned = dict(zip(frames, self.node.pin_frames(self.lease_id, frames), strict=True))
        self.state.unlearn(self.node.principal, [frame for frame in known if not pinned[frame]])
        self.known.hold(frame for frame in frames if pinned[frame])
        for spec, record in pins:
            if pinned[record.frame]:
                self._held.append((spec, record))
            else:
                self._again[spec.index] = record.content
        self._record()
        return pinned

    def _record(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        self.state.record_known(self.upload_id, [(spec.index, record) for spec, record in held])
        for spec, _ in held:
            self.known_bytes += 0 if self._done[spec.index] else spec.length_bytes
            self._finish(spec)
        self._report()

    def _record_stored(self) -> None:
        """Give rows to chunks that shared a frame; lost ones are known again by its receipt."""
        stored, self._stored = self._stored, []
        if stored:
            rows = [(spec.index, record) for spec, record in stored]
            self.state.record_known(self.upload_id, rows)

    def _finish(self, spec: ChunkSpec) -> None:
        if not self._done[spec.index]:
            self._done[spec.index] = 1
            self._done_bytes += spec.length_bytes

    def _report(self) -> None:
        spending = self.sender.spending
        self.progress.tally(
            Tally(
                total_bytes=self.layout.total_bytes,
                # Chunks of earlier runs are looked at in their turn, and are done all the same.
                done_bytes=max(self._done_bytes, self.resumed_bytes),
                known_bytes=max(self.known_bytes, self.resumed_bytes),
                sent_bytes=spending.envelope_bytes,
                frames_count=spending.frames_count,
                messages_count=spending.messages_count,
                cycles=spending.cycles,
            )
        )
