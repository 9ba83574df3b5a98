"""`datanode status`: uploads of this state, held against what nodes say, and how a node is."""

from collections.abc import Sequence
from contextlib import ExitStack

from datanode.errors import DataNodeError, NetworkError
from datanode.units import format_bytes, format_tc
from uploader.cli import options
from uploader.cli.output import Output
from uploader.cli.upload_standing import NodeAnswers, Standing, standing_of, standings_elsewhere
from uploader.command_context import open_place, open_state, state_of


def status_command(
    *,
    node: options.Node = None,
    network: options.Network = None,
    identity: options.Identity = None,
    state: options.State = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the uploads of this state, and the node's own account."""
    output = Output(as_json=as_json)
    with ExitStack() as stack:
        try:
            context = stack.enter_context(
                open_place(
                    output.say,
                    network=network,
                    identity=identity,
                    node=node,
                    state=state,
                    root_key=root_key,
                )
            )
        except NetworkError as error:
            output.say(f"no node was asked: {error.what}")
            with open_state(
                output.say, network=network, identity=identity, state=state, root_key=root_key
            ) as remembered:
                uploads = [] if remembered is None else remembered.uploads()
            _show_uploads(output, [standing_of(upload, None) for upload in uploads])
            output.summary("", uploads=len(uploads))
            return
        with state_of(context) as store:
            uploads = store.uploads()
        facts = NodeAnswers(me=context.identity.principal, open_node=context.node, note=output.say)
        standings = [standing_of(upload, facts) for upload in uploads]
        try:
            target = context.node()
        except DataNodeError as error:
            _show_uploads(output, standings)
            output.say(f"no node was asked: {error.what}")
            output.summary("", uploads=len(uploads))
            return
        standings += standings_elsewhere(target.principal, uploads, facts)
        _show_uploads(output, standings)
        try:
            answer = target.status()
        except DataNodeError as error:
            output.say(f"node {target.principal} was not asked: {error.what}")
            output.summary("", uploads=len(uploads))
            return
    details = answer.details
    if details is None:
        output.summary(
            f"node {target.principal}: interface {answer.interface_version}, "
            f"store {answer.store_version}; its controllers see more",
            node=target.principal.text,
            uploads=len(uploads),
        )
        return
    output.table(
        ["node", target.principal.text],
        [
            ["cycles", format_tc(details.cycles)],
            ["burn a day", format_tc(details.burn_per_day_cycles)],
            ["days until frozen", f"{details.freezing_days:,}"],
            ["stable memory", format_bytes(details.stable_bytes)],
            ["frames", f"{details.frames_count:,} in {format_bytes(details.frame_bytes)}"],
            ["damaged frames", f"{details.damaged_frames_count:,}"],
            ["models", f"{details.models_count:,}"],
            ["open uploads", f"{details.leases_count:,}"],
        ],
    )
    output.summary(
        "",
        node=target.principal.text,
        uploads=len(uploads),
        cycles=details.cycles,
        burn_per_day_cycles=details.burn_per_day_cycles,
        freezing_days=details.freezing_days,
        stable_bytes=details.stable_bytes,
        frames=details.frames_count,
        frame_bytes=details.frame_bytes,
        damaged_frames=details.damaged_frames_count,
        models=details.models_count,
        leases=details.leases_count,
    )


def _show_uploads(output: Output, standings: Sequence[Standing]) -> None:
    if not standings:
        output.say("nothing was uploaded from here to this network")
    for each in standings:
        output.item(
            kind="upload",
            model=each.model,
            node=each.node.text,
            version=each.version,
            state=each.text,
            source=each.source,
            total_bytes=each.total_bytes,
            held_bytes=each.held_bytes,
            messages_in_doubt=each.unresolved_count,
        )
    output.table(
        ["model", "node", "state", "> on the node", "> of", "source"],
        [
            [
                each.model,
                each.node.text,
                each.text,
                "-" if each.held_bytes is None else format_bytes(each.held_bytes),
                "-" if each.total_bytes is None else format_bytes(each.total_bytes),
                each.source,
            ]
            for each in standings
        ],
    )
