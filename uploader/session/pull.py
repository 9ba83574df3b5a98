"""Have an inference canister fetch the frames of a copy itself, by calls of the source: `pull`.

    what the lease lacks -> one message a batch: call, verify, store -> held under the lease

A copy that follows finds the frames there, opens each and seals the version. Nothing is fetched
twice: the canister is asked which frames it lacks first, and looks again before each call.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from datanode.errors import ConflictError, CorruptionError, NodeFullError
from datanode.inference.client import InferenceNode
from datanode.limits import MAX_DIGESTS_A_CALL, MAX_MESSAGE_FRAMES
from datanode.model import ChunkRecord
from datanode.node.port import PutStatus, StorageNode
from uploader.session.copy_source import CopySource

BATCH_BYTES: Final = 2 * 1024 * 1024 - 128 * 1024
"""Frame bytes that one reply carries, less room for what is around them. Ours."""

_TRIES: Final = 3
_Numbered = tuple[int, ChunkRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """Totals of a pull.

    Attributes:
        frames_count: Frames.
        frame_bytes: Their bytes.
    """

    frames_count: int
    frame_bytes: int


def pull(
    source: CopySource,
    model: str,
    node: StorageNode,
    canister: InferenceNode,
    *,
    takeover: bool = False,
    before_batch: Callable[[], None] = lambda: None,
) -> Pulled:
    """Have the canister hold, under the lease of `model`, every frame of a version elsewhere.

    Args:
        source: The version.
        model: Name of the copy.
        node: The canister, as a storage node.
        canister: The same, as an inference canister.
        takeover: Take the lease over from another uploader.
        before_batch: Called before each message; may raise.

    Raises:
        ConflictError: The source does not answer the canister; the text says why.
        CorruptionError: The source has lost a frame.
        NodeFullError: Quota, cycles or memory of the canister end.
        DataNodeError: What was fetched by then is held; running again goes on from there.
    """
    lease = node.begin_upload(
        model, frames_count=source.chunk_count, frame_bytes=0, takeover=takeover
    )
    frames_count = frame_bytes = 0
    for batch in _batches(_missing(source, node, lease.id)):
        before_batch()
        _fetch(source, canister, lease.id, batch)
        frames_count += len(batch)
        frame_bytes += sum(record.frame_bytes for _, record in batch)
    return Pulled(frames_count=frames_count, frame_bytes=frame_bytes)


def _missing(source: CopySource, node: StorageNode, lease_id: int) -> Iterator[_Numbered]:
    """Yield a chunk of each frame that the node lacks, by consensus."""
    seen: set[bytes] = set()
    for first, records in source.pages():
        new: dict[bytes, _Numbered] = {}
        for index, record in enumerate(records, first):
            if record.frame not in seen:
                new.setdefault(record.frame, (index, record))
        seen.update(new)
        for start in range(0, len(new), MAX_DIGESTS_A_CALL):
            part = list(new.values())[start : start + MAX_DIGESTS_A_CALL]
            lacks = node.missing_frames(
                lease_id, [record.frame for _, record in part], replicated=True
            )
            yield from (each for each, is_missing in zip(part, lacks, strict=True) if is_missing)


def _batches(missing: Iterator[_Numbered]) -> Iterator[list[_Numbered]]:
    batch: list[_Numbered] = []
    for each in missing:
        size = sum(record.frame_bytes for _, record in batch) + each[1].frame_bytes
        if batch and (size > BATCH_BYTES or len(batch) == MAX_MESSAGE_FRAMES):
            yield batch
            batch = []
        batch.append(each)
    if batch:
        yield batch


def _fetch(
    source: CopySource, canister: InferenceNode, lease_id: int, batch: Sequence[_Numbered]
) -> None:
    trusted = source.version.trusted
    left = list(batch)
    for _ in range(_TRIES):
        try:
            results = canister.pull(
                trusted.node,
                lease_id,
                model=trusted.model,
                manifest=trusted.manifest,
                chunks=[index for index, _ in left],
                frames=[record.frame for _, record in left],
            )
        except ConflictError as error:
            error.hint = (
                f"If {trusted.model} is private there: `datanode grant {canister.principal} reader "
                f"--model {trusted.model} --node {trusted.node}`."
            )
            raise
        for (index, _), result in zip(left, results, strict=True):
            if result.status is PutStatus.BAD:
                raise CorruptionError(f"chunk {index} of {source.location}: {result.detail}")
        again = [
            each
            for each, result in zip(left, results, strict=True)
            if result.status is PutStatus.NO_ROOM
        ]
        if not again:
            return
        left = again
    raise NodeFullError(f"{canister.principal} does not take {len(left)} frames")
