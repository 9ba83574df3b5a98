"""Bring a version from one node to another: `copy`, the straight line.

    proven version -> survey of the target -> frames as they are stored -> seal

What is read costs nothing, what the target holds is not sent, and the copy has the manifest of the
original, byte for byte. Running it again resumes, from any node that holds the same manifest.
"""

from dataclasses import dataclass
from functools import partial

from datanode.cleanup import rollback_on_error
from datanode.digest import frame_digest
from datanode.errors import IncompleteSealError, NodeFullError
from datanode.limits import MAX_STABLE_BYTES
from datanode.node.port import Lease, ModelInfo, StatusDetails
from datanode.reader import VerifiedVersion
from datanode.units import format_bytes
from uploader.session.copy_run import CopyRun, Missing
from uploader.session.copy_source import CopySource, open_copy_source
from uploader.session.facts import LatestVersion, find_model, gather_facts, latest_of, remember
from uploader.session.growth import growth_problems
from uploader.session.manifest_builder import placement_of
from uploader.session.preflight import NodeFacts, find_problems, require_none
from uploader.session.resume import known_contents, learn_lease, reopen_messages
from uploader.session.seal import all_missing, send_parts
from uploader.session.set_aside import set_aside
from uploader.session.situation import COPY_STEPS, UploadSituation, explained
from uploader.session.spending import Budget, Spending
from uploader.session.upload import (
    SEAL_ROUNDS,
    SETTLE_S,
    UploadContext,
    UploadSummary,
    make_sender,
    rounds,
)
from uploader.state.store import Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """How to copy.

    Attributes:
        takeover: Take the lease even if another uploader holds it.
        restart: Plan anew although another version was being copied under this name.
        max_cycles: Stop before all runs of this copy together spend more, as estimated; None: no
            limit.
        budget: Limit that other copies share; None: there is none.
        side_by_side: Copies that run at once, this one included; they share one window.
    """

    takeover: bool = False
    restart: bool = False
    max_cycles: int | None = None
    budget: Budget | None = None
    side_by_side: int = 1


def copy(
    version: VerifiedVersion,
    model: str,
    context: UploadContext,
    options: CopyOptions | None = None,
) -> UploadSummary:
    """Bring every frame of `version` to the node of `context` and seal it there as `model`.

    Raises:
        DataNodeError: See `datanode.errors`; its `safe` says what is stored and paid by then.
    """
    situation = UploadSituation(COPY_STEPS)
    with explained(situation):
        return _copy(open_copy_source(version), model, context, options or CopyOptions(), situation)


def _copy(
    source: CopySource,
    model: str,
    context: UploadContext,
    options: CopyOptions,
    situation: UploadSituation,
) -> UploadSummary:
    require_none(find_problems(model, None, {}))
    found = find_model(context.node, model, replicated=True)
    if (latest := latest_of(found)) is not None:
        remember(context.reader, model, latest, now_ns=context.now_ns())
    facts = gather_facts(context.node, found, raw_bytes=source.version.raw_bytes)
    placement = placement_of(source.version.manifest, context.node.principal, source.chunk_count)
    if (there := _already_there(source, placement, found)) is not None:
        return _summary(source, model, there, Spending(), source.version.raw_bytes, unchanged=True)
    require_none(find_problems(model, None, {}, facts))
    task = context.state.begin_upload(
        context.node.principal,
        model,
        source.pinned(),
        restart=options.restart,
        location=source.location,
    )
    if task.version is not None:
        task = context.state.reopen(task.id)
    situation.spending = Spending(
        limit_cycles=options.max_cycles,
        shared=options.budget,
        earlier_cycles=context.state.totals(task.id).cycles,
    )
    situation.earlier = situation.spending.earlier_cycles > 0
    lease = context.node.begin_upload(
        model, frames_count=source.chunk_count, frame_bytes=0, takeover=options.takeover
    )
    sender = make_sender(
        context, task, lease, situation.spending, side_by_side=options.side_by_side
    )
    situation.unresolved = lambda: sender.unresolved_count
    with rollback_on_error(partial(sender.close, wait_s=SETTLE_S)):
        run = CopyRun(
            source=source,
            upload_id=task.id,
            lease_id=lease.id,
            node=context.node,
            state=context.state,
            known=known_contents(
                context.node,
                context.state,
                context.me,
                raw_bytes=source.version.raw_bytes,
                note=context.progress.note,
                sleep=context.sleep,
            ),
            sender=sender,
            progress=context.progress,
            stopping=context.stopping,
        )
        context.progress.stage("asking the node what it holds")
        reopen_messages(run, context.outbox, context.progress.note)
        learn_lease(run, lease)
        sealed = _send_and_seal(run, task, lease, context, facts)
    situation.sealed = sealed.version
    sender.close()
    remember(context.reader, model, sealed, now_ns=context.now_ns())
    context.state.seal(task.id, sealed.version, sealed.manifest)
    return _summary(source, model, sealed, sender.spending, run.known_bytes, unchanged=False)


