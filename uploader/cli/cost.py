"""`datanode cost`: what the uploads of this state have spent, by the fee schedule."""

from datanode.units import format_bytes, format_tc
from uploader.cli import options
from uploader.cli.amounts import parse_xdr_rate
from uploader.cli.output import Output
from uploader.command_context import open_state


def cost_command(
    *,
    network: options.Network = None,
    identity: options.Identity = None,
    state: options.State = None,
    root_key: options.RootKey = None,
    xdr_rate: options.XdrRate = None,
    as_json: options.AsJson = False,
) -> None:
    """Sum up messages, bytes and estimated cycles of each upload. Needs no network."""
    output = Output(as_json=as_json)
    currency = parse_xdr_rate(xdr_rate)
    with open_state(
        output.say, network=network, identity=identity, state=state, root_key=root_key
    ) as store:
        uploads = [] if store is None else store.uploads()
        rows = [(upload, store.totals(upload.id)) for upload in uploads] if store else []
    for upload, totals in rows:
        output.item(
            model=upload.model,
            node=upload.node.text,
            version=upload.version,
            status=upload.status.value,
            messages=totals.messages_count,
            frames=totals.frames_count,
            envelope_bytes=totals.envelope_bytes,
            retried_bytes=totals.retried_bytes,
            cycles=totals.cycles,
        )
    output.table(
        [
            *("model", "> version", "> messages", "> frames", "> sent", "> sent again", "> cost"),
            *([f"> {currency.name or 'at that rate'}"] if currency else []),
        ],
        [
            [
                upload.model,
                upload.status.value if upload.version is None else str(upload.version),
                f"{totals.messages_count:,}",
                f"{totals.frames_count:,}",
                format_bytes(totals.envelope_bytes),
                format_bytes(totals.retried_bytes),
                format_tc(totals.cycles),
                *([currency.shown(totals.cycles)] if currency else []),
            ]
            for upload, totals in rows
        ],
    )
    spent = sum(totals.cycles for _, totals in rows)
    converted = f" ({currency.shown(spent)})" if currency else ""
    output.summary(
        f"{format_tc(spent)}{converted} in all for messages sent with this state, estimated by "
        "the fee schedule"
        if rows
        else "nothing was uploaded from here to this network",
        cycles=spent,
        **({} if currency is None else {"cost": currency.cost(spent)}),
    )
