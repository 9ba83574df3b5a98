"""`datanode copy`: a model from a node or fleet to another, on the same network or on two."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from datanode.errors import UsageError
from uploader.cli import options
from uploader.cli.amounts import parse_cycles
from uploader.cli.output import Output
from uploader.cli.pull_first import pull_first
from uploader.cli.signals import stoppable
from uploader.cli.suggest import suggesting_models
from uploader.cli.upload_report import report
from uploader.command_context import CommandContext, open_place

if TYPE_CHECKING:
    from datanode.reader import FleetVersion, VerifiedVersion

From = Annotated[
    str,
    typer.Option("--from", metavar="NODE", help="Node or fleet to copy from."),
]
To = Annotated[str, typer.Option("--to", metavar="NODE", help="Node or fleet to copy to.")]


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
    by_canister: Annotated[
        bool,
        typer.Option(
            "--by-canister", help="Have --to, an inference canister, fetch the frames from --from."
        ),
    ] = False,
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
    --to holds is not sent. Visibility and grants are not copied: a new model is private. A fleet of
    enough members takes the parts of another as they are; for others a model is cut anew.
    """
    from datanode.reader import FleetVersion  # noqa: PLC0415 - brings libraries along
    from uploader.library import Queueing, member_contexts  # noqa: PLC0415 - see above
    from uploader.session.copy import CopyOptions, copy  # noqa: PLC0415 - see above
    from uploader.session.fleet_copy import copy_to_fleet  # noqa: PLC0415 - see above

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
        progress = stack.enter_context(output.progress())
        stopping = stack.enter_context(stoppable(output.say))
        queueing = Queueing(wait=wait, say=output.say, stopping=stopping)
        members = context.members()
        contexts = stack.enter_context(
            member_contexts(context, members, target_name, progress=progress, queueing=queueing)
        )
        with suggesting_models(reading, model):
            original = _open(reading, model, version)
        if len(members) > 1:
            summary = copy_to_fleet(original, target_name, contexts, wishes)
        else:
            whole = original.whole if isinstance(original, FleetVersion) else original
            if by_canister:
                pull_first(
                    *(reading, context, whole, target_name, wishes),
                    say=output.say,
                    stopping=stopping,
                )
            summary = copy(whole, target_name, contexts[0], wishes)
    sealed = f"version {summary.version} of {summary.model} is sealed"
    report(
        output,
        summary,
        sealed=sealed if len(members) > 1 else f"{sealed} with the same manifest",
        unchanged=(
            f"version {summary.version} of {summary.model} has this manifest already; "
            "nothing was sent"
        ),
    )


def _open(
    reading: CommandContext, model: str, version: int | None
) -> "VerifiedVersion | FleetVersion":
    """Open a version, of one node or of a fleet, with the proofs of all members."""
    from datanode.reader import open_fleet_version  # noqa: PLC0415 - see above
    from datanode.reader.fleet_version import is_fleet_version, open_index  # noqa: PLC0415 - see above

    reader = reading.reader(reading.coordinator())
    opened = open_index(reader, model, version)
    if not is_fleet_version(opened.head):
        return opened
    return open_fleet_version(reader, reading.node, opened)


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
