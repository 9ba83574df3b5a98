"""Bring a checkpoint into a node: `upload`, the straight line.

    source -> preflight -> chunker -> dedup -> codec, frame -> state -> node -> seal

Running it again resumes. The canister is the truth; the database is a cache of facts that the node
can confirm, and an intent log that keeps anything from being paid twice. What decides about paying
is certified: a query of one replica, which may lag or lie, is never enough.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

from datanode.agent.window import Window
from datanode.cleanup import rollback_on_error
from datanode.digest import FrameDigest
from datanode.errors import IncompleteSealError
from datanode.fees import FeeSchedule
from datanode.node.port import Lease, StorageNode, VersionInfo
from datanode.principal import Principal
from datanode.progress import Progress, SilentProgress
from datanode.reader import Reader
from datanode.units import MIB
from uploader.chunker import Layout
from uploader.session.chunk_router import ChunkRun
from uploader.session.encode_pipeline import GROUP_BYTES, workers
from uploader.session.facts import LatestVersion, find_model, gather_facts, latest_of, remember
from uploader.session.growth import growth_problems, least_frame_bytes
from uploader.session.message_sender import Sender
from uploader.session.preflight import find_problems, require_none
from uploader.session.resume import known_contents, learn_lease, reopen_messages
from uploader.session.seal import all_missing, seal
from uploader.session.situation import UploadSituation, explained
from uploader.session.spending import Budget, Spending
from uploader.source.base import Source
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore, Upload

SEAL_ROUNDS: Final = 3
"""How often the node may name missing frames before the run gives up."""

SETTLE_S: Final = 1.0
"""How long a run that ends early waits for answers to what is in flight."""

WINDOW_MESSAGES: Final = 8
WINDOW_BYTES: Final = 16 * MIB
LEAST_WINDOW_BYTES: Final = 4 * MIB
"""A full message in flight and another that is being signed."""
LEAST_GROUP_BYTES: Final = 4 * MIB
"""Ours: each group costs a replicated question, 0.4 % of what so many bytes cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions:
    """How to upload.

    Attributes:
        takeover: Take the lease even if another uploader holds it.
        restart: Plan anew although the source changed since the last run.
        max_cycles: Stop before all runs of this upload together spend more, as estimated; None:
            no limit.
        budget: Limit that other uploads share; None: there is none.
        jobs: Threads that read and encode; 0: one a core.
        side_by_side: Uploads that run at once, this one included; they share one window.
        metadata: Texts that travel in the manifest.
    """

    takeover: bool = False
    restart: bool = False
    max_cycles: int | None = None
    budget: Budget | None = None
    jobs: int = 0
    side_by_side: int = 1
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSummary:
    """Summary of an upload. Figures cover this run only.

    Attributes:
        model: Name of the model.
        version: The sealed version.
        manifest: Its digest.
        raw_bytes: Bytes of all files.
        known_bytes: Of those, bytes that the node held before this run.
        frames_count: Frames that this run stored, manifest included.
        sent_bytes: Bytes of signed messages.
        retried_bytes: Bytes that travelled more than once; paid once.
        cycles: Estimated cycles of the messages.
        unchanged: The version existed; nothing was sent.
    """

    model: str
    version: int
    manifest: FrameDigest
    raw_bytes: int
    known_bytes: int
    frames_count: int
    sent_bytes: int
    retried_bytes: int
    cycles: int
    unchanged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadContext:
    """Dependencies of an upload; tests can replace each of them.

    Attributes:
        node: Where frames go.
        me: The identity that signs.
        reader: Reads what the node holds, verified, and remembers the latest versions.
        state: The database.
        outbox: Signed bytes in flight.
        fees: Prices.
        progress: Listens.
        pool: Threads that read and encode, for uploads side by side; None: threads of its own.
        stopping: Turns true when the user wants to stop.
        sleep: Waits between attempts, seconds.
        now_ns: The time, nanoseconds since 1970.
    """

    node: StorageNode
    me: Principal
    reader: Reader
    state: StateStore
    outbox: Outbox
    fees: FeeSchedule
    progress: Progress = SilentProgress()  # noqa: RUF009 - it has no state
    pool: ThreadPoolExecutor | None = None
    stopping: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep
    now_ns: Callable[[], int] = time.time_ns


def upload(
    source: Source, model: str, context: UploadContext, options: UploadOptions | None = None
) -> UploadSummary:
    """Bring every byte of `source` to the node and seal it as the latest version of `model`.

    Raises:
        DataNodeError: See `datanode.errors`; its `safe` says what is stored and paid by then.
    """
    situation = UploadSituation()
    with explained(situation):
        return _upload(source, model, context, options or UploadOptions(), situation)


