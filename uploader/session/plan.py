"""Estimate the cost of an upload before anything is paid.

Headers give chunks and raw sizes exactly. How far they compress is measured: every chunk with
`exact`, otherwise an even sample, whose ratio a chunk's element type inherits. Cycles are those of
the fee schedule, beside what the same bytes cost uncompressed and in calls of 594 KB, the way the
first on-chain Llama travelled (27,025 calls for 16,061,054,976 bytes).
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from datanode.digest import ContentDigest
from datanode.errors import UnauthorizedError
from datanode.fees import FeeSchedule
from datanode.limits import FRAME_HEADER_BYTES, MAX_MESSAGE_FRAMES, MAX_MESSAGE_FRAMES_BYTES
from datanode.model import ChunkRecord, ChunkSpec, ElementType
from datanode.node.port import StorageNode
from datanode.principal import Principal
from datanode.progress import Progress, SilentProgress, Tally
from datanode.units import DAY_S
from uploader.chunker import Layout
from uploader.dedup import HeldContents
from uploader.fleet_placement import members_for_heaps
from uploader.session.claims import load_claims
from uploader.session.encode_pipeline import ReadChunk, encode, encoded, groups, read, workers
from uploader.session.facts import find_model, gather_facts
from uploader.session.growth import growth_problems
from uploader.session.preflight import NodeFacts, find_problems, require_none
from uploader.session.situation import PlanSituation, explained
from uploader.session.spending import message_cycles
from uploader.source.base import Source

NAIVE_CALL_BYTES: Final = 594_303
"""Bytes a call of the first on-chain Llama: 16,061,054,976 in 27,025 calls."""

ENVELOPE_OVERHEAD_BYTES: Final = 420
"""Envelope of a `put_frames` message beyond its frames, bytes, with an Ed25519 identity."""

CANDID_BYTES_A_FRAME: Final = 4
STORAGE_DAYS: Final = 30
_SAMPLE_CHUNKS: Final = 64
_SMALL_CHUNK_BYTES: Final = 65_536
_AHEAD: Final = 8
"""Chunks that are read or encoded ahead."""


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
        reserve_cycles: What a freezing threshold of 30 days keeps back for the frames, at the
            highest of those prices.
        naive_cycles: The same checkpoint uncompressed in calls of 594 KB.
        heaps_count: Canisters that it takes to run it, each with a share that fits a 4 GiB heap;
            0: no number does.
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
    reserve_cycles: int
    naive_cycles: int
    heaps_count: int
    exact: bool

    @property
    def total_cycles(self) -> int:
        """Return the cost of the upload itself, cycles."""
        return self.ingress_cycles + self.execution_cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The node that an upload is planned for.

    Attributes:
        node: Where the frames would go.
        me: The identity that would sign.
        model: Name to store the checkpoint under; None if it is not chosen yet.
        note: Told what could not be read.
    """

    node: StorageNode
    me: Principal
    model: str | None = None
    note: Callable[[str], None] = lambda _: None


def plan(
    source: Source,
    fees: FeeSchedule,
    *,
    schedules: Iterable[FeeSchedule] = (),
    exact: bool = False,
    target: Target | None = None,
    jobs: int = 2,
    progress: Progress | None = None,
) -> Quote:
    """Estimate an upload without sending anything, after the same preflight as that of `upload`.

    Args:
        source: The checkpoint.
        fees: Prices of the upload.
        schedules: Prices of storage, each shown by its name.
        exact: Encode every chunk instead of a sample; finds repeated and held chunks too.
        target: The node; it is asked what it holds only when `exact`.
        jobs: Threads.
        progress: Told how far it is, when `exact`.

    Raises:
        DataNodeError: The upload could not end in a sealed version, or something cannot be read.
    """
    with explained(PlanSituation()):
        layout = Layout(source.files(), source.tensors())
        facts = _check(layout, target)
        with workers(jobs) as pool:
            if exact:
                found = _holdings(target, layout.total_bytes)
                sizes, held_bytes = _measure_all(
                    source, layout, found, pool, progress or SilentProgress()
                )
            else:
                sizes, held_bytes = estimate_sizes(source, layout, pool), 0
        if facts is not None:
            require_none(growth_problems(facts, frame_bytes=sum(sizes), fees=fees))
    return _quote(layout, fees, sizes, held_bytes, schedules=schedules, exact=exact)


def _check(layout: Layout, target: Target | None) -> NodeFacts | None:
    if target is None:
        require_none(find_problems(None, layout, {}))
        return None
    found = None
    if target.model is not None:
        found = find_model(target.node, target.model, replicated=False)
    facts = gather_facts(target.node, found, raw_bytes=layout.total_bytes)
    require_none(find_problems(target.model, layout, {}, facts))
    return facts


