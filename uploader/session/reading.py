"""From chunk specs to frames: read, digest, decide, encode; in order, a window ahead.

Two stages on one thread pool, with the decision between them on the calling thread, because only
that thread owns the database. Reading, BLAKE3, numpy and zstandard release the GIL. At most
`ahead` chunks wait in each stage, so memory is bounded by the window, not by the model.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from datanode import frame
from datanode.digest import ContentDigest, content_digest, frame_digest
from datanode.model import ChunkRecord, ChunkSpec
from uploader.source.base import Source


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
        ahead: How many chunks may wait in each stage.
        wanted: Called on this thread, in order, once a chunk, with its raw bytes.
    """
    reading: deque[Future[ReadChunk]] = deque()
    encoding: deque[Future[EncodedChunk] | EncodedChunk] = deque()

    def decide() -> None:
        chunk = reading.popleft().result()
        if wanted(chunk):
            encoding.append(pool.submit(encode, chunk))
        else:
            encoding.append(EncodedChunk(spec=chunk.spec, content=chunk.content))

    try:
        for spec in specs:
            reading.append(pool.submit(read, source, spec))
            if len(reading) >= ahead:
                decide()
            while len(encoding) >= ahead:
                yield _result(encoding.popleft())
        while reading:
            decide()
        while encoding:
            yield _result(encoding.popleft())
    finally:
        for future in (*reading, *encoding):
            if isinstance(future, Future):
                future.cancel()


def _result(item: "Future[EncodedChunk] | EncodedChunk") -> EncodedChunk:
    return item.result() if isinstance(item, Future) else item
