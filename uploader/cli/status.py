"""`datanode status`: what this machine has uploaded or is in the middle of, and how the node is."""

from datanode.errors import DataNodeError
from datanode.units import format_bytes, format_cycles
from uploader.cli import options
from uploader.cli.output import Output
from uploader.place import open_place


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
    with (
        open_place(
            output.say,
            network=network,
            identity=identity,
            node=node,
            state=state,
            root_key=root_key,
        ) as place,
        place.state() as store,
    ):
        uploads = store.uploads()
        if not uploads:
            output.say("nothing was uploaded from here to this network")
        for upload in uploads:
            output.item(
                kind="upload",
                model=upload.model,
                node=upload.node.text,
                version=upload.version,
                source=upload.location,
                total_bytes=upload.total_bytes,
                held_bytes=upload.held_bytes,
                messages_in_doubt=len(store.open_messages(upload.node, model=upload.model)),
            )
        output.table(
            ["model", "node", "state", "> on the node", "> of", "source"],
            [
                [
                    upload.model,
                    upload.node.text,
                    upload.status.value
                    if upload.version is None
                    else f"sealed as {upload.version}",
                    format_bytes(upload.held_bytes),
                    format_bytes(upload.total_bytes),
                    upload.location,
                ]
                for upload in uploads
            ],
        )
        try:
            target = place.node()
            answer = target.status()
        except DataNodeError as error:
            output.say(f"no node was asked: {error.what}")
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
            ["cycles", format_cycles(details.cycles)],
            ["burn a day", format_cycles(details.burn_per_day_cycles)],
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
