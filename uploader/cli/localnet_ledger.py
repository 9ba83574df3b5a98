"""`datanode localnet ledger`: what the embedded network's messages cost, item by item."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final, cast

import typer

from datanode.localnet import process
from datanode.units import format_cycles
from uploader.cli import options
from uploader.cli.amounts import parse_canister
from uploader.cli.output import Json, Output

if TYPE_CHECKING:
    from datanode.localnet.state.ledger import BillEntry

SHOWN_COUNT: Final = 50
_GIVEN: Final = ("deposit",)


def ledger_command(
    *,
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    after: Annotated[int, typer.Option(min=0, help="Only behind this entry.")] = 0,
    canister: Annotated[
        str | None, typer.Option(metavar="ID", help="Only what this canister paid.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=0, help="Most entries to show; 0 shows all.", show_default="50, all with --json"
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what each message cost, item by item."""
    output = Output(as_json=as_json)
    payer = None if canister is None else parse_canister(canister)
    entries = process.read_ledger(state_dir, after=after)
    entries = [entry for entry in entries if payer in (None, entry.canister)]
    if limit is None:
        limit = 0 if as_json else SHOWN_COUNT
    shown = entries
    if limit:
        # Whoever pages begins where the last page ended; whoever does not wants the newest.
        shown = entries[:limit] if after else entries[-limit:]
    for entry in shown:
        output.item(**cast("dict[str, Json]", entry.to_json()))
    if shown:
        output.table(
            ["> no.", "canister", "method", "> instructions", "> cycles", "status"],
            [_row(entry) for entry in shown],
        )
    if len(shown) < len(entries):
        first, last = shown[0].sequence, shown[-1].sequence
        output.say(
            f"{len(shown)} of {len(entries)} entries are shown, {first} to {last};"
            f" --after {last} goes on behind them, --limit 0 shows all"
        )
    _totals(output, entries)


def _row(entry: "BillEntry") -> list[str]:
    return [
        str(entry.sequence),
        entry.canister.text,
        entry.method,
        f"{entry.instructions:,}",
        f"{entry.total_cycles:,}",
        entry.status,
    ]


def _totals(output: Output, entries: Sequence["BillEntry"]) -> None:
    items: Counter[str] = Counter()
    for entry in entries:
        items.update(dict(entry.items))
    spent = sum(cycles for name, cycles in items.items() if name not in _GIVEN)
    given = -sum(items[name] for name in _GIVEN)
    if items:
        output.table(
            ["item", "> cycles", ">  "],
            [
                [name, f"{cycles:,}", format_cycles(cycles)]
                for name, cycles in sorted(items.items())
            ],
        )
    output.summary(
        f"{len(entries)} entries: {format_cycles(spent)} spent, {format_cycles(given)} given",
        messages=len(entries),
        cycles=spent - given,
        spent_cycles=spent,
        given_cycles=given,
        items=dict(items),
    )
