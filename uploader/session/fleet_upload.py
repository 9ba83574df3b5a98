"""Bring a checkpoint into a fleet: one ordinary upload for each member, then one for the index.

    layout -> placement -> a part for each member, side by side -> manifest of the whole -> index

Each part is a model of its own, uploaded, resumed, paid once and sealed as any other. The version
under the model's own name is the index (`datanode/fleet_index.py`), sealed last: until then nothing
is visible under that name, and what it names is certified by every member.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from datanode.digest import DIGEST_BYTES
from datanode.errors import (
    NotFoundError,
    SourceChangedError,
    SourceError,
    StateDamagedError,
    UsageError,
)
from datanode.fleet_index import (
    FOLDER,
    HEAD_PATH,
    INDEX_PATH,
    FleetIndex,
    FleetPart,
    chunk_page_path,
    tensor_page_path,
)
from datanode.limits import MAX_MODEL_NAME_BYTES
from datanode.manifest import Manifest
from datanode.model import ChunkRecord
from datanode.part_names import PART_SUFFIX, part_name
from datanode.reader import VerifiedVersion
from datanode.reader.fleet_version import is_fleet_version, read_index
from uploader.chunker import Layout
from uploader.fleet_placement import FleetPlacement, place
from uploader.fleet_slices import COORDINATOR
from uploader.session.encode_pipeline import workers
from uploader.session.fleet_access import align_access
from uploader.session.fleet_digests import WholeDigests
from uploader.session.fleet_parts import MemberPart, member_parts, rooms_of
from uploader.session.fleet_progress import FleetProgress
from uploader.session.fleet_sticky import is_moved, sticky_chunks
from uploader.session.manifest_builder import describe
from uploader.session.plan import estimate_sizes
from uploader.session.preflight import find_problems, require_none
from uploader.session.side_by_side import at_once, side_by_side
from uploader.session.spending import Budget, FleetBudget
from uploader.session.upload import UploadContext, UploadOptions, UploadSummary, upload
from uploader.source.base import Source
from uploader.source.memory_source import MemorySource


@dataclass(frozen=True, slots=True, kw_only=True)
class _FleetRun:
    """One run of an upload over a fleet.

    Attributes:
        model: Name of the model.
        source: The checkpoint.
        layout: Its chunks.
        contexts: One for each member.
        options: How to upload.
        progress: Adds up what the members report.
    """

    model: str
    source: Source
    layout: Layout
    contexts: Sequence[UploadContext]
    options: UploadOptions
    progress: FleetProgress

    @property
    def coordinator(self) -> UploadContext:
        return self.contexts[COORDINATOR]


def upload_over_fleet(
    source: Source,
    model: str,
    contexts: Sequence[UploadContext],
    options: UploadOptions | None = None,
    *,
    rebalance: bool = False,
) -> UploadSummary:
    """Bring every byte of `source` to the members of a fleet and seal it as one version.

    Args:
        source: The checkpoint.
        model: Name to store it under.
        contexts: One for each member, the coordinator first; each is used by one thread at a time.
        options: How to upload.
        rebalance: Place anew, wherever tensors lie now; what moves is paid for.

    Raises:
        DataNodeError: See `datanode.errors`; the member that failed is named.
    """
    options = options or UploadOptions()
    layout = Layout(source.files(), source.tensors())
    _check(model, layout, dict(options.metadata))
    budget = shared_budget(model, contexts, options.max_cycles, options.budget)
    run = _FleetRun(
        model=model,
        source=source,
        layout=layout,
        contexts=contexts,
        options=replace(options, max_cycles=None, budget=budget),
        progress=FleetProgress(contexts[COORDINATOR].progress, total_bytes=layout.total_bytes),
    )
    parts = member_parts(source, layout, _place(run, rebalance=rebalance).members)
    with WholeDigests(source, layout) as digests:
        summaries = _upload_parts(run, parts)
        opened = [_open(run, part, summaries[part.member]) for part in parts]
        named = tuple(map(_named, opened))
        if all(each.unchanged for each in summaries.values()):
            latest = _latest(run)
            if latest is not None and _is_of(latest, named, layout):
                return _total(run, [*summaries.values()], latest, unchanged=True)
        run.progress.stage("digesting the files of the checkpoint")
        whole, segments = _describe(run, parts, opened, digests)
    index = FleetIndex(manifest=whole.digest, parts=named, segments=segments)
    align_access(run.coordinator.node, [contexts[part.member].node for part in parts], model)
    run.progress.stage("sealing the index")
    source.check_unchanged()
    coordinator = replace(run.coordinator, progress=run.progress.of(len(contexts)))
    files = MemorySource(source.location, _files(whole, index))
    sealed = upload_index(coordinator, model, files, run.options)
    latest = coordinator.reader.open_version(model, sealed.version)
    done = [*summaries.values(), sealed]
    return _total(run, done, latest, unchanged=all(each.unchanged for each in done))


def upload_index(
    context: UploadContext, model: str, index: MemorySource, options: UploadOptions
) -> UploadSummary:
    """Upload the index; one that another run has planned and not sealed gives way to it."""
    planned = context.state.last_planned(context.node.principal, model)
    recorded = [(file.path, file.length_bytes, file.stamp) for file in planned]
    mine = [(file.path, file.length_bytes, file.stamp) for file in index.pinned()]
    restart = bool(recorded) and recorded != mine
    return upload(index, model, context, replace(options, jobs=1, restart=restart))


def _check(model: str, layout: Layout, metadata: dict[str, str]) -> None:
    require_none(find_problems(model, layout, metadata))
    check_name(model)
    for file in layout.files:
        if file.path.startswith(FOLDER):
            raise SourceError(
                f"{file.path}: the folder {FOLDER} is reserved for the index of a fleet",
                safe="Nothing was sent.",
                hint="Leave it out with --exclude.",
            )


def check_name(model: str) -> None:
    """Make sure that a model over a fleet can be called so.

    Raises:
        UsageError: It cannot.
    """
    if len(part_name(model)) > MAX_MODEL_NAME_BYTES or model.endswith(PART_SUFFIX):
        raise UsageError(
            f"{model!r} is not the name of a model over several nodes: at most "
            f"{MAX_MODEL_NAME_BYTES - len(PART_SUFFIX)} characters, without {PART_SUFFIX} at the "
            "end",
            safe="Nothing was sent.",
            hint="Choose another name with --as.",
        )


def _place(run: _FleetRun, *, rebalance: bool) -> FleetPlacement:
    rooms = rooms_of([context.node for context in run.contexts])
    with workers(run.options.jobs or os.cpu_count() or 1) as pool:
        sizes = estimate_sizes(run.source, run.layout, pool)
    held = {} if rebalance else sticky_chunks(run.layout, run.contexts, run.model)
    return place(run.layout, sizes, rooms, held=held)


def shared_budget(
    model: str, contexts: Sequence[UploadContext], max_cycles: int | None, further: Budget | None
) -> Budget | None:
    """Count the messages of all members, of earlier runs too, against one limit."""
    if max_cycles is None:
        return further
    names = {model, part_name(model)}
    nodes = {context.node.principal for context in contexts}
    state = contexts[COORDINATOR].state
    earlier = sum(
        state.totals(each.id).cycles
        for each in state.uploads()
        if each.version is None and each.model in names and each.node in nodes
    )
    return FleetBudget(max_cycles, earlier, further)


def _upload_parts(run: _FleetRun, parts: Sequence[MemberPart]) -> dict[int, UploadSummary]:
    """Upload to all members side by side; the first failure stops the others where that is safe.

    Raises:
        DataNodeError: Of the member that failed first.
    """
    abreast = at_once(len(parts))
    jobs = run.options.jobs or os.cpu_count() or 1
    options = replace(run.options, jobs=max(1, jobs // abreast), side_by_side=abreast)
    name = part_name(run.model)

    def work(at: int, context: UploadContext) -> UploadSummary:
        planned = context.state.last_planned(context.node.principal, name)
        moved = bool(planned) and is_moved(parts[at], run.source, planned)
        wishes = replace(options, restart=options.restart or moved)
        return upload(parts[at].source, name, context, wishes)

    with workers(jobs) as shared:
        contexts = [
            replace(run.contexts[part.member], pool=shared, progress=run.progress.of(part.member))
            for part in parts
        ]
        summaries = side_by_side(contexts, work)
    return {part.member: summary for part, summary in zip(parts, summaries, strict=True)}


def _open(run: _FleetRun, part: MemberPart, summary: UploadSummary) -> VerifiedVersion:
    """Open what a member has sealed, proven by its certificate.

    Raises:
        StateDamagedError: The member certifies another manifest than was sealed.
    """
    reader = run.contexts[part.member].reader
    opened = reader.open_version(part_name(run.model), summary.version)
    if opened.manifest != summary.manifest or opened.head.chunk_count != part.layout.chunk_count:
        raise StateDamagedError(
            f"member {reader.node.principal} certifies another part than the one that was sealed",
            hint="Run the same command with --restart: what the members hold is not sent again.",
        )
    return opened


def _named(opened: VerifiedVersion) -> FleetPart:
    trusted = opened.trusted
    return FleetPart(node=trusted.node, version=trusted.version, manifest=trusted.manifest)


def _latest(run: _FleetRun) -> VerifiedVersion | None:
    try:
        return run.coordinator.reader.open_version(run.model)
    except NotFoundError:
        return None


def _is_of(latest: VerifiedVersion, parts: tuple[FleetPart, ...], layout: Layout) -> bool:
    """Whether a version is the index of just these parts and files."""
    if not is_fleet_version(latest.head):
        return False
    index, _, head = read_index(latest)
    files = [(file.path, file.length_bytes) for file in head.files]
    return index.parts == parts and files == [
        (file.path, file.length_bytes) for file in layout.files
    ]


def _describe(
    run: _FleetRun,
    parts: Sequence[MemberPart],
    opened: Sequence[VerifiedVersion],
    digests: WholeDigests,
) -> tuple[Manifest, tuple[tuple[int, int, int], ...]]:
    """Describe the whole from what the members have certified, and where its chunks lie.

    Raises:
        SourceChangedError: A chunk that a member holds is not what the checkpoint has now.
    """
    segments = sorted(
        (first_whole, at, first, count)
        for at, part in enumerate(parts)
        for first_whole, first, count in part.segments()
    )
    files, contents = digests.result()

    def records() -> Iterator[ChunkRecord]:
        chunk = 0
        for _, at, first, count in segments:
            for index in range(first, first + count):
                record = opened[at].record(index)
                start = chunk * DIGEST_BYTES
                if record.content != contents[start : start + DIGEST_BYTES]:
                    raise SourceChangedError(
                        f"chunk {chunk} of {run.source.location} has changed since it was sent"
                    )
                yield record
                chunk += 1

    whole = describe(run.layout, records(), files, dict(run.options.metadata))
    return whole, tuple((at, first, count) for _, at, first, count in segments)


def _files(whole: Manifest, index: FleetIndex) -> dict[str, bytes]:
    files = {INDEX_PATH: index.pack(), HEAD_PATH: whole.head_frame}
    for number, page in enumerate(whole.chunk_page_frames):
        files[chunk_page_path(number)] = page
    for number, page in enumerate(whole.tensor_page_frames):
        files[tensor_page_path(number)] = page
    return files


def _total(
    run: _FleetRun,
    summaries: Sequence[UploadSummary],
    index: VerifiedVersion,
    *,
    unchanged: bool,
) -> UploadSummary:
    return total(summaries, index, raw_bytes=run.layout.total_bytes, unchanged=unchanged)


def total(
    summaries: Sequence[UploadSummary],
    index: VerifiedVersion,
    *,
    raw_bytes: int,
    unchanged: bool,
) -> UploadSummary:
    """Sum up what was done on the members for a version that the coordinator has sealed."""
    known_bytes = sum(each.known_bytes for each in summaries if each.model != index.model)
    return UploadSummary(
        model=index.model,
        version=index.version,
        manifest=index.manifest,
        raw_bytes=raw_bytes,
        known_bytes=min(raw_bytes, known_bytes),
        frames_count=sum(each.frames_count for each in summaries),
        sent_bytes=sum(each.sent_bytes for each in summaries),
        retried_bytes=sum(each.retried_bytes for each in summaries),
        cycles=sum(each.cycles for each in summaries),
        unchanged=unchanged,
    )
