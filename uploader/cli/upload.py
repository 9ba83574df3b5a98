"""`datanode upload` and `datanode plan`: the way in, and its price.

A command's work is imported when it is done: its help and the shell need only its words.
"""

from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Annotated, Final

import typer

from datanode.command_context import ContextArguments
from datanode.fees import DEFAULT_SCHEDULE
from datanode.units import format_bytes, format_tc
from uploader.cli import options, sources
from uploader.cli.amounts import Currency, parse_cycles, parse_xdr_rate
from uploader.cli.output import Output
from uploader.cli.plan_fleet import plan_over_fleet
from uploader.cli.signals import stoppable
from uploader.cli.upload_report import report
from uploader.cli.where import with_where
from uploader.command_context import open_place

if TYPE_CHECKING:
    from uploader.session.plan import Quote, Target


_STORAGE_PRICES: Final = {
    "docs": "storage at the price of the IC's documentation",
    "code": "storage at the price in the replica's source code",
    "engine": "a cloud engine, whose canisters pay nothing",
}


def plan_command(
    source: sources.SourceArgument,
    *,
    model: Annotated[
        str | None, typer.Option("--as", metavar="MODEL", help="Name to check, with --node.")
    ] = None,
    exact: Annotated[bool, typer.Option(help="Encode every chunk, not a sample.")] = False,
    node: Annotated[
        str | None,
        typer.Option(
            "--node",
            help="Ask this node what it holds already, with --exact; a fleet: plan each member.",
            autocompletion=options.known_nodes,
        ),
    ] = None,
    fees: Annotated[
        str,
        typer.Option(
            metavar="SCHEDULE", help="Fee schedule: docs, code, or engine for a cloud engine."
        ),
    ] = DEFAULT_SCHEDULE,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    include: sources.Include = None,
    exclude: sources.Exclude = None,
    also: sources.Also = None,
    follow_links: sources.FollowLinks = False,
    ignore_inode: sources.IgnoreInode = False,
    request_payer: sources.RequestPayer = False,
    jobs: options.EncodeJobs = 0,
    xdr_rate: options.XdrRate = None,
    as_json: options.AsJson = False,
) -> None:
    """Estimate what uploading SOURCE costs; send nothing."""
    from uploader.library import plan_into, plan_target  # noqa: PLC0415 - see above
    from uploader.source import open_source  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    currency = parse_xdr_rate(xdr_rate)
    with ExitStack() as stack:
        opened = stack.enter_context(
            closing(
                open_source(
                    source,
                    include=include or (),
                    exclude=exclude or (),
                    also=also or (),
                    follow_links=follow_links,
                    ignore_inode=ignore_inode,
                    request_payer=request_payer,
                )
            )
        )
        target: Target | None = None
        if node is not None:
            context = stack.enter_context(
                open_place(
                    output.say, network=network, identity=identity, node=node, root_key=root_key
                )
            )
            if len(context.members()) > 1:
                sources.tell_files(output, opened)
                plan_over_fleet(output, context, opened, fees=fees, jobs=jobs, exact=exact)
                return
            exact = True
            target = plan_target(context, model, output.say)
        progress = stack.enter_context(output.progress())
        sources.tell_files(output, opened)
        output.say(f"encoding {'every chunk' if exact else 'a sample'} of {opened.location}")
        progress.stage("encoding")
        quote = plan_into(opened, target, exact=exact, fees=fees, jobs=jobs, progress=progress)
    _show(output, quote, currency)