def _holdings(target: Target | None, raw_bytes: int) -> HeldContents:
    """Ask with plain queries: a plan pays for nothing, so a wrong answer costs nothing."""
    if target is None:
        return HeldContents(record=lambda _: {}, ask=lambda _: {}, load_claims=dict)

    def ask(contents: Sequence[ContentDigest]) -> Mapping[ContentDigest, ChunkRecord]:
        try:
            found = target.node.find_contents(contents)
        except UnauthorizedError:
            return {}  # an identity that may not upload has sealed nothing
        return {record.content: record for record in found if record is not None}

    return HeldContents(
        record=lambda _: {},
        ask=ask,
        load_claims=lambda: load_claims(
            target.node,
            target.me,
            raw_bytes=raw_bytes,
            replicated=False,
            note=target.note,
            sleep=time.sleep,
        ),
    )


def _quote(
    layout: Layout,
    fees: FeeSchedule,
    sizes: Sequence[int],
    held_bytes: int,
    *,
    schedules: Iterable[FeeSchedule],
    exact: bool,
) -> Quote:
    messages = list(_messages(sizes))
    frame_bytes = sum(size for size, _ in messages)
    ingress = sum(fees.ingress_cycles(_envelope(size, count)) for size, count in messages)
    total = upload_cycles(fees, sizes)
    storage = {
        schedule.name: schedule.storage_cycles(frame_bytes, STORAGE_DAYS * DAY_S)
        for schedule in schedules
    }
    return Quote(
        files_count=len(layout.files),
        tensors_count=layout.tensor_count,
        chunks_count=layout.chunk_count,
        raw_bytes=layout.total_bytes,
        held_bytes=held_bytes,
        frame_bytes=frame_bytes,
        messages_count=len(messages),
        ingress_cycles=ingress,
        execution_cycles=total - ingress,
        creation_cycles=fees.creation_cycles,
        storage_cycles=tuple(storage.items()),
        reserve_cycles=max(storage.values(), default=0),
        naive_cycles=_naive(layout.total_bytes, fees),
        heaps_count=members_for_heaps(layout),
        exact=exact,
    )


def _measure_all(
    source: Source,
    layout: Layout,
    known: HeldContents,
    pool: ThreadPoolExecutor,
    progress: Progress,
) -> tuple[list[int], int]:
    """Return the size of each frame to send, and the raw bytes that need not travel."""
    seen: set[ContentDigest] = set()
    sizes: list[int] = []
    held_bytes = done_bytes = 0
    specs = (spec for index in range(len(layout.files)) for spec in layout.chunks(index))
    for group in groups(specs, source, pool=pool, ahead=_AHEAD):
        contents = {chunk.content for chunk in group} - seen
        held = known.find(list(contents)).keys()
        new: list[ReadChunk] = []
        for chunk in group:
            content, length_bytes = chunk.content, chunk.spec.length_bytes
            done_bytes += length_bytes
            if content in seen or content in held or known.claim(content):
                held_bytes += length_bytes
            else:
                new.append(chunk)
            seen.add(content)
        sizes += [len(each.frame) for each in encoded(new, pool=pool, ahead=_AHEAD)]
        progress.tally(Tally(total_bytes=layout.total_bytes, done_bytes=done_bytes))
    return sizes, held_bytes


def estimate_sizes(source: Source, layout: Layout, pool: ThreadPoolExecutor) -> list[int]:
    """Encode an even sample and let every chunk inherit the ratio of its kind."""
    kinds: dict[tuple[ElementType, bool], list[ChunkSpec]] = defaultdict(list)
    for index in range(len(layout.files)):
        for spec in layout.chunks(index):
            kinds[_kind(spec)].append(spec)
    ratios: dict[tuple[ElementType, bool], float] = {}
    for kind, specs in kinds.items():
        step = max(1, len(specs) // _SAMPLE_CHUNKS)
        sample = specs[::step]
        encoded = pool.map(lambda spec: len(encode(read(source, spec)).frame), sample)
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


def upload_cycles(fees: FeeSchedule, sizes: Iterable[int]) -> int:
    """Estimate what the messages that carry frames of these sizes cost, cycles."""
    return sum(
        message_cycles(fees, _envelope(size, count), size) for size, count in _messages(sizes)
    )


def _envelope(frame_bytes: int, frames_count: int) -> int:
    return frame_bytes + CANDID_BYTES_A_FRAME * frames_count + ENVELOPE_OVERHEAD_BYTES


def _naive(raw_bytes: int, fees: FeeSchedule) -> int:
    calls, rest = divmod(raw_bytes, NAIVE_CALL_BYTES)
    cycles = calls * message_cycles(fees, NAIVE_CALL_BYTES + ENVELOPE_OVERHEAD_BYTES, 0)
    return cycles + (message_cycles(fees, rest + ENVELOPE_OVERHEAD_BYTES, 0) if rest else 0)
