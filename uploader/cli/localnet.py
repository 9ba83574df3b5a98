"""`datanode localnet`: the embedded network, for trying, testing and rehearsing."""

from collections import Counter
from pathlib import Path
from typing import Annotated, cast

import typer

from datanode.localnet import process
from datanode.units import format_bytes, format_cycles
from uploader.cli import options
from uploader.cli.output import Json, Output

app = typer.Typer(no_args_is_help=True, help="The embedded network: real Wasm, on this machine.")

StateDir = Annotated[
    Path, typer.Option("--state-dir", metavar="DIR", help="Folder of the network.")
]


@app.command("start")
def start_command(
    *,
    state_dir: StateDir = process.DEFAULT_STATE_DIR,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where to listen; 0 takes a free port.")
    ] = process.DEFAULT_PORT,
    detach: Annotated[bool, typer.Option(help="Run in the background.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Start the network, or go on with the one in the folder."""
    output = Output(as_json=as_json)
    if not detach:
        output.say("the network runs until Ctrl-C; --detach runs it in the background")
    running = process.start(state_dir, port=port, detach=detach)
    if running is not None:
        output.summary(
            f"the network runs at {running.url} (pid {running.pid})",
            url=running.url,
            pid=running.pid,
            root_key=running.root_key.hex(),
        )


@app.command("stop")
def stop_command(
    *, state_dir: StateDir = process.DEFAULT_STATE_DIR, as_json: options.AsJson = False
) -> None:
    """Stop the network; its state stays."""
    stopped = process.stop(state_dir)
    Output(as_json=as_json).summary(
        "the network is stopped" if stopped else "no network runs", stopped=stopped
    )


@app.command("status")
def status_command(
    *, state_dir: StateDir = process.DEFAULT_STATE_DIR, as_json: options.AsJson = False
) -> None:
    """Say whether the network runs, and where."""
    running = process.status(state_dir)
    output = Output(as_json=as_json)
    if running is None:
        output.summary(f"no network runs in {state_dir}", running=False)
    else:
        output.summary(
            f"the network runs at {running.url} (pid {running.pid})",
            running=True,
            url=running.url,
            pid=running.pid,
            root_key=running.root_key.hex(),
        )


@app.command("reset")
def reset_command(
    *,
    state_dir: StateDir = process.DEFAULT_STATE_DIR,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Delete the network with all its canisters and keys."""
    output = Output(as_json=as_json)
    output.confirm(f"Delete the network in {state_dir}?", yes=yes)
    process.reset(state_dir)
    output.summary("the network is deleted", state_dir=str(state_dir))


@app.command("ledger")
def ledger_command(
    *,
    state_dir: StateDir = process.DEFAULT_STATE_DIR,
    after: Annotated[int, typer.Option(min=0, help="Only behind this entry.")] = 0,
    as_json: options.AsJson = False,
) -> None:
    """Show what each message cost, item by item."""
    output = Output(as_json=as_json)
    entries = process.read_ledger(state_dir, after=after)
    items: Counter[str] = Counter()
    for entry in entries:
        output.item(**cast("dict[str, Json]", entry.to_json()))
        items.update(dict(entry.items))
    output.table(
        ["> no.", "canister", "method", "> envelope", "> instructions", "> cycles", "status"],
        [
            [
                str(entry.sequence),
                entry.canister.text,
                entry.method,
                format_bytes(entry.envelope_bytes),
                f"{entry.instructions:,}",
                f"{entry.total_cycles:,}",
                entry.status,
            ]
            for entry in entries
        ],
    )
    total = sum(items.values())
    parts = ", ".join(f"{name} {format_cycles(cycles)}" for name, cycles in sorted(items.items()))
    output.summary(
        f"{len(entries)} messages, {format_cycles(total)}: {parts}",
        messages=len(entries),
        cycles=total,
        items=dict(items),
    )
