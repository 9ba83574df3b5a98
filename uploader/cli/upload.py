"""`datanode upload` and `datanode plan`: the way in, and its price.

A command's work is imported when it is done: its help and the shell need only its words.
"""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Final

import typer

from datanode.digest import ContentDigest
from datanode.fees import FeeSchedule, schedule_names
from datanode.units import format_bytes, format_cycles
from uploader.cli import options
from uploader.cli.amounts import parse_cycles
from uploader.cli.output import Output
from uploader.cli.stopping import graceful
from uploader.place import Place, open_place
from uploader.source import open_source

if TYPE_CHECKING:
    from uploader.session.plan import Quote
    from uploader.session.upload import UploadSummary

_SOURCE_HELP: Final = (
    "A .safetensors file, an index of shards, or a folder from a hub; or s3://BUCKET/KEY."
)
SourceArgument = Annotated[str, typer.Argument(metavar="SOURCE", help=_SOURCE_HELP)]
Include = Annotated[
    list[str] | None, typer.Option("--include", metavar="GLOB", help="Only these files.")
]
Exclude = Annotated[
    list[str] | None, typer.Option("--exclude", metavar="GLOB", help="Not these files.")
]
Jobs = Annotated[int, typer.Option(min=0, help="Threads that encode.", show_default="one a core")]


def plan_command(
    source: SourceArgument,
    *,
    exact: Annotated[bool, typer.Option(help="Encode every chunk, not a sample.")] = False,
    node: Annotated[
        str | None,
        typer.Option(
            "--node",
            help="Ask this node what it holds already; implies --exact.",
            autocompletion=options.known_nodes,
        ),
    ] = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    include: Include = None,
    exclude: Exclude = None,
    jobs: Jobs = 0,
    as_json: options.AsJson = False,
) -> None:
    """Say what uploading SOURCE would cost; nothing is sent."""
    from uploader.session.plan import plan  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    exact = exact or node is not None
    held: set[ContentDigest] = set()
    if node is not None:
        with open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key
        ) as place:
            held = _held(place, output)
    schedules = [FeeSchedule.load(name) for name in schedule_names()]
    with (
        closing(open_source(source, include=include or (), exclude=exclude or ())) as opened,
        output.progress() as progress,
    ):
        output.say(f"encoding {'every chunk' if exact else 'a sample'} of {opened.location}")
        progress.stage("encoding")
        quote = plan(
            opened,
            schedules[0],
            schedules=schedules,
            exact=exact,
            held=held.__contains__,
            jobs=jobs or 2,
            progress=progress,
        )
    _show(output, quote)


def _held(place: Place, output: Output) -> set[ContentDigest]:
    from uploader.session.resume import readable_contents  # noqa: PLC0415 - see above

    target = place.node()
    return readable_contents(target, place.reader(target), output.say)


def upload_command(
    source: SourceArgument,
    model: Annotated[str, typer.Option("--as", metavar="MODEL", help="Name to store it under.")],
    *,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    state: options.State = None,
    root_key: options.RootKey = None,
    takeover: Annotated[
        bool, typer.Option(help="Take the lease over from another uploader.")
    ] = False,
    restart: Annotated[bool, typer.Option(help="Plan anew although the source changed.")] = False,
    max_cycles: Annotated[
        str | None,
        typer.Option(metavar="CYCLES", help="Stop before spending more, e.g. 500000000 or 1.5TC."),
    ] = None,
    include: Include = None,
    exclude: Exclude = None,
    jobs: Jobs = 0,
    as_json: options.AsJson = False,
) -> None:
    """Bring SOURCE into a node and seal it; run it again to resume."""
    from uploader.session.upload import UploadOptions, Workplace, upload  # noqa: PLC0415
    from uploader.state.outbox import Outbox  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    wishes = UploadOptions(
        takeover=takeover,
        restart=restart,
        max_cycles=None if max_cycles is None else parse_cycles(max_cycles),
        jobs=jobs,
    )
    with (
        closing(open_source(source, include=include or (), exclude=exclude or ())) as opened,
        open_place(
            output.say,
            network=network,
            identity=identity,
            node=node,
            state=state,
            root_key=root_key,
            signs=True,
        ) as place,
        place.state() as store,
        output.progress() as progress,
        graceful(output.say) as stopping,
        place.state_location.lock(place.node_principal(), model),
    ):
        for path in opened.skipped:
            output.say(f"not part of the checkpoint, left out: {path}")
        target = place.node()
        workplace = Workplace(
            node=target,
            me=place.identity.principal,
            reader=place.reader(target),
            state=store,
            outbox=Outbox(place.state_location.outbox(target.principal, model)),
            fees=FeeSchedule.load(),
            progress=progress,
            stopping=stopping,
        )
        summary = upload(opened, model, workplace, wishes)
    _report(output, summary)


def _report(output: Output, summary: "UploadSummary") -> None:
    if summary.unchanged:
        text = f"{summary.model} is sealed as version {summary.version} already; nothing was sent"
    else:
        text = (
            f"{summary.model} version {summary.version} is sealed: "
            f"{format_bytes(summary.raw_bytes)}, {format_bytes(summary.known_bytes)} known before, "
            f"{summary.frames_count} frames in {format_bytes(summary.sent_bytes)} sent, "
            f"about {format_cycles(summary.cycles)}"
        )
    output.summary(
        text,
        model=summary.model,
        version=summary.version,
        manifest=summary.manifest.hex(),
        raw_bytes=summary.raw_bytes,
        known_bytes=summary.known_bytes,
        frames=summary.frames_count,
        sent_bytes=summary.sent_bytes,
        retried_bytes=summary.retried_bytes,
        cycles=summary.cycles,
        unchanged=summary.unchanged,
    )


def _show(output: Output, quote: "Quote") -> None:
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
            ["ingress", format_cycles(quote.ingress_cycles)],
            ["execution", format_cycles(quote.execution_cycles)],
            ["upload in all", format_cycles(quote.total_cycles)],
            ["naive way (raw bytes, 594 KB a call)", format_cycles(quote.naive_cycles)],
            ["a new canister, if needed", format_cycles(quote.creation_cycles)],
            *(
                [f"30 days of storage ({name})", format_cycles(cycles)]
                for name, cycles in quote.storage_cycles
            ),
        ],
    )
    output.summary(
        "" if quote.exact else "sampled: --exact encodes every chunk and finds repeated ones",
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
        naive_cycles=quote.naive_cycles,
        exact=quote.exact,
    )
