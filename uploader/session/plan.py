"""What an upload would cost, before anything is paid.

Headers give chunks and raw sizes exactly. How far they compress is measured: every chunk with
`exact`, otherwise an even sample, whose ratio a chunk's element type inherits. Cycles are those of
the fee schedule, beside what the same bytes cost uncompressed and in calls of 594 KB, the way the
first on-chain Llama travelled (27,025 calls for 16,061,054,976 bytes).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from datanode.digest import ContentDigest
from datanode.fees import FeeSchedule
from datanode.limits import FRAME_HEADER_BYTES, MAX_MESSAGE_FRAMES, MAX_MESSAGE_FRAMES_BYTES
from datanode.model import ChunkSpec, ElementType
from uploader.chunker import Layout
from uploader.progress import Progress, Silent, Tally
from uploader.session.reading import encode, read, workers
from uploader.session.sending import message_cycles
from uploader.source.base import Source

NAIVE_CALL_BYTES: Final = 594_303
"""Bytes a call of the first on-chain Llama: 16,061,054,976 in 27,025 calls."""

ENVELOPE_OVERHEAD_BYTES: Final = 420
"""Envelope of a `put_frames` message beyond its frames, bytes, with an Ed25519 identity."""

CANDID_BYTES_A_FRAME: Final = 4
STORAGE_DAYS: Final = 30
_DAY_S: Final = 86_400
_SAMPLE_CHUNKS: Final = 64
_SMALL_CHUNK_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """An estimate. Bytes and cycles are totals of the whole checkpoint.

    Attributes:
        files_count: Files.
        tensors_count: Tensors.
        chunks_count: Chunks.
        raw_bytes: Bytes of all files.
        held_bytes: Raw bytes that need not travel: the node holds them, or they repeat.
        frame_bytes: Bytes of the frames to send.
        messages_count: Messages that carry them.
        ingress_cycles: Fees for the bytes and messages themselves.
        execution_cycles: Fees for receiving, checking and storing them.
        creation_cycles: A new canister, if one is needed; not part of the total.
        storage_cycles: Thirty days of rent for the frames, by schedule name.
        naive_cycles: The same checkpoint uncompressed in calls of 594 KB.
        exact: Every chunk was encoded.
    """

    files_count: int
    tensors_count: int
    chunks_count: int
    raw_bytes: int
    held_bytes: int
    frame_bytes: int
    messages_count: int
    ingress_cycles: int
    execution_cycles: int
    creation_cycles: int
    storage_cycles: tuple[tuple[str, int], ...]
    naive_cycles: int
    exact: bool

    @property
    def total_cycles(self) -> int:
        """What the upload itself costs."""
        return self.ingress_cycles + self.execution_cycles


def plan(
    source: Source,
    fees: FeeSchedule,
    *,
    schedules: Iterable[FeeSchedule] = (),
    exact: bool = False,
    held: Callable[[ContentDigest], bool] = lambda _: False,
    jobs: int = 2,
    progress: Progress | None = None,
) -> Quote:
    """Estimate an upload without sending anything.

    Args:
        source: The checkpoint.
        fees: Prices of the upload.
        schedules: Prices of storage, each shown by its name.
        exact: Encode every chunk instead of a sample; finds repeated and held chunks too.
        held: Tells whether the node holds some content; asked only when `exact`.
        jobs: Threads.
        progress: Told how far it is, when `exact`.
    """
    tensors = source.tensors()
    layout = Layout(source.files(), tensors)
    with workers(jobs) as pool:
        if exact:
            sizes, held_bytes = _measure_all(source, layout, held, pool, progress or Silent())
        else:
            sizes, held_bytes = _estimate(source, layout, pool), 0
    messages = list(_messages(sizes))
    frame_bytes = sum(size for size, _ in messages)
    ingress = sum(fees.ingress_cycles(_envelope(size, count)) for size, count in messages)
    total = sum(message_cycles(fees, _envelope(size, count), size) for size, count in messages)
    return Quote(
        files_count=len(layout.files),
        tensors_count=len(tensors),
        chunks_count=layout.chunk_count,
        raw_bytes=layout.total_bytes,
        held_bytes=held_bytes,
        frame_bytes=frame_bytes,
        messages_count=len(messages),
        ingress_cycles=ingress,
        execution_cycles=total - ingress,
        creation_cycles=fees.creation_cycles,
        storage_cycles=tuple(
            (schedule.name, schedule.storage_cycles(frame_bytes, STORAGE_DAYS * _DAY_S))
            for schedule in schedules
        ),
        naive_cycles=_naive(layout.total_bytes, fees),
        exact=exact,
    )


def _measure_all(
    source: Source,
    layout: Layout,
    held: Callable[[ContentDigest], bool],
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> tuple[list[int], int]:
    seen: set[ContentDigest] = set()
    sizes: list[int] = []
    held_bytes = done_bytes = 0
    specs = (spec for index in range(len(layout.files)) for spec in layout.chunks(index))

    def size_of(spec: ChunkSpec) -> tuple[ContentDigest, int]:
        chunk = read(source, spec)
        if held(chunk.content):
            return chunk.content, 0
        return chunk.content, len(encode(chunk).frame or b"")

    for spec, (content, size) in _in_order(pool, specs, size_of):
        if content in seen or not size:
            held_bytes += spec.length_bytes
        else:
            sizes.append(size)
        seen.add(content)
        done_bytes += spec.length_bytes
        progress.tally(Tally(total_bytes=layout.total_bytes, done_bytes=done_bytes))
    return sizes, held_bytes


def _in_order(
    pool: ThreadPoolExecutor,
    specs: Iterable[ChunkSpec],
    work: Callable[[ChunkSpec], tuple[ContentDigest, int]],
    ahead: int = 8,
) -> Iterator[tuple[ChunkSpec, tuple[ContentDigest, int]]]:
    waiting = []
    for spec in specs:
        waiting.append((spec, pool.submit(work, spec)))
        if len(waiting) >= ahead:
            first, future = waiting.pop(0)
            yield first, future.result()
    for first, future in waiting:
        yield first, future.result()


def _estimate(source: Source, layout: Layout, pool: ThreadPoolExecutor) -> list[int]:
    """Encode an even sample and let every chunk inherit the ratio of its kind."""
    kinds: dict[tuple[ElementType, bool], list[ChunkSpec]] = defaultdict(list)
    for index in range(len(layout.files)):
        for spec in layout.chunks(index):
            kinds[_kind(spec)].append(spec)
    ratios: dict[tuple[ElementType, bool], float] = {}
    for kind, specs in kinds.items():
        step = max(1, len(specs) // _SAMPLE_CHUNKS)
        sample = specs[::step]
        encoded = pool.map(lambda spec: len(encode(read(source, spec)).frame or b""), sample)
        payload = sum(encoded) - FRAME_HEADER_BYTES * len(sample)
        ratios[kind] = payload / sum(spec.length_bytes for spec in sample)
    return [
        FRAME_HEADER_BYTES + int(spec.length_bytes * ratios[_kind(spec)])
        for index in range(len(layout.files))
        for spec in layout.chunks(index)
    ]


def _kind(spec: ChunkSpec) -> tuple[ElementType, bool]:
    return spec.element, spec.length_bytes < _SMALL_CHUNK_BYTES


def _messages(sizes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Pack frames as the sender does; yields (frame bytes, frames) a message."""
    size = count = 0
    for frame_bytes in sizes:
        if count and (size + frame_bytes > MAX_MESSAGE_FRAMES_BYTES or count >= MAX_MESSAGE_FRAMES):
            yield size, count
            size = count = 0
        size, count = size + frame_bytes, count + 1
    if count:
        yield size, count


def _envelope(frame_bytes: int, frames_count: int) -> int:
    return frame_bytes + CANDID_BYTES_A_FRAME * frames_count + ENVELOPE_OVERHEAD_BYTES


def _naive(raw_bytes: int, fees: FeeSchedule) -> int:
    calls, rest = divmod(raw_bytes, NAIVE_CALL_BYTES)
    cycles = calls * message_cycles(fees, NAIVE_CALL_BYTES + ENVELOPE_OVERHEAD_BYTES, 0)
    return cycles + (message_cycles(fees, rest + ENVELOPE_OVERHEAD_BYTES, 0) if rest else 0)
