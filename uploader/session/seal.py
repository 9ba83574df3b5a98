"""Build the manifest from what was stored, send it, and have the node seal it."""

from collections.abc import Iterator, Sequence
from typing import Final

from datanode.digest import FrameDigest, frame_digest
from datanode.errors import IncompleteSealError, StateDamagedError
from datanode.limits import MAX_DIGESTS_A_CALL
from datanode.manifest import Manifest
from datanode.model import ChunkRecord
from datanode.node.port import Lease, StorageNode
from uploader.session.chunks import ChunkRun
from uploader.session.describing import describe, parts_of
from uploader.session.reading import record_of
from uploader.session.sending import Parcel
from uploader.state.store import Upload

_SEND_ROUNDS: Final = 3


def seal(
    run: ChunkRun, task: Upload, lease: Lease, metadata: Sequence[tuple[str, str]]
) -> tuple[int, FrameDigest]:
    """Seal what `run` has stored.

    Returns:
        The version and the manifest digest.

    Raises:
        IncompleteSealError: The node lacks frames that this state believed it holds.
    """
    node = run.node
    manifest = _manifest(run, task, metadata)
    parts, placement = parts_of(manifest, node.principal, run.layout.chunk_count)
    _send_parts(run, lease, node, [*parts, placement])
    version = node.seal_model(
        lease.id,
        task.model,
        manifest=manifest.digest,
        placement=frame_digest(placement),
    )
    return version, manifest.digest


def all_missing(
    run: ChunkRun, task: Upload, lease: Lease, error: IncompleteSealError
) -> list[FrameDigest]:
    """Name every missing frame, also when the node's certified refusal names only some."""
    named = [FrameDigest(digest) for digest in error.missing]
    if len(named) == error.missing_count:
        return named
    missing: list[FrameDigest] = []
    frames = sorted({record.frame for _, record in run.state.chunk_records(task.id)})
    for start in range(0, len(frames), MAX_DIGESTS_A_CALL):
        batch = frames[start : start + MAX_DIGESTS_A_CALL]
        lacks = run.node.missing_frames(lease.id, batch, replicated=True)
        missing += [digest for digest, lack in zip(batch, lacks, strict=True) if lack]
    return missing


def _manifest(run: ChunkRun, task: Upload, metadata: Sequence[tuple[str, str]]) -> Manifest:
    return describe(run.layout, _records(run, task), run.file_digests, dict(metadata))


def _records(run: ChunkRun, task: Upload) -> Iterator[ChunkRecord]:
    for expected, (index, record) in enumerate(run.state.chunk_records(task.id)):
        if index != expected:
            raise _gap(task, expected)
        yield record


def _gap(task: Upload, index: int) -> StateDamagedError:
    return StateDamagedError(
        f"the database lacks chunk {index} of {task.model}",
        hint="Run the same command with --restart: what the node holds is not sent again.",
    )


def _send_parts(run: ChunkRun, lease: Lease, node: StorageNode, parts: Sequence[bytes]) -> None:
    """Send the manifest's frames that the node does not hold; a query is enough to plan that."""
    for _ in range(_SEND_ROUNDS):
        lacks = node.missing_frames(lease.id, [frame_digest(part) for part in parts])
        missing = [part for part, lack in zip(parts, lacks, strict=True) if lack]
        if not missing:
            return
        for part in missing:
            run.sender.add(Parcel(record=record_of(part), spec=None, frame=part))
        run.sender.finish()
