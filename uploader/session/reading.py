"""From chunk specs to frames: read, digest, decide, encode; in order, a window ahead.

Two stages on one thread pool, with the decision between them on the calling thread, because only
that thread owns the database. Reading, BLAKE3, numpy and zstandard release the GIL. Each stage
holds at most `ahead` chunks and a few of the largest, so memory depends neither on the model nor on
the number of cores.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from datanode import frame
from datanode.digest import ContentDigest, content_digest, frame_digest
from datanode.limits import MAX_CHUNK_BYTES
from datanode.model import ChunkRecord, ChunkSpec
from uploader.source.base import Source

READING_BYTES: Final = 2 * MAX_CHUNK_BYTES
"""Raw bytes that are read ahead of the decision. Ours."""

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
    """A chunk after the decision.

    Attributes:
        spec: Where it comes from.
        content: Digest of its raw bytes.
        frame: The frame to send, or None when the decision was not to encode.
        record: What the manifest will say of the frame; None like `frame`.
    """

    spec: ChunkSpec
    content: ContentDigest
    frame: bytes | None = None
    record: ChunkRecord | None = None


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
    return EncodedChunk(spec=spec, content=chunk.content, frame=data, record=record_of(data))


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


def encoded(
    specs: Iterable[ChunkSpec],
    source: Source,
    *,
    pool: ThreadPoolExecutor,
    ahead: int,
    wanted: Callable[[ReadChunk], bool],
) -> Iterator[EncodedChunk]:
    """Yield every chunk in order; those that `wanted` refuses come without a frame.

    Args:
        specs: Chunks to read, in file order.
        source: Where to read them.
        pool: Runs reading and encoding.
        ahead: How many chunks may wait in each stage; large ones are bounded in bytes too.
        wanted: Called on this thread, in order, once a chunk, with its raw bytes.
    """
    reading = _Stage[Future[ReadChunk]](ahead, READING_BYTES)
    encoding = _Stage[Future[EncodedChunk] | EncodedChunk](ahead, ENCODING_BYTES)

    def decide() -> None:
        chunk = reading.take().result()
        if wanted(chunk):
            encoding.put(pool.submit(encode, chunk), chunk.spec.length_bytes)
        else:
            encoding.put(EncodedChunk(spec=chunk.spec, content=chunk.content), 0)

    try:
        for spec in specs:
            reading.put(pool.submit(read, source, spec), spec.length_bytes)
            while reading.is_full:
                decide()
            while encoding.is_full:
                yield _result(encoding.take())
        while reading.items:
            decide()
            while encoding.is_full:
                yield _result(encoding.take())
        while encoding.items:
            yield _result(encoding.take())
    finally:
        reading.cancel()
        encoding.cancel()


def _result(item: "Future[EncodedChunk] | EncodedChunk") -> EncodedChunk:
    return item.result() if isinstance(item, Future) else item
