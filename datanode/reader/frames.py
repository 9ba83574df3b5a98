"""Frames from a node, many at once: batches that fill a reply, a few of them in flight.

Nothing here is believed. What arrives goes through a `check` of the caller, on the thread that
fetched it, so that hashing and decoding run beside the network; results come in the order asked.
At most `jobs + 1` batches are held, so memory is bounded by the window, not by the model.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, TypeAlias, TypeVar

from datanode.digest import FrameDigest
from datanode.errors import DataNodeError, FormatError
from datanode.limits import MAX_QUERY_REPLY_BYTES
from datanode.model import ChunkRecord
from datanode.node.port import FrameAbsence
from datanode.units import KIB, MIB

BATCH_FRAME_BYTES: Final = MAX_QUERY_REPLY_BYTES - 64 * KIB
"""Frame bytes asked for in one query. Ours: leaves room for lengths and the type table."""

BATCH_RAW_BYTES: Final = 8 * MIB
"""Raw bytes that one batch may open to; text compresses well and would fill the memory."""

BATCH_FRAMES: Final = 512

Wanted: TypeAlias = tuple[int, ChunkRecord]
"""Position in the manifest, and what the manifest says of the chunk."""

_T = TypeVar("_T")


class FrameSource(Protocol):
    """The part of a `StorageNode` that is needed here."""

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        """See `StorageNode`."""
        ...


@dataclass(frozen=True, slots=True)
class FrameReply:
    """Unverified reply of the node to one request for a frame.

    Attributes:
        index: Position in the manifest.
        record: What the manifest says of it.
        frame: Bytes, or why there are none.
    """

    index: int
    record: ChunkRecord
    frame: bytes | FrameAbsence | DataNodeError


def batches(wanted: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Cut wishes into runs whose frames fit one reply by the sizes that the manifest states."""
    batch: list[Wanted] = []
    frame_bytes = raw_bytes = 0
    for wish in wanted:
        frame_bytes += wish[1].frame_bytes
        raw_bytes += wish[1].raw_bytes
        if batch and (
            frame_bytes > BATCH_FRAME_BYTES
            or raw_bytes > BATCH_RAW_BYTES
            or len(batch) == BATCH_FRAMES
        ):
            yield batch
            batch, frame_bytes, raw_bytes = [], wish[1].frame_bytes, wish[1].raw_bytes
        batch.append(wish)
    if batch:
        yield batch


def ask(
    node: FrameSource, model: str, manifest: FrameDigest, batch: list[Wanted]
) -> Iterator[FrameReply]:
    """Ask for a batch, and again for what did not fit, until all is answered.

    Raises:
        DataNodeError: As `StorageNode.get_frames`.
        FormatError: The node does not answer what was asked.
    """
    while batch:
        frames = node.get_frames(model, manifest, [index for index, _ in batch])
        if len(frames) != len(batch) or frames[0] is FrameAbsence.DID_NOT_FIT:
            raise FormatError("the node does not answer what it was asked")
        again = []
        for wish, frame in zip(batch, frames, strict=True):
            if frame is FrameAbsence.DID_NOT_FIT:
                again.append(wish)
            else:
                yield FrameReply(*wish, frame)
        batch = again


def read_frames(
    node: FrameSource,
    model: str,
    manifest: FrameDigest,
    wanted: Iterable[Wanted],
    check: Callable[[FrameReply], _T],
    *,
    jobs: int,
) -> Iterator[_T]:
    """Read frames and yield what `check` makes of each, in order; no index stands twice.

    A batch that fails as a whole gives an answer with the error for each of its frames.
    """

    def fetch(batch: list[Wanted]) -> list[_T]:
        answers: dict[int, FrameReply] = {}
        try:
            for answer in ask(node, model, manifest, batch):
                answers[answer.index] = answer
        except DataNodeError as error:
            for index, record in batch:
                answers.setdefault(index, FrameReply(index, record, error))
        return [check(answers.pop(index)) for index, _ in batch]

    return ordered(fetch, batches(wanted), jobs=jobs)


def ordered(
    work: Callable[[list[Wanted]], list[_T]], batches: Iterable[list[Wanted]], *, jobs: int
) -> Iterator[_T]:
    """Run `work` on threads, a bounded number of batches ahead, and yield results in order."""
    waiting: deque[Future[list[_T]]] = deque()
    source = iter(batches)
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="read")
    try:
        for batch in islice(source, jobs):
            waiting.append(pool.submit(work, batch))
        while waiting:
            results = waiting.popleft().result()
            for batch in islice(source, 1):
                waiting.append(pool.submit(work, batch))
            yield from results
    finally:
        # Whoever ends early does not wait for answers that a silent network may never give.
        pool.shutdown(wait=False, cancel_futures=True)