@with_where(state=True, limit_rate=True)
def upload_command(
    source: sources.SourceArgument,
    model: Annotated[str, typer.Option("--as", metavar="MODEL", help="Name to store it under.")],
    *,
    where: ContextArguments,
    takeover: Annotated[
        bool, typer.Option(help="Take the lease over from another uploader.")
    ] = False,
    restart: Annotated[bool, typer.Option(help="Plan anew although the source changed.")] = False,
    verify_source: Annotated[
        bool,
        typer.Option(
            "--verify-source", help="Read every file again, even if size and times are unchanged."
        ),
    ] = False,
    rebalance: Annotated[
        bool,
        typer.Option("--rebalance", help="Over a fleet: place anew, and pay for what moves."),
    ] = False,
    max_cycles: Annotated[
        str | None,
        typer.Option(metavar="CYCLES", help="Stop before spending more, e.g. 500000000 or 1.5TC."),
    ] = None,
    include: sources.Include = None,
    exclude: sources.Exclude = None,
    also: sources.Also = None,
    follow_links: sources.FollowLinks = False,
    ignore_inode: sources.IgnoreInode = False,
    request_payer: sources.RequestPayer = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            help="Wait for another upload of this identity to the node, or fail.",
        ),
    ] = True,
    jobs: options.EncodeJobs = 0,
    as_json: options.AsJson = False,
) -> None:
    """Bring SOURCE into a node or fleet; run it again to resume."""
    from uploader.library import Queueing, UploadOptions, upload_into  # noqa: PLC0415 - see above
    from uploader.source import open_source  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    wishes = UploadOptions(
        takeover=takeover,
        restart=restart or verify_source,
        max_cycles=None if max_cycles is None else parse_cycles(max_cycles),
        jobs=jobs,
    )
    with (
        closing(
            open_source(
                source,
                include=include or (),
                exclude=exclude or (),
                also=also or (),
                follow_links=follow_links,
                ignore_inode=ignore_inode,
                request_payer=request_payer,
            )
        ) as opened,
        where.open(output.say, signs=True) as context,
        output.progress() as progress,
        stoppable(output.say) as stopping,
    ):
        sources.tell_files(output, opened)
        queueing = Queueing(wait=wait, say=output.say, stopping=stopping)
        summary = upload_into(
            context,
            opened,
            model,
            wishes,
            progress=progress,
            queueing=queueing,
            rebalance=rebalance,
        )
    report(
        output,
        summary,
        sealed=f"{summary.model} version {summary.version} is sealed",
        unchanged=(
            f"{summary.model} is sealed as version {summary.version} already; nothing was sent"
        ),
    )


def _heaps(count: int) -> str:
    return f"{count:,}" if count else "a block is larger"


def _show(output: Output, quote: "Quote", currency: Currency | None) -> None:
    costs = [
        ("ingress", quote.ingress_cycles),
        ("execution", quote.execution_cycles),
        ("upload in all", quote.total_cycles),
        ("naive way (raw bytes, 594 KB a call)", quote.naive_cycles),
        ("a new canister, if needed", quote.creation_cycles),
        *((f"30 days of storage ({name})", cycles) for name, cycles in quote.storage_cycles),
        ("freezing reserve of 30 days", quote.reserve_cycles),
    ]
    output.table(
        ["what", "> figure"],
        [
            ["files", f"{quote.files_count:,}"],
            ["tensors", f"{quote.tensors_count:,}"],
            ["chunks", f"{quote.chunks_count:,}"],
            ["raw", format_bytes(quote.raw_bytes)],
            ["held or repeated" if quote.exact else "held", format_bytes(quote.held_bytes)],
            ["to send", format_bytes(quote.frame_bytes)],
            ["messages", f"{quote.messages_count:,}"],
            ["canisters to run it, 4 GiB heaps", _heaps(quote.heaps_count)],
        ],
    )
    output.table(
        ["cost", "> figure", *([f"> {currency.name or 'at that rate'}"] if currency else [])],
        [
            [what, format_tc(cycles), *([currency.shown(cycles)] if currency else [])]
            for what, cycles in costs
        ],
    )
    legend = [f"{name}: {_STORAGE_PRICES.get(name, name)}" for name, _ in quote.storage_cycles]
    sampled = "sampled: --exact encodes every chunk and finds repeated ones"
    output.summary(
        "\n".join([*legend, *([] if quote.exact else [sampled])]),
        files=quote.files_count,
        tensors=quote.tensors_count,
        chunks=quote.chunks_count,
        raw_bytes=quote.raw_bytes,
        held_bytes=quote.held_bytes,
        frame_bytes=quote.frame_bytes,
        messages=quote.messages_count,
        ingress_cycles=quote.ingress_cycles,
        execution_cycles=quote.execution_cycles,
        total_cycles=quote.total_cycles,
        creation_cycles=quote.creation_cycles,
        storage_cycles=dict(quote.storage_cycles),
        reserve_cycles=quote.reserve_cycles,
        naive_cycles=quote.naive_cycles,
        heaps_needed=quote.heaps_count,
        exact=quote.exact,
        **({} if currency is None else {"total_cost": currency.cost(quote.total_cycles)}),
    )
