"""Every chunk of the source to the node: what is read, pinned, sent, and what waits for whom.

Each chunk takes one of four ways, decided in order on one thread:

- its row is there: an earlier run settled it; it is not even read, only pinned if need be;
- its content is known: its frame is pinned under the lease, and nothing is encoded;
- its content is on its way: it waits for that frame and shares its fate;
- otherwise it is encoded and sent.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Final

from datanode import frame
from datanode.digest import ContentDigest, FrameDigest, frame_digest
from datanode.errors import DataNodeError, NetworkError
from datanode.model import ChunkRecord, ChunkSpec
from datanode.node.port import StorageNode
from datanode.reader import Reader
from uploader.chunker import Layout
from uploader.dedup import Known
from uploader.progress import Progress, Tally
from uploader.session.delivery import stopped
from uploader.session.reading import ReadChunk, encoded
from uploader.session.sending import Parcel, Sender
from uploader.source.base import Source
from uploader.state.store import StateStore

_PIN_BATCH: Final = 256
_ROW_BATCH: Final = 256
"""Chunks that share a commit: an fsync takes longer than everything else about a small chunk."""


@dataclass(slots=True)
class ChunkRun:
    """The chunk stages of one run of one upload; one thread calls it.

    Attributes:
        known_bytes: Raw bytes that the node held before this run.
        file_digests: SHA-256 of each file read so far, by file index.
    """

    source: Source
    layout: Layout
    upload_id: int
    lease_id: int
    node: StorageNode
    state: StateStore
    reader: Reader
    known: Known
    progress: Progress
    stopping: Callable[[], bool]
    pool: ThreadPoolExecutor
    ahead: int
    sender: Sender = field(init=False)
    known_bytes: int = 0
    file_digests: dict[int, bytes] = field(default_factory=dict)
    _waiting: dict[ContentDigest, list[ChunkSpec]] = field(default_factory=dict)
    _again: deque[ChunkSpec] = field(default_factory=deque)
    _pins: list[tuple[ChunkSpec, ChunkRecord]] = field(default_factory=list)
    _held: list[tuple[ChunkSpec, ChunkRecord]] = field(default_factory=list)
    _stored: list[tuple[ChunkSpec, ChunkRecord]] = field(default_factory=list)
    _done: bytearray = field(init=False)
    _done_bytes: int = 0

    def __post_init__(self) -> None:
        self._done = bytearray(self.layout.chunk_count)

    def send_all(self) -> None:
        """Bring every chunk to the node; afterwards every chunk has a row.

        Raises:
            DataNodeError: What is stored by then stays; running again goes on from there.
        """
        self.file_digests = self.state.file_digests(self.upload_id)
        for index, spec in enumerate(self.layout.files):
            self.progress.stage(spec.path)
            if index in self.file_digests:
                self._complete_file(index)
            else:
                self._send_file(index)
        while True:
            self._flush()
            self.sender.finish()
            self._record_stored()
            self._report()
            if not self._again:
                return
            again = sorted(self._again, key=lambda spec: spec.index)
            self._again.clear()
            self._pump(again, self._decide)

    def doubt(self, parcels: Iterable[Parcel]) -> None:
        """Let chunks wait for messages whose outcome an earlier run never learnt."""
        for parcel in parcels:
            specs = self._waiting.setdefault(parcel.record.content, [])
            if parcel.spec is not None:
                specs.append(parcel.spec)

    def forget(self, frames: Sequence[FrameDigest]) -> None:
        """Believe no longer that the node holds these frames."""
        self.known.held.difference_update(frames)

    def stored(self, parcel: Parcel) -> None:
        """Mark a frame as held, and with it every chunk that waited for it."""
        self.known.hold([parcel.record.frame])
        for spec in self._waiting.pop(parcel.record.content, []):
            self._stored.append((spec, parcel.record))
            self._finish(spec)
        if len(self._stored) >= _ROW_BATCH:
            self._record_stored()
        self._report()

    def lost(self, parcel: Parcel) -> None:
        """Send again, from the source, what is proven not to have arrived."""
        self._again.extend(self._waiting.pop(parcel.record.content, []))

    def _complete_file(self, index: int) -> None:
        """Pin what an earlier run settled, and read only the chunks that it did not."""
        first, count = self.layout.file_chunks(index)
        rows = dict(self.state.chunk_records(self.upload_id, first, count))
        for chunk, record in rows.items():
            self._take(self.layout.spec(chunk), record)
        self._pump(
            (spec for spec in self.layout.chunks(index) if spec.index not in rows), self._decide
        )

    def _send_file(self, index: int) -> None:
        first, count = self.layout.file_chunks(index)
        sha256 = hashlib.sha256()

        def decide(chunk: ReadChunk) -> bool:
            sha256.update(chunk.raw)
            return self._decide(chunk)

        self._pump(self.layout.chunks(index), decide)
        self.file_digests[index] = sha256.digest()
        self.state.finish_file(self.upload_id, index, sha256.digest(), first, count)

    def _pump(self, specs: Iterable[ChunkSpec], wanted: Callable[[ReadChunk], bool]) -> None:
        chunks = encoded(specs, self.source, pool=self.pool, ahead=self.ahead, wanted=wanted)
        for chunk in chunks:
            if self.stopping():
                raise stopped()
            if chunk.frame is not None and chunk.record is not None:
                self.sender.add(Parcel(record=chunk.record, spec=chunk.spec, frame=chunk.frame))
            self.sender.drain()

    def _decide(self, chunk: ReadChunk) -> bool:
        """Choose a chunk's way; True: encode it."""
        spec, content = chunk.spec, chunk.content
        if content in self._waiting:
            self._waiting[content].append(spec)
            return False
        record = self.known.find(content) or self._proven_claim(chunk)
        if record is not None:
            self._take(spec, record)
            return False
        self._waiting[content] = [spec]
        return True

    def _proven_claim(self, chunk: ReadChunk) -> ChunkRecord | None:
        """Decode somebody else's frame once before believing what it says of its content.

        Raises:
            NetworkError: It cannot be asked for; sending it instead could pay for it twice.
        """
        claim = self.known.claim(chunk.content)
        if claim is None:
            return None
        try:
            (answer,) = self.node.get_frames(claim.model, claim.manifest, [claim.index])
            if (
                isinstance(answer, bytes)
                and frame_digest(answer) == claim.record.frame
                and frame.parse(answer).open() == chunk.raw
            ):
                return claim.record
        except NetworkError:
            raise
        except DataNodeError:
            pass
        self.known.claims.pop(chunk.content)
        return None

    def _take(self, spec: ChunkSpec, record: ChunkRecord) -> None:
        """Use a frame that the node holds."""
        if self.known.needs_pin(record):
            self._pins.append((spec, record))
            if len(self._pins) >= _PIN_BATCH:
                self._pin()
        else:
            self._held.append((spec, record))
            if len(self._held) >= _PIN_BATCH:
                self._record()

    def _flush(self) -> None:
        self._pin()
        self._record()
        self.sender.dispatch()

    def _pin(self) -> None:
        if not self._pins:
            return
        pins, self._pins = self._pins, []
        pinned = self.node.pin_frames(self.lease_id, [record.frame for _, record in pins])
        gone = [record.frame for (_, record), kept in zip(pins, pinned, strict=True) if not kept]
        self.state.unlearn(self.node.principal, gone)
        for (spec, record), kept in zip(pins, pinned, strict=True):
            if kept:
                self.known.hold([record.frame])
                self._held.append((spec, record))
            else:
                self._again.append(spec)
        self._record()

    def _record(self) -> None:
        held, self._held = self._held, []
        self.state.record_known(self.upload_id, [(spec.index, record) for spec, record in held])
        for spec, _ in held:
            self.known_bytes += 0 if self._done[spec.index] else spec.length_bytes
            self._finish(spec)
        if held:
            self._report()

    def _record_stored(self) -> None:
        """Give rows to chunks that shared a frame; lost ones are known again by its receipt."""
        if not self._stored:
            return
        stored, self._stored = self._stored, []
        self.state.record_known(self.upload_id, [(spec.index, record) for spec, record in stored])

    def _finish(self, spec: ChunkSpec) -> None:
        if not self._done[spec.index]:
            self._done[spec.index] = 1
            self._done_bytes += spec.length_bytes

    def _report(self) -> None:
        spending = self.sender.spending
        self.progress.tally(
            replace(
                Tally(),
                total_bytes=self.layout.total_bytes,
                done_bytes=self._done_bytes,
                known_bytes=self.known_bytes,
                sent_bytes=spending.envelope_bytes,
                frames_count=spending.frames_count,
                messages_count=spending.messages_count,
                cycles=spending.cycles,
            )
        )
