"""The uploader from Python: bodies of `datanode.upload` and `datanode.plan`.

The commands stand on `upload_into` and `plan_into` too.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

from datanode.command_context import CommandContext, ContextArguments
from datanode.errors import UsageError
from datanode.fees import DEFAULT_SCHEDULE, RENT_SCHEDULES, FeeSchedule
from datanode.globs import as_patterns
from datanode.node.subnets import require_fleet
from datanode.principal import Principal
from datanode.progress import Progress, ProgressLike, as_progress
from uploader.command_context import state_location, state_of, upload_context
from uploader.interrupts import until_interrupted
from uploader.session.fleet_upload import upload_over_fleet
from uploader.session.plan import Quote, Target
from uploader.session.plan import plan as plan_source
from uploader.session.upload import UploadContext, UploadOptions, UploadSummary
from uploader.session.upload import upload as upload_source
from uploader.source import Source, notes_on, open_source
from uploader.state.upload_lock import Queueing, upload_lock

__all__ = [
    "FileChoice",
    "Queueing",
    "UploadOptions",
    "UploadSummary",
    "plan",
    "plan_into",
    "plan_target",
    "upload",
    "upload_into",
]

_PLAN_JOBS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChoice:
    """Globs that choose files of a source; see `uploader/source/selection.py`."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        *,
        include: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        also: str | Sequence[str] = (),
    ) -> "FileChoice":
        """Take one glob, or several, of each kind."""
        return cls(
            include=as_patterns(include), exclude=as_patterns(exclude), also=as_patterns(also)
        )


def upload(
    source: str | PathLike[str],
    model: str,
    *,
    node: str | None = None,
    network: str | None = None,
    identity: str | PathLike[str] | None = None,
    root_key: bytes | str | None = None,
    state: str | None = None,
    limit_rate: int | None = None,
    files: FileChoice | None = None,
    options: UploadOptions | None = None,
    progress: ProgressLike | None = None,
    rebalance: bool = False,
    wait: bool = True,
) -> UploadSummary:
    """See `datanode.upload`; `options` are its keywords.

    Raises:
        DataNodeError: See `datanode.errors`; what is stored by then is paid and kept.
        KeyboardInterrupt: The user stopped it.

    Example:
        >>> import datanode
        >>> summary = datanode.upload("./my-model", "my-model")  # doctest: +SKIP
        >>> summary.version  # doctest: +SKIP
        1
    """
    listener = as_progress(progress)
    where = ContextArguments(
        node=node,
        network=network,
        identity=identity,
        root_key=root_key,
        state=state,
        limit_rate=limit_rate,
    )

    def work(stopping: Callable[[], bool]) -> UploadSummary:
        with (
            closing(_open(source, files)) as opened,
            where.open(listener.note, signs=True) as context,
        ):
            for note in notes_on(opened):
                listener.note(note)
            queueing = Queueing(wait=wait, say=listener.note, stopping=stopping)
            return upload_into(
                context,
                opened,
                model,
                options,
                progress=listener,
                queueing=queueing,
                rebalance=rebalance,
            )

    return until_interrupted(work)


def upload_into(
    context: CommandContext,
    source: Source,
    model: str,
    options: UploadOptions | None,
    *,
    progress: Progress,
    queueing: Queueing,
    rebalance: bool = False,
) -> UploadSummary:
    """Upload to the node of a context, after other uploads of the identity to it.

    Args:
        context: Network, identity and node.
        source: The checkpoint.
        model: Name to store it under.
        options: How to upload.
        progress: Listens.
        queueing: Whether to wait for others, and how the user's wish to stop is learnt.
        rebalance: Over a fleet: place anew, wherever tensors lie now.

    Raises:
        DataNodeError: As `datanode.upload`.
    """
    members = context.members()
    if len(members) > 1:
        return _upload_into_fleet(
            context,
            members,
            source,
            model,
            options,
            progress=progress,
            queueing=queueing,
            rebalance=rebalance,
        )
    if rebalance:
        raise UsageError("rebalancing moves tensors between members, and this is a single node")
    location = state_location(context)
    target = context.node()
    me = context.identity.principal
    with (
        state_of(context) as store,
        upload_lock(location, target.principal, me, model, queueing),
    ):
        workplace = upload_context(
            context,
            store,
            node=target.principal,
            progress=progress,
            stopping=queueing.stopping,
        )
        return upload_source(source, model, workplace, options)


