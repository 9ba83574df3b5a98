"""`datanode cost`: what the uploads of this state have spent, by the fee schedule."""

from datanode.units import format_bytes, format_cycles
from uploader.cli import options
from uploader.cli.output import Output
from uploader.place import open_place


def cost_command(
    *,
    network: options.Network = None,
    identity: options.Identity = None,
    state: options.State = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Sum up messages, bytes and estimated cycles of each upload."""
    output = Output(as_json=as_json)
    with (
        open_place(
            output.say, network=network, identity=identity, state=state, root_key=root_key
        ) as place,
        place.state() as store,
    ):
        rows = [(upload, store.totals(upload.id)) for upload in store.uploads()]
    for upload, totals in rows:
        output.item(
            model=upload.model,
            node=upload.node.text,
            version=upload.version,
            messages=totals.messages_count,
            frames=totals.frames_count,
            envelope_bytes=totals.envelope_bytes,
            retried_bytes=totals.retried_bytes,
            cycles=totals.cycles,
        )
    output.table(
        ["model", "> version", "> messages", "> frames", "> sent", "> sent again", "> cycles"],
        [
            [
                upload.model,
                "-" if upload.version is None else str(upload.version),
                f"{totals.messages_count:,}",
                f"{totals.frames_count:,}",
                format_bytes(totals.envelope_bytes),
                format_bytes(totals.retried_bytes),
                format_cycles(totals.cycles),
            ]
            for upload, totals in rows
        ],
    )
    output.summary(
        f"{format_cycles(sum(t.cycles for _, t in rows))} in all, estimated by the fee schedule"
        if rows
        else "nothing was uploaded from here to this network",
        cycles=sum(t.cycles for _, t in rows),
    )
