"""From chunk specs to frames: read, digest, encode; in order, a window ahead.

Two stages on one thread pool. Between them the calling thread, which owns the database, decides
about a whole group of chunks, because asking the node costs a round trip. Reading, BLAKE3, numpy
and zstandard release the GIL. A stage holds at most `ahead` chunks and a few of the largest, and a
group is bounded, so memory depends neither on the model nor on the number of cores.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from datanode import frame
from datanode.digest import ContentDigest, content_digest, frame_digest
from datanode.limits import MAX_CHUNK_BYTES
from datanode.model import ChunkRecord, ChunkSpec
from datanode.units import MIB
from uploader.source.base import Source

READING_BYTES: Final = 2 * MAX_CHUNK_BYTES
"""Raw bytes that are read ahead of the decision. Ours."""

GROUP_BYTES: Final = 16 * MIB
"""Raw bytes that are decided about together. Ours: as many as the sender has in flight, so that
the two seconds of a replicated question pass while the group before is on its way."""

GROUP_CHUNKS: Final = 1_024
"""Chunks that are decided about together. Ours: bounds the rows of a transaction."""

ENCODING_BYTES: Final = 4 * MAX_CHUNK_BYTES
"""Raw bytes that are encoded ahead of the sender. Ours: encoding 2 MB of F16 takes 17 MB for a
moment, so with one thread a core a large machine would need hundreds; four keep 300 MB/s coming.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadChunk:
    """Raw bytes of a chunk and the digest that names them."""

    spec: ChunkSpec
    raw: bytes
    content: ContentDigest


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedChunk:
    """A chunk and its frame.

    Attributes:
        spec: Where it comes from.
        frame: The frame to send.
        record: What the manifest will say of the frame.
    """

    spec: ChunkSpec
    frame: bytes
    record: ChunkRecord


def record_of(data: bytes) -> ChunkRecord:
    """Describe a frame as the manifest does."""
    parsed = frame.parse(data)
    return ChunkRecord(
        content=parsed.content,
        frame=frame_digest(data),
        raw_bytes=parsed.raw_bytes,
        frame_bytes=len(data),
        codec_id=parsed.codec_id,
        element=parsed.element,
    )


def encode(chunk: ReadChunk) -> EncodedChunk:
    """Wrap a chunk in its smallest frame, decoded once and compared."""
    spec = chunk.spec
    data = frame.seal(chunk.raw, spec.element, spec.row_elements, content=chunk.content)
    return EncodedChunk(spec=spec, frame=data, record=record_of(data))


def read(source: Source, spec: ChunkSpec) -> ReadChunk:
    """Read a chunk's raw bytes and digest them."""
    raw = source.read(spec.file_index, spec.offset_bytes, spec.length_bytes)
    return ReadChunk(spec=spec, raw=raw, content=content_digest(raw))


_Item = TypeVar("_Item")


class _Stage(Generic[_Item]):
    """A queue that knows how many raw bytes wait in it; it is full at a count and above a size."""

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self.items: deque[tuple[_Item, int]] = deque()
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        return len(self.items) >= self._max_count or self._bytes > self._max_bytes

    def put(self, item: _Item, size_bytes: int) -> None:
        self.items.append((item, size_bytes))
        self._bytes += size_bytes

    def take(self) -> _Item:
        item, size_bytes = self.items.popleft()
        self._bytes -= size_bytes
        return item

    def cancel(self) -> None:
        for item, _ in self.items:
            if isinstance(item, Future):
                item.cancel()


@contextmanager
def workers(count: int) -> Iterator[ThreadPoolExecutor]:
    """Make threads that read and encode; who ends early does not wait for a source that stalls."""
    pool = ThreadPoolExecutor(count, thread_name_prefix="encode")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def groups(
    specs: Iterable[ChunkSpec],
    source: Source,
    *,
    pool: ThreadPoolExecutor,
    ahead: int,
    group_bytes: int = GROUP_BYTES,
) -> Iterator[list[ReadChunk]]:
    """Read chunks in order and yield them in groups that are decided about together.

    Args:
        specs: Chunks to read, in file order.
        source: Where to read them.
        pool: Runs the reading.
        ahead: How many chunks may be read ahead; large ones are bounded in bytes too.
        group_bytes: Raw bytes of a group.
    """
    reading = _Stage[Future[ReadChunk]](ahead, READING_BYTES)
    group: list[ReadChunk] = []
    size_bytes = 0
    try:
        for spec in specs:
            reading.put(pool.submit(read, source, spec), spec.length_bytes)
            while reading.is_full:
                group.append(reading.take().result())
                size_bytes += len(group[-1].raw)
                if size_bytes >= group_bytes or len(group) >= GROUP_CHUNKS:
                    yield group
                    group, size_bytes = [], 0
        group += [future.result() for future, _ in reading.items]
        if group:
            yield group
    finally:
        reading.cancel()


def encoded(
    chunks: Iterable[ReadChunk], *, pool: ThreadPoolExecutor, ahead: int
) -> Iterator[EncodedChunk]:
    """Encode chunks on a pool and yield their frames in order.

    Args:
        chunks: Chunks that were read.
        pool: Runs the encoding.
        ahead: How many chunks may be encoded ahead; large ones are bounded in bytes too.
    """
    encoding = _Stage[Future[EncodedChunk]](ahead, ENCODING_BYTES)
    try:
        for chunk in chunks:
            encoding.put(pool.submit(encode, chunk), chunk.spec.length_bytes)
            while encoding.is_full:
                yield encoding.take().result()
        while encoding.items:
            yield encoding.take().result()
    finally:
        encoding.cancel()
