"""Build the manifest from what was stored, send it, and have the node seal it."""

from collections.abc import Sequence
from typing import Final

from datanode import frame
from datanode.digest import FrameDigest, frame_digest
from datanode.errors import IncompleteSealError, StateDamagedError
from datanode.limits import MAX_DIGESTS_A_CALL
from datanode.manifest import FileEntry, Manifest, ManifestBuilder, TensorEntry
from datanode.node.port import Lease, StorageNode
from datanode.placement import Placement
from uploader.session.chunks import ChunkRun
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
    placement = frame.seal_raw(
        Placement(
            manifest=manifest.digest,
            nodes=(node.principal,),
            runs=((0, run.layout.chunk_count),) if run.layout.chunk_count else (),
            chunk_count=run.layout.chunk_count,
        ).pack()
    )
    parts = [*manifest.chunk_page_frames, *manifest.tensor_page_frames, manifest.head_frame]
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
    layout, state = run.layout, run.state
    builder = ManifestBuilder()
    for expected, (index, record) in enumerate(state.chunk_records(task.id)):
        if index != expected:
            raise _gap(task, expected)
        builder.add_chunk(record)
    for tensor, first, count in layout.tensor_chunks():
        builder.add_tensor(
            TensorEntry(
                name=tensor.name,
                dtype=tensor.dtype,
                shape=tensor.shape,
                file_index=tensor.file_index,
                offset_bytes=tensor.offset_bytes,
                first_chunk=first,
                chunk_count=count,
            )
        )
    for index, spec in enumerate(layout.files):
        first, count = layout.file_chunks(index)
        builder.add_file(
            FileEntry(
                path=spec.path,
                length_bytes=spec.length_bytes,
                sha256=run.file_digests[index],
                first_chunk=first,
                chunk_count=count,
            )
        )
    return builder.build(metadata=dict(metadata))


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
