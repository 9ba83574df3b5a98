"""Send damaged or missing frames of a sealed version again, from the source they came from.

A repair must give the node the very frames that the manifest names. A chunk is encoded again and
compared by frame digest; the canister compares the stored bytes with the arriving ones and rewrites
what differs. Only those frames travel.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from datanode.cleanup import always_after
from datanode.digest import frame_digest
from datanode.errors import CorruptionError, SourceChangedError
from datanode.model import ChunkRecord
from datanode.node.port import PutStatus, Refused, Settled, StorageNode
from uploader.chunker import Layout
from uploader.session.encode_pipeline import encode, read
from uploader.session.message_delivery import deliver
from uploader.source.base import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairSummary:
    """Summary of a repair: frames and bytes that were written again."""

    repaired_count: int
    frame_bytes: int


def repair(
    source: Source,
    node: StorageNode,
    model: str,
    damaged: Sequence[tuple[int, ChunkRecord]],
) -> RepairSummary:
    """Write the damaged frames of `model` anew.

    Args:
        source: The checkpoint that the version was made from.
        node: The node that holds it.
        model: Name of the model.
        damaged: Chunk index and manifest record of each damaged frame.

    Raises:
        SourceChangedError: The source has other bytes at that place.
        CorruptionError: This release encodes the chunk differently; upload seals a new version.
    """
    if not damaged:
        return RepairSummary(repaired_count=0, frame_bytes=0)
    layout = Layout(source.files(), source.tensors())
    frames = (_frame(source, layout, index, record) for index, record in damaged)
    size = sum(record.frame_bytes for _, record in damaged)
    return write_anew(node, model, frames, frames_count=len(damaged), frame_bytes=size)


def write_anew(
    node: StorageNode, model: str, frames: Iterable[bytes], *, frames_count: int, frame_bytes: int
) -> RepairSummary:
    """Send frames that a sealed version refers to, under a lease of the moment.

    An upload of this identity under the same name has the same lease; it is left to that upload.

    Raises:
        DataNodeError: The node refused one; those before it are written.
    """
    lease = node.begin_upload(model, frames_count=frames_count, frame_bytes=frame_bytes)
    count = size = 0
    is_of_an_upload = lease.frames_count > 0

    def end() -> None:
        if not is_of_an_upload:
            node.end_upload(lease.id)

    with always_after(end):
        for frame in frames:
            outcome = deliver(node, node.prepare(lease.id, [frame]))
            if isinstance(outcome, Refused):
                raise outcome.error
            if isinstance(outcome, Settled) and outcome.results[0].status in {
                PutStatus.STORED,
                PutStatus.ALREADY_STORED,
            }:
                count, size = count + 1, size + len(frame)
    return RepairSummary(repaired_count=count, frame_bytes=size)


def _frame(source: Source, layout: Layout, index: int, record: ChunkRecord) -> bytes:
    if index >= layout.chunk_count:
        raise SourceChangedError(f"the source has no chunk {index}", safe="Nothing was sent.")
    chunk = read(source, layout.spec(index))
    if chunk.content != record.content:
        raise SourceChangedError(
            f"the source has other bytes than the sealed version at chunk {index}",
            safe="Nothing was sent for this chunk.",
            hint="Name the source that the version was made from.",
        )
    frame = encode(chunk).frame
    if frame_digest(frame) != record.frame:
        raise CorruptionError(
            f"this release encodes chunk {index} differently than the one that sealed it",
            safe="Nothing was sent for this chunk.",
            hint="`datanode upload` seals a new version that needs only this chunk.",
        )
    return frame
