"""`datanode plan --node FLEET`: the plan of a version over several nodes, one row each."""

from typing import TYPE_CHECKING

from datanode.command_context import CommandContext
from datanode.fees import FeeSchedule
from datanode.units import format_bytes, format_cycles
from uploader.cli.output import Output

if TYPE_CHECKING:
    from uploader.session.fleet_plan import FleetQuote
    from uploader.source import Source


def plan_over_fleet(
    output: Output,
    context: CommandContext,
    source: "Source",
    *,
    fees: str,
    jobs: int,
    exact: bool,
) -> None:
    """Plan for all members of the fleet that the command names, and show it.

    Raises:
        ConflictError: They are on different subnets.
        NodeFullError: They have too little room.
    """
    from datanode.node.subnets import require_fleet  # noqa: PLC0415 - brings libraries along
    from uploader.session.fleet_plan import plan_fleet  # noqa: PLC0415 - brings libraries along

    require_fleet(context.agent, context.members(), safe="Nothing was sent.")
    what = "every chunk" if exact else "a sample"
    output.say(f"encoding {what} of {source.location}; members are not asked what they hold")
    nodes = [context.node(each) for each in context.members()]
    with output.working("planning"):
        quote = plan_fleet(source, FeeSchedule.load(fees), nodes, jobs=jobs or 2, exact=exact)
    _show(output, quote, exact=exact)


def _show(output: Output, quote: "FleetQuote", *, exact: bool) -> None:
    rows = []
    for number, each in enumerate(quote.members):
        share = each.share
        output.item(
            member=number,
            canister=each.member.text,
            chunks=share.chunks_count,
            frame_bytes=share.frame_bytes,
            heap_bytes=share.heap_bytes,
            fits_heap=share.fits_heap,
            upload_cycles=each.upload_cycles,
            rent_cycles=each.rent_cycles,
            room_bytes=each.room_bytes,
        )
        rows.append(
            [
                str(number),
                each.member.text,
                f"{share.chunks_count:,}",
                format_bytes(share.frame_bytes),
                format_cycles(each.upload_cycles),
                format_cycles(each.rent_cycles),
                f"{format_bytes(share.heap_bytes)}{'' if share.fits_heap else ', too large'}",
            ]
        )
    output.table(
        [
            "> member",
            "canister",
            "> chunks",
            "> to send",
            "> upload",
            "> 30 days of storage",
            "> decoded, for a 4 GiB heap",
        ],
        rows,
    )
    fits = all(each.share.fits_heap for each in quote.members)
    heaps = quote.heaps_count
    words = "every share fits a 4 GiB heap"
    if not fits:
        words = (
            f"{heaps} members would fit 4 GiB heaps" if heaps else "a block exceeds a 4 GiB heap"
        )
    output.summary(
        f"{'exact' if exact else 'sampled'}: {format_bytes(quote.raw_bytes)} over "
        f"{len(quote.members)} members; {words}",
        members=[each.member.text for each in quote.members],
        raw_bytes=quote.raw_bytes,
        chunks=quote.chunks_count,
        frame_bytes=sum(each.share.frame_bytes for each in quote.members),
        upload_cycles=sum(each.upload_cycles for each in quote.members),
        rent_cycles=sum(each.rent_cycles for each in quote.members),
        fits_heaps=fits,
        heaps_needed=heaps,
    )
