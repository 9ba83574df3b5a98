"""`datanode batch`: many uploads from a list, by one process or by many."""

import os
import secrets
import socket
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datanode.command_context import CommandContext, open_place
from datanode.errors import BatchFailedError
from datanode.folders import config_folder
from datanode.node import registry
from datanode.principal import Principal
from datanode.units import format_bytes, format_cycles
from uploader.cli import options
from uploader.cli.amounts import parse_cycles
from uploader.cli.output import Output
from uploader.cli.signals import stoppable
from uploader.command_context import state_location

if TYPE_CHECKING:
    from uploader.session.batch import SharedBudget
    from uploader.session.upload import UploadSummary
    from uploader.state.batch_queue import BatchQueue, Claim, JobResult


def batch_command(
    list_file: Annotated[
        str,
        typer.Argument(
            metavar="LIST", help='JSON lines: {"source": PATH, "model": NAME, "node": NODE}.'
        ),
    ],
    *,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    state: options.State = None,
    root_key: options.RootKey = None,
    max_cycles: Annotated[
        str | None,
        typer.Option(
            metavar="CYCLES", help="Stop before all jobs together spend more, e.g. 1.5TC."
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try jobs again that failed.")
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Upload every source of LIST; several processes share the work.

    Jobs are claimed in the state database: run the same command again to resume, or on more hosts
    with the same --state postgresql://... to share. A process that dies frees its job in a minute.
    """
    from uploader.batch_list import batch_id, read_list  # noqa: PLC0415 - brings libraries along
    from uploader.session.batch import STALE_S, run_batch  # noqa: PLC0415 - see above
    from uploader.state.batch_queue import BatchQueue, NewJob  # noqa: PLC0415 - see above
    from uploader.state.database import open_database  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    limit = None if max_cycles is None else parse_cycles(max_cycles)
    path = Path(list_file).expanduser()
    with (
        open_place(
            output.say,
            network=network,
            identity=identity,
            node=node,
            state=state,
            root_key=root_key,
            signs=True,
        ) as context,
        open_database(state_location(context).url) as database,
        stoppable(output.say) as stopping,
    ):
        me = context.identity.principal
        jobs = read_list(path, lambda name: _members(context, name))
        named = batch_id(jobs, root_key=context.network.root_key, me=me)
        worker = f"pid {os.getpid()} on {socket.gethostname()[:64]} {secrets.token_hex(4)}"
        queue = BatchQueue(database, named, worker=worker, stale_s=STALE_S)
        queue.enter([NewJob(source=job.source, model=job.model, node=job.node) for job in jobs])
        if retry_failed:
            queue.retry_failed()
        upload_one = _Uploads(
            output=output,
            context=context,
            folder=path.parent,
            members={(job.node, job.model): job.members for job in jobs},
            stopping=stopping,
        )
        run_batch(queue, upload_one, max_cycles=limit, note=output.say, stopping=stopping)
        _report(output, queue)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Uploads:
    """Does one job of a batch.

    Attributes:
        output: Shows how far it is.
        context: Network and identity.
        folder: Where relative paths start.
        members: Where each job goes, by node and model.
        stopping: Turns true when the user wants to stop.
    """

    output: Output
    context: CommandContext
    folder: Path
    members: Mapping[tuple[Principal, str], tuple[Principal, ...]]
    stopping: Callable[[], bool]

    def __call__(self, claim: "Claim", budget: "SharedBudget") -> "UploadSummary":
        """Upload the source of a claim."""
        from uploader.batch_list import located  # noqa: PLC0415 - see above
        from uploader.library import Queueing, UploadOptions, member_contexts  # noqa: PLC0415
        from uploader.session.fleet_upload import upload_over_fleet  # noqa: PLC0415 - see above
        from uploader.session.upload import upload  # noqa: PLC0415 - see above
        from uploader.source import open_source  # noqa: PLC0415 - see above

        options = UploadOptions(budget=budget)
        queueing = Queueing(say=self.output.say, stopping=self.stopping)
        with (
            closing(open_source(located(claim.source, self.folder))) as source,
            self.output.progress() as progress,
            member_contexts(
                self.context,
                self.members[claim.node, claim.model],
                claim.model,
                progress=progress,
                queueing=queueing,
            ) as contexts,
        ):
            if len(contexts) > 1:
                return upload_over_fleet(source, claim.model, contexts, options)
            return upload(source, claim.model, contexts[0], options)


def _members(context: CommandContext, name: str | None) -> tuple[Principal, ...]:
    if name is None:
        return context.members()
    return registry.resolve_fleet(config_folder(), name, network=context.network.name)


def _report(output: Output, queue: "BatchQueue") -> None:
    jobs = queue.results()
    for job in jobs:
        output.item(
            source=job.source,
            model=job.model,
            node=job.node.text,
            status=job.status.value,
            attempts=job.attempts,
            version=job.version,
            manifest=None if job.manifest is None else job.manifest.hex(),
            sent_bytes=job.sent_bytes,
            cycles=job.cycles,
            exit_code=job.exit_code,
            error=job.error,
        )
    output.table(
        ["model", "node", "status", "> sent", "> cycles", "source"],
        [[job.model, job.node.text, _status(job), *_figures(job), job.source] for job in jobs],
    )
    failed = [job for job in jobs if job.exit_code is not None]
    spent = queue.spent_cycles()
    if failed:
        raise BatchFailedError(
            f"{len(failed)} of {len(jobs)} jobs failed; the first: {failed[0].error}",
            safe=f"{len(jobs) - len(failed)} jobs are done, about {format_cycles(spent)} in all.",
        )
    output.summary(
        f"{len(jobs)} jobs are done, about {format_cycles(spent)} in all",
        jobs=len(jobs),
        done=len(jobs) - len(failed),
        failed=len(failed),
        cycles=spent,
    )


def _status(job: "JobResult") -> str:
    if job.version is not None:
        return f"version {job.version}"
    return f"failed: {job.error}" if job.error else job.status.value


def _figures(job: "JobResult") -> tuple[str, str]:
    return (
        "-" if job.sent_bytes is None else format_bytes(job.sent_bytes),
        "-" if job.cycles is None else format_cycles(job.cycles),
    )
