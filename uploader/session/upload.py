"""Bring a checkpoint into a node: `upload`, the straight line.

    source -> chunker -> dedup -> codec, frame -> state -> node -> seal

Running it again is resuming. The canister is the truth; the database is a cache of facts that the
node can confirm, and an intent log that keeps anything from being paid twice.
"""

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from datanode.agent.window import Window
from datanode.cleanup import undoing
from datanode.digest import FrameDigest
from datanode.errors import IncompleteSealError, NotFoundError, UsageError
from datanode.fees import FeeSchedule
from datanode.limits import MAX_MODEL_NAME_BYTES
from datanode.node.port import Lease, StorageNode
from datanode.principal import Principal
from datanode.reader import Reader
from datanode.units import MIB
from uploader.chunker import Layout
from uploader.dedup import Known
from uploader.progress import Progress, Silent
from uploader.session.chunks import ChunkRun
from uploader.session.reading import workers
from uploader.session.resume import learn, reopen_messages
from uploader.session.seal import all_missing, seal
from uploader.session.sending import Sender, Spending
from uploader.source.base import Source
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore, Upload

_SEAL_ROUNDS: Final = 3
"""How often the node may name missing frames before the run gives up."""

_SETTLE_S: Final = 1.0
"""How long a run that ends early waits for answers to what is in flight."""

_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9._/-]+")
WINDOW_MESSAGES: Final = 8
WINDOW_BYTES: Final = 16 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadOptions:
    """How to upload.

    Attributes:
        takeover: Take the lease even if another uploader holds it.
        restart: Plan anew although the source changed since the last run.
        max_cycles: Stop before an estimated spending above this; None: no limit.
        jobs: Threads that read and encode; 0: one a core.
        metadata: Texts that travel in the manifest.
    """

    takeover: bool = False
    restart: bool = False
    max_cycles: int | None = None
    jobs: int = 0
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadSummary:
    """What an upload came to. Figures are of this run alone.

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
class Workplace:
    """What an upload works with; every part can be replaced by a test.

    Attributes:
        node: Where frames go.
        me: The identity that signs.
        reader: Reads what the node holds, verified.
        state: The database.
        outbox: Signed bytes in flight.
        fees: Prices.
        progress: Listens.
        stopping: Turns true when the user wants to stop.
        sleep: Waits between attempts, seconds.
    """

    node: StorageNode
    me: Principal
    reader: Reader
    state: StateStore
    outbox: Outbox
    fees: FeeSchedule
    progress: Progress = Silent()  # noqa: RUF009 - it has no state
    stopping: Callable[[], bool] = lambda: False
    sleep: Callable[[float], None] = time.sleep


def upload(
    source: Source, model: str, place: Workplace, options: UploadOptions | None = None
) -> UploadSummary:
    """Bring every byte of `source` to the node and seal it as a version of `model`.

    Raises:
        DataNodeError: See `datanode.errors`; what is stored by then is paid and kept.
    """
    options = options or UploadOptions()
    _check_name(model)
    layout = Layout(source.files(), source.tensors())
    task = place.state.begin_upload(
        place.node.principal,
        model,
        source.pinned(),
        restart=options.restart,
        location=source.location,
    )
    if task.version is not None and task.manifest is not None:
        if _still_sealed(place, model, task.version, task.manifest):
            return _unchanged(layout, model, task.version, task.manifest)
        place.state.reopen(task.id)
    lease = place.node.begin_upload(
        model,
        frames_count=layout.chunk_count,
        frame_bytes=layout.total_bytes,
        takeover=options.takeover,
    )
    jobs = options.jobs or os.cpu_count() or 1
    with workers(jobs) as pool:
        run = ChunkRun(
            source=source,
            layout=layout,
            upload_id=task.id,
            lease_id=lease.id,
            node=place.node,
            state=place.state,
            reader=place.reader,
            known=Known(receipts=place.state.finder(place.node.principal)),
            progress=place.progress,
            stopping=place.stopping,
            pool=pool,
            ahead=2 * jobs,
        )
        return _run(run, task, lease, place, options)


def _check_name(model: str) -> None:
    """Refuse what the node would refuse, before anything is kept or paid."""
    if len(model) > MAX_MODEL_NAME_BYTES or not _MODEL_NAME.fullmatch(model) or ".." in model:
        raise UsageError(
            f"{model!r} is not the name of a model: 1 to {MAX_MODEL_NAME_BYTES} of "
            "A-Z a-z 0-9 . _ / - without two dots in a row",
            safe="Nothing was sent.",
            hint="Choose another name with --as.",
        )


def _run(
    run: ChunkRun, task: Upload, lease: Lease, place: Workplace, options: UploadOptions
) -> UploadSummary:
    sender = Sender(
        node=place.node,
        state=place.state,
        outbox=place.outbox,
        upload_id=task.id,
        lease_id=lease.id,
        fees=place.fees,
        window=Window(max_messages=WINDOW_MESSAGES, max_bytes=WINDOW_BYTES),
        on_stored=run.stored,
        on_lost=run.lost,
        spending=Spending(limit_cycles=options.max_cycles),
        sleep=place.sleep,
        note=place.progress.note,
        stopping=place.stopping,
    )
    run.sender = sender
    with undoing(partial(sender.close, wait_s=_SETTLE_S)):
        place.progress.stage("asking the node what it holds")
        reopen_messages(run, place.outbox, task.model, place.progress.note)
        learn(run, place.me, place.progress.note)
        version, manifest = _send_and_seal(run, task, lease, place, options)
    sender.close()
    run.source.check_unchanged()
    place.state.seal(task.id, version, manifest)
    return UploadSummary(
        model=task.model,
        version=version,
        manifest=manifest,
        raw_bytes=run.layout.total_bytes,
        known_bytes=run.known_bytes,
        frames_count=sender.spending.frames_count,
        sent_bytes=sender.spending.envelope_bytes,
        retried_bytes=sender.spending.retried_bytes,
        cycles=sender.spending.cycles,
        unchanged=False,
    )


def _send_and_seal(
    run: ChunkRun, task: Upload, lease: Lease, place: Workplace, options: UploadOptions
) -> tuple[int, FrameDigest]:
    """Alternate between sending and sealing until the node misses nothing."""
    for last_round in _rounds(_SEAL_ROUNDS):
        run.send_all()
        run.source.check_unchanged()
        place.progress.stage("sealing")
        try:
            return seal(run, task, lease, options.metadata)
        except IncompleteSealError as error:
            if last_round:
                raise
            place.progress.note(f"the node lacks {error.missing_count} frames: sending them")
            missing = all_missing(run, task, lease, error)
            place.state.unlearn(place.node.principal, missing)
            run.forget(missing)
    raise AssertionError("unreachable")


def _rounds(count: int) -> Iterator[bool]:
    yield from (number == count for number in range(1, count + 1))


def _still_sealed(place: Workplace, model: str, version: int, manifest: FrameDigest) -> bool:
    """Ask, with certificates, whether the version that this state remembers is there."""
    try:
        return place.reader.open_version(model, version).manifest == manifest
    except NotFoundError:
        return False


def _unchanged(layout: Layout, model: str, version: int, manifest: FrameDigest) -> UploadSummary:
    return UploadSummary(
        model=model,
        version=version,
        manifest=manifest,
        raw_bytes=layout.total_bytes,
        known_bytes=layout.total_bytes,
        frames_count=0,
        sent_bytes=0,
        retried_bytes=0,
        cycles=0,
        unchanged=True,
    )