def _already_there(
    source: CopySource, placement: bytes, found: ModelInfo | None
) -> LatestVersion | None:
    """Find the version that has this manifest on this node already."""
    wanted = (source.version.manifest, frame_digest(placement))
    for version in found.versions if found is not None else ():
        if (version.manifest, version.placement) == wanted:
            return LatestVersion(
                version=version.version, manifest=version.manifest, placement=version.placement
            )
    return None


def _send_and_seal(
    run: CopyRun,
    task: Upload,
    lease: Lease,
    context: UploadContext,
    facts: NodeFacts,
) -> LatestVersion:
    """Alternate between sending and sealing until the node misses nothing."""
    manifest = run.source.version.manifest
    placement = placement_of(manifest, run.node.principal, run.chunk_count)
    for last_round in rounds(SEAL_ROUNDS):
        missing = run.survey()
        _require_room(missing, facts.details)
        problems = growth_problems(facts, frame_bytes=missing.frame_bytes, fees=context.fees)
        require_none(problems)
        context.progress.stage(f"copying {missing.frames_count:,} frames")
        run.send_all()
        context.progress.stage("sealing")
        try:
            parts = [*run.source.parts, placement]
            send_parts(run, lease, parts)
            frames = {record.frame for record in run.source.version.records()}
            frames.update(map(frame_digest, parts))
            set_aside(run, context.me, frames, context.progress.note)
            version = run.node.seal_model(
                lease.id, task.model, manifest=manifest, placement=frame_digest(placement)
            )
            return LatestVersion(
                version=version, manifest=manifest, placement=frame_digest(placement)
            )
        except IncompleteSealError as error:
            if last_round:
                raise
            context.progress.note(f"the node lacks {error.missing_count} frames: sending them")
            run.mark_unheld(all_missing(run, task, lease, error))
    raise AssertionError("unreachable")


def _require_room(missing: Missing, details: StatusDetails | None) -> None:
    """Check that the frames fit, where this identity may see how much room there is.

    Raises:
        NodeFullError: They do not.
    """
    if details is None:
        return
    room = MAX_STABLE_BYTES - details.stable_bytes + details.free_bytes
    if missing.frame_bytes > room:
        raise NodeFullError(
            f"the node lacks {format_bytes(missing.frame_bytes)} of this version and has room for "
            f"{format_bytes(room)}"
        )


def _summary(
    source: CopySource,
    model: str,
    sealed: LatestVersion,
    spending: Spending,
    known_bytes: int,
    *,
    unchanged: bool,
) -> UploadSummary:
    return UploadSummary(
        model=model,
        version=sealed.version,
        manifest=sealed.manifest,
        raw_bytes=source.version.raw_bytes,
        known_bytes=known_bytes,
        frames_count=spending.frames_count,
        sent_bytes=spending.envelope_bytes,
        retried_bytes=spending.retried_bytes,
        cycles=spending.cycles,
        unchanged=unchanged,
    )
