"""`datanode localnet`: the embedded network, for trying, testing and rehearsing."""

from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from datanode.agent.names import LOCAL
from datanode.errors import DataNodeError
from datanode.folders import config_folder
from datanode.localnet import process
from datanode.localnet.state.subnet import SubnetChoice
from datanode.node import registry
from uploader.cli import options
from uploader.cli.localnet_fault import app as fault_app
from uploader.cli.localnet_ledger import ledger_command
from uploader.cli.localnet_time import time_command
from uploader.cli.output import Output

app = typer.Typer(
    no_args_is_help=True,
    help="The embedded network: real Wasm on this machine, and a page.",
)

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
    fees: Annotated[
        str | None,
        typer.Option(help="Fee schedule, e.g. docs or code.", show_default="what it was, or docs"),
    ] = None,
    subnet_nodes: Annotated[
        int | None,
        typer.Option(
            min=1, help="Nodes of the subnet that bills.", show_default="what it was, or 13"
        ),
    ] = None,
    subnet_sev: Annotated[
        bool | None,
        typer.Option(
            "--subnet-sev/--no-subnet-sev",
            help="Whether its nodes run under SEV.",
            show_default="what it was, or not",
        ),
    ] = None,
    subnet_used_gib: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="GiB held by canisters of others; above 750 growing reserves cycles.",
            show_default="what it was, or 0",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Start the network, or go on with the one in the folder."""
    output = Output(as_json=as_json)
    if not detach:
        output.say("the network runs until Ctrl-C; --detach runs it in the background")
    subnet = SubnetChoice(fees=fees, nodes=subnet_nodes, sev=subnet_sev, used_gib=subnet_used_gib)
    with output.working("starting the network") if detach else nullcontext():
        running = process.start(state_dir, port=port, detach=detach, subnet=subnet)
    if running is not None:
        output.summary(
            f"the network runs at {running.url} (pid {running.pid}); its page is {running.page}",
            url=running.url,
            page=running.page,
            pid=running.pid,
            root_key=running.root_key.hex(),
        )


@app.command("stop")
def stop_command(
    *, state_dir: StateDir = process.DEFAULT_STATE_DIR, as_json: options.AsJson = False
) -> None:
    """Stop the network; its state stays."""
    output = Output(as_json=as_json)
    with output.working("stopping the network"):
        stopped = process.stop(state_dir)
    output.summary("the network is stopped" if stopped else "no network runs", stopped=stopped)


@app.command("status")
def status_command(
    *, state_dir: StateDir = process.DEFAULT_STATE_DIR, as_json: options.AsJson = False
) -> None:
    """Say whether the network runs, where, and as what kind of subnet.

    The address, opened in a browser, is a page: canisters, balances, every message's bill.
    """
    running = process.status(state_dir)
    output = Output(as_json=as_json)
    if running is None:
        output.summary(
            f"no network runs in {state_dir}; `datanode localnet start --detach` starts one",
            running=False,
        )
    else:
        subnet = process.read_subnet(state_dir)
        output.summary(
            f"the network runs at {running.url} (pid {running.pid}): {subnet}; its page is "
            f"{running.page}",
            running=True,
            url=running.url,
            page=running.page,
            pid=running.pid,
            root_key=running.root_key.hex(),
            subnet=asdict(subnet),
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
    with output.working("deleting the network"):
        deleted = process.reset(state_dir)
    names: list[str] = []
    if deleted and state_dir == process.DEFAULT_STATE_DIR:
        with suppress(DataNodeError):  # a file of names that cannot be read is not this command's
            names = sorted(registry.nodes(config_folder(), network=LOCAL))
    if names:
        output.say(
            f"still known, and gone with it: {', '.join(names)};"
            " `datanode node remove NAME` forgets one"
        )
    output.summary(
        "the network is deleted" if deleted else f"there is no network in {state_dir}",
        state_dir=str(state_dir),
        deleted=deleted,
    )


app.command("time")(time_command)
app.command("ledger")(ledger_command)
app.add_typer(fault_app, name="fault")