def _upload(
    source: Source,
    model: str,
    context: UploadContext,
    options: UploadOptions,
    situation: UploadSituation,
) -> UploadSummary:
    layout = Layout(source.files(), source.tensors())
    metadata = dict(options.metadata)
    require_none(find_problems(model, layout, metadata))
    found = find_model(context.node, model, replicated=True)
    latest = latest_of(found)
    if latest is not None:
        remember(context.reader, model, latest, now_ns=context.now_ns())
    facts = gather_facts(context.node, found, raw_bytes=layout.total_bytes)
    least_bytes = least_frame_bytes(facts, layout.total_bytes)
    problems = find_problems(model, layout, metadata, facts)
    problems += growth_problems(facts, frame_bytes=least_bytes, fees=context.fees)
    require_none(problems)
    task = context.state.begin_upload(
        context.node.principal,
        model,
        source.pinned(),
        restart=options.restart,
        location=source.location,
    )
    if task.version is not None:
        if latest is not None and (task.version, task.manifest) == (
            latest.version,
            latest.manifest,
        ):
            return _unchanged(layout, model, latest)
        task = context.state.reopen(task.id)
    for problem in growth_problems(facts, frame_bytes=layout.total_bytes, fees=context.fees):
        context.progress.note(f"if most of the source is new to the node: {problem.what}")
    situation.spending = Spending(
        limit_cycles=options.max_cycles,
        shared=options.budget,
        earlier_cycles=context.state.totals(task.id).cycles,
    )
    situation.earlier = situation.spending.earlier_cycles > 0
    lease = context.node.begin_upload(
        model, frames_count=layout.chunk_count, frame_bytes=0, takeover=options.takeover
    )
    jobs = options.jobs or os.cpu_count() or 1
    sender = make_sender(
        context, task, lease, situation.spending, side_by_side=options.side_by_side
    )
    situation.unresolved = lambda: sender.unresolved_count
    with _pool(context, jobs) as pool, rollback_on_error(partial(sender.close, wait_s=SETTLE_S)):
        run = ChunkRun(
            source=source,
            layout=layout,
            upload_id=task.id,
            lease_id=lease.id,
            node=context.node,
            state=context.state,
            known=known_contents(
                context.node,
                context.state,
                context.me,
                raw_bytes=layout.total_bytes,
                note=context.progress.note,
                sleep=context.sleep,
            ),
            sender=sender,
            progress=context.progress,
            stopping=context.stopping,
            pool=pool,
            ahead=2 * jobs,
            group_bytes=max(LEAST_GROUP_BYTES, GROUP_BYTES // options.side_by_side),
            resumed_bytes=context.state.held_bytes(task.id),
        )
        context.progress.stage("asking the node what it holds")
        reopen_messages(run, context.outbox, context.progress.note)
        learn_lease(run, lease)
        sealed = _send_and_seal(
            run, task, lease, context, metadata, versions=found.versions if found else ()
        )
    situation.sealed = sealed.version
    sender.close()
    remember(context.reader, model, sealed, now_ns=context.now_ns())
    context.state.seal(task.id, sealed.version, sealed.manifest)
    run.source.check_unchanged()
    return _summary(run, task, sealed)


def _pool(context: UploadContext, jobs: int) -> AbstractContextManager[ThreadPoolExecutor]:
    return workers(jobs) if context.pool is None else nullcontext(context.pool)


def make_sender(
    context: UploadContext,
    task: Upload,
    lease: Lease,
    spending: Spending,
    *,
    side_by_side: int = 1,
) -> Sender:
    """Make the sender of one run of an upload."""

    def admit(frames_count: int, frame_bytes: int) -> None:
        context.node.begin_upload(task.model, frames_count=frames_count, frame_bytes=frame_bytes)

    return Sender(
        node=context.node,
        state=context.state,
        outbox=context.outbox,
        upload_id=task.id,
        lease_id=lease.id,
        fees=context.fees,
        window=Window(
            max_messages=WINDOW_MESSAGES,
            max_bytes=max(LEAST_WINDOW_BYTES, WINDOW_BYTES // side_by_side),
        ),
        admit=admit,
        spending=spending,
        sleep=context.sleep,
        note=context.progress.note,
        stopping=context.stopping,
    )


def _send_and_seal(
    run: ChunkRun,
    task: Upload,
    lease: Lease,
    context: UploadContext,
    metadata: dict[str, str],
    *,
    versions: Sequence[VersionInfo],
) -> LatestVersion:
    """Alternate between sending and sealing until the node misses nothing."""
    for last_round in rounds(SEAL_ROUNDS):
        run.send_all()
        run.source.check_unchanged()
        context.progress.stage("sealing")
        try:
            return seal(run, task, lease, metadata, versions, note=context.progress.note)
        except IncompleteSealError as error:
            if last_round:
                raise
            context.progress.note(f"the node lacks {error.missing_count} frames: sending them")
            run.mark_unheld(all_missing(run, task, lease, error))
    raise AssertionError("unreachable")


def rounds(count: int) -> Iterator[bool]:
    """Yield for each round whether it is the last."""
    yield from (number == count for number in range(1, count + 1))


def _summary(run: ChunkRun, task: Upload, sealed: LatestVersion) -> UploadSummary:
    spending = run.sender.spending
    return UploadSummary(
        model=task.model,
        version=sealed.version,
        manifest=sealed.manifest,
        raw_bytes=run.layout.total_bytes,
        known_bytes=run.known_bytes,
        frames_count=spending.frames_count,
        sent_bytes=spending.envelope_bytes,
        retried_bytes=spending.retried_bytes,
        cycles=spending.cycles,
        unchanged=False,
    )


def _unchanged(layout: Layout, model: str, latest: LatestVersion) -> UploadSummary:
    return UploadSummary(
        model=model,
        version=latest.version,
        manifest=latest.manifest,
        raw_bytes=layout.total_bytes,
        known_bytes=layout.total_bytes,
        frames_count=0,
        sent_bytes=0,
        retried_bytes=0,
        cycles=0,
        unchanged=True,
    )