def _upload_into_fleet(
    context: CommandContext,
    members: Sequence[Principal],
    source: Source,
    model: str,
    options: UploadOptions | None,
    *,
    progress: Progress,
    queueing: Queueing,
    rebalance: bool,
) -> UploadSummary:
    """Upload to the members of a fleet, after other uploads of the identity to any of them."""
    with member_contexts(context, members, model, progress=progress, queueing=queueing) as contexts:
        return upload_over_fleet(source, model, contexts, options, rebalance=rebalance)


@contextmanager
def member_contexts(
    context: CommandContext,
    members: Sequence[Principal],
    model: str,
    *,
    progress: Progress,
    queueing: Queueing,
) -> Iterator[list[UploadContext]]:
    """Open what an upload to each member of a fleet needs, and keep others of the identity out."""
    require_fleet(context.agent, members, safe="Nothing was sent.")
    location, me = state_location(context), context.identity.principal
    with ExitStack() as stack:
        for member in sorted(members, key=lambda each: each.raw):  # the same order for everybody
            stack.enter_context(upload_lock(location, member, me, model, queueing))
        yield [
            upload_context(
                context,
                stack.enter_context(state_of(context)),
                node=member,
                progress=progress,
                stopping=queueing.stopping,
            )
            for member in members
        ]


def plan(
    source: str | PathLike[str],
    *,
    model: str | None = None,
    exact: bool = False,
    files: FileChoice | None = None,
    fees: str | None = None,
    where: ContextArguments | None = None,
    jobs: int = 0,
    progress: ProgressLike | None = None,
) -> Quote:
    """See `datanode.plan`.

    Raises:
        DataNodeError: The upload could not end in a sealed version, or something cannot be read.
    """
    listener = as_progress(progress)
    where = where or ContextArguments()
    with ExitStack() as stack:
        opened = stack.enter_context(closing(_open(source, files)))
        for note in notes_on(opened):
            listener.note(note)
        target = None
        if where.node is not None:
            context = stack.enter_context(where.open(listener.note))
            target = plan_target(context, model, listener.note)
        return plan_into(
            opened, target, exact=exact, fees=fees or DEFAULT_SCHEDULE, jobs=jobs, progress=listener
        )


def plan_target(context: CommandContext, model: str | None, note: Callable[[str], None]) -> Target:
    """Plan for the node of a context, which is asked what it holds already."""
    canister = context.node()
    return Target(
        node=canister,
        me=context.identity.principal,
        model=model,
        note=note,
    )


def plan_into(
    source: Source,
    target: Target | None,
    *,
    exact: bool,
    fees: str,
    jobs: int,
    progress: Progress,
) -> Quote:
    """Estimate an upload, with the rents that its fee schedule can be compared with.

    Raises:
        DataNodeError: As `datanode.plan`.
    """
    prices = FeeSchedule.load(fees)
    rents = [prices] if prices.is_free else [FeeSchedule.load(name) for name in RENT_SCHEDULES]
    return plan_source(
        source,
        prices,
        schedules=rents,
        exact=exact or target is not None,
        target=target,
        jobs=jobs or _PLAN_JOBS,
        progress=progress,
    )


def _open(source: str | PathLike[str], files: FileChoice | None) -> Source:
    chosen = files or FileChoice()
    location = source if isinstance(source, str) else Path(source)
    return open_source(location, include=chosen.include, exclude=chosen.exclude, also=chosen.also)
