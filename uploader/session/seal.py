"""Build the manifest from what was stored, send it, and have the node seal it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from datanode.digest import FrameDigest, frame_digest
from datanode.errors import IncompleteSealError, StateDamagedError
from datanode.limits import MAX_DIGESTS_A_CALL
from datanode.manifest import Manifest
from datanode.model import ChunkRecord
from datanode.node.port import Lease, VersionInfo
from uploader.session.chunk_router import ChunkRun
from uploader.session.encode_pipeline import record_of
from uploader.session.facts import LatestVersion
from uploader.session.manifest_builder import describe, parts_of
from uploader.session.message_sender import Parcel
from uploader.session.node_run import NodeRun
from uploader.session.set_aside import set_aside
from uploader.state.store import Upload

_SEND_ROUNDS: Final = 3

FOLLOWS: Final = "datanode.follows"
"""Metadata of a version whose content an older version has too: the version before it."""


def seal(
    run: ChunkRun,
    task: Upload,
    lease: Lease,
    metadata: Mapping[str, str],
    versions: Sequence[VersionInfo],
    *,
    note: Callable[[str], None],
) -> LatestVersion:
    """Seal what `run` has stored as the latest version of the model.

    Args:
        run: The chunks.
        task: The upload in the database.
        lease: The lease on the node.
        metadata: Texts that travel in the manifest.
        versions: Versions that the model had when the upload began, ascending.
        note: Told of frames that are kept, or could not be.

    Raises:
        IncompleteSealError: The node lacks frames that this state believed it holds.
    """
    manifest = _latest_manifest(run, task, metadata, versions)
    parts, placement = parts_of(manifest, run.node.principal, run.layout.chunk_count)
    send_parts(run, lease, [*parts, placement])
    frames = {record.frame for record in _records(run, task)}
    set_aside(run, lease.holder, frames.union(map(frame_digest, [*parts, placement])), note)
    version = run.node.seal_model(
        lease.id, task.model, manifest=manifest.digest, placement=frame_digest(placement)
    )
    return LatestVersion(
        version=version, manifest=manifest.digest, placement=frame_digest(placement)
    )


def all_missing(
    run: NodeRun, task: Upload, lease: Lease, error: IncompleteSealError
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


def _latest_manifest(
    run: ChunkRun, task: Upload, metadata: Mapping[str, str], versions: Sequence[VersionInfo]
) -> Manifest:
    """Build the manifest; if an older version has the same, say which version this one follows.

    A node answers the number of the version that a manifest has already. To become the latest
    again, the content of an older version needs a manifest of its own; nothing else is sent.
    """
    manifest = _manifest(run, task, metadata)
    *older, latest = versions or (None,)
    if latest is None or manifest.digest not in {version.manifest for version in older}:
        return manifest
    repeated = _manifest(run, task, {**metadata, FOLLOWS: str(older[-1].version)})
    if repeated.digest == latest.manifest:
        return repeated  # this content is the latest already, by the same way
    return _manifest(run, task, {**metadata, FOLLOWS: str(latest.version)})


def _manifest(run: ChunkRun, task: Upload, metadata: Mapping[str, str]) -> Manifest:
    return describe(run.layout, _records(run, task), run.file_digests, metadata)


def _records(run: ChunkRun, task: Upload) -> Iterator[ChunkRecord]:
    expected = 0
    for index, record in run.state.chunk_records(task.id):
        if index != expected:
            raise _gap(task, expected)
        yield record
        expected += 1
    if expected != run.layout.chunk_count:
        raise _gap(task, expected)


def _gap(task: Upload, index: int) -> StateDamagedError:
    return StateDamagedError(
        f"the database lacks chunk {index} of {task.model}",
        hint="Run the same command with --restart: what the node holds is not sent again.",
    )


def send_parts(run: NodeRun, lease: Lease, parts: Sequence[bytes]) -> None:
    """Send the manifest's frames that the node, asked to pin them, does not hold."""
    by_digest = {frame_digest(part): part for part in parts}
    for _ in range(_SEND_ROUNDS):
        pinned = run.node.pin_frames(lease.id, list(by_digest))
        missing = [part for part, held in zip(by_digest.values(), pinned, strict=True) if not held]
        for part in missing:
            run.sender.add(Parcel(record=record_of(part), chunk_index=None, frame=part))
        run.sender.finish()
        fates = run.sender.collect()
        run.known.hold(fate.parcel.record.frame for fate in fates if fate.is_held)
        if all(fate.is_held for fate in fates):
            return
