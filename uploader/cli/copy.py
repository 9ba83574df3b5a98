"""`datanode copy`: a model from one node to another, on the same network or on two."""

from contextlib import ExitStack
from typing import Annotated

import typer

from datanode.errors import UsageError
from uploader.cli import options
from uploader.cli.amounts import parse_cycles
from uploader.cli.output import Output
from uploader.cli.signals import stoppable
from uploader.cli.suggest import suggesting_models
from uploader.cli.upload_report import report
from uploader.command_context import (
    CommandContext,
    open_place,
    state_location,
    state_of,
    upload_context,
)

From = Annotated[
    str,
    typer.Option("--from", metavar="NODE", help="Node to copy from: a name or a canister id."),
]
To = Annotated[
    str, typer.Option("--to", metavar="NODE", help="Node to copy to: a name or a canister id.")
]


def copy_command(
    model: options.Model,
    from_node: From,
    to_node: To,
    *,
    version: options.Version = None,
    name: Annotated[
        str | None,
        typer.Option("--as", metavar="MODEL", help="Name on --to.", show_default="the same"),
    ] = None,
    from_network: Annotated[
        str | None,
        typer.Option(
            "--from-network",
            metavar="NETWORK",
            help="Network of --from: local, ic, or a URL.",
            show_default="local",
        ),
    ] = None,
    to_network: Annotated[
        str | None,
        typer.Option(
            "--to-network",
            metavar="NETWORK",
            help="Network of --to: local, ic, or a URL.",
            show_default="local",
        ),
    ] = None,
    identity: options.Identity = None,
    from_identity: Annotated[
        str | None,
        typer.Option(
            "--from-identity",
            metavar="PEM",
            help="PEM file of the identity that reads --from.",
            show_default="--identity",
        ),
    ] = None,
    state: options.State = None,
    from_root_key: Annotated[
        str | None,
        typer.Option("--from-root-key", metavar="HEX", help="Root key (DER) of --from-network."),
    ] = None,
    to_root_key: Annotated[
        str | None,
        typer.Option("--to-root-key", metavar="HEX", help="Root key (DER) of --to-network."),
    ] = None,
    takeover: Annotated[
        bool, typer.Option(help="Take the lease over from another uploader.")
    ] = False,
    restart: Annotated[
        bool, typer.Option(help="Start anew although another version was being copied.")
    ] = False,
    max_cycles: Annotated[
        str | None,
        typer.Option(metavar="CYCLES", help="Stop before spending more, e.g. 500000000 or 1.5TC."),
    ] = None,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait/--no-wait",
            help="Wait for another upload of this identity to the node, or fail.",
        ),
    ] = True,
    as_json: options.AsJson = False,
) -> None:
    """Copy a version of MODEL to another node, or resume.

    Frames are read from --from, checked against its certificate, and sent as they are stored; what
    --to holds is not sent. Visibility and grants are not copied: a new model is private.
    """
    from uploader.session.copy import CopyOptions, copy  # noqa: PLC0415 - brings libraries along
    from uploader.state.upload_lock import Queueing, upload_lock  # noqa: PLC0415 - see above

    output = Output(as_json=as_json)
    wishes = CopyOptions(
        takeover=takeover,
        restart=restart,
        max_cycles=None if max_cycles is None else parse_cycles(max_cycles),
    )
    target_name = name or model
    with ExitStack() as stack:
        context = stack.enter_context(
            open_place(
                output.say,
                network=to_network,
                identity=identity,
                node=to_node,
                state=state,
                root_key=to_root_key,
                signs=True,
            )
        )
        reading = stack.enter_context(
            open_place(
                output.say,
                network=from_network,
                identity=from_identity,
                node=from_node,
                root_key=from_root_key,
                who=context.identity if from_identity is None else None,
            )
        )
        _require_two(reading, context, model, target_name)
        store = stack.enter_context(state_of(context))
        progress = stack.enter_context(output.progress())
        stopping = stack.enter_context(stoppable(output.say))
        target = context.node()
        stack.enter_context(
            upload_lock(
                state_location(context),
                target.principal,
                context.identity.principal,
                target_name,
                Queueing(wait=wait, say=output.say, stopping=stopping),
            )
        )
        with suggesting_models(reading, model):
            original = reading.open_version(model, version)
        workplace = upload_context(context, store, progress=progress, stopping=stopping)
        summary = copy(original, target_name, workplace, wishes)
    report(
        output,
        summary,
        sealed=f"version {summary.version} of {summary.model} is sealed with the same manifest",
        unchanged=(
            f"version {summary.version} of {summary.model} has this manifest already; "
            "nothing was sent"
        ),
    )


def _require_two(
    reading: CommandContext, context: CommandContext, model: str, target_name: str
) -> None:
    """Refuse to copy a model onto itself.

    Raises:
        UsageError: Source and destination are the same model of the same node.
    """
    same_network = reading.network.root_key == context.network.root_key
    same_node = reading.members() == context.members()
    if same_network and same_node and model == target_name:
        raise UsageError(
            f"--from and --to are the same node, and {model} is there already",
            hint="Name another node with --to, or another name with --as.",
        )
