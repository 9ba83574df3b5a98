"""`datanode localnet`: the embedded network, for trying, testing and rehearsing."""

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from datanode.agent.names import LOCAL
from datanode.errors import DataNodeError, LocalNetworkError
from datanode.folders import config_folder
from datanode.localnet import process
from datanode.localnet.state.subnet import SubnetChoice
from datanode.node import registry
from datanode.principal import Principal
from uploader.cli import localnet_registry, options
from uploader.cli.localnet_call import call_command
from uploader.cli.localnet_deploy import deploy_command
from uploader.cli.localnet_example import example_command
from uploader.cli.localnet_fault import app as fault_app
from uploader.cli.localnet_ledger import ledger_command
from uploader.cli.localnet_time import time_command
from uploader.cli.output import Output
from uploader.cli.signals import on_main_thread

app = typer.Typer(
    no_args_is_help=True,
    help="Run the embedded network on this machine.",
)


@app.command("start")
def start_command(
    *,
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = process.DEFAULT_PORT,
    detach: Annotated[bool, typer.Option(help="Run in the background.")] = False,
    fees: Annotated[
        str | None,
        typer.Option(help="Fee schedule, e.g. docs or code.", show_default="what it was, or docs"),
    ] = None,
    metering: Annotated[
        str | None,
        typer.Option(
            help="Metering version, e.g. 2026-06 or 2026-07.",
            show_default="what it was, or the newest",
        ),
    ] = None,
    subnet_nodes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Number of nodes of the subnet that bills.",
            show_default="what it was, or 13",
        ),
    ] = None,
    subnet_sev: Annotated[
        bool | None,
        typer.Option(
            "--subnet-sev/--no-subnet-sev",
            help="Bill as a subnet whose nodes run under SEV.",
            show_default="what it was, or not",
        ),
    ] = None,
    subnet_used_gib: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="GiB held by other canisters; above 750, growing reserves cycles.",
            show_default="what it was, or 0",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Start the network, or resume the one in the folder."""
    output = Output(as_json=as_json)
    if not detach:
        output.say("the network runs until Ctrl-C; --detach runs it in the background")
    localnet_registry.remember(state_dir)
    subnet = SubnetChoice(
        fees=fees,
        metering=metering,
        nodes=subnet_nodes,
        sev=subnet_sev,
        used_gib=subnet_used_gib,
    )
    with output.working("starting the network") if detach else nullcontext():
        running = on_main_thread(
            lambda: process.start(state_dir, port=port, detach=detach, subnet=subnet)
        )
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
    *, state_dir: options.StateDir = process.DEFAULT_STATE_DIR, as_json: options.AsJson = False
) -> None:
    """Stop the network; its state stays."""
    output = Output(as_json=as_json)
    with output.working("stopping the network"):
        stopped = process.stop(state_dir)
    output.summary("the network is stopped" if stopped else "no network runs", stopped=stopped)


@app.command("status")
def status_command(
    *, state_dir: options.StateDir = process.DEFAULT_STATE_DIR, as_json: options.AsJson = False
) -> None:
    """Show the network that runs: where, and as what kind of subnet.

    Without a network in --state-dir, networks that were started elsewhere are shown. The address,
    opened in a browser, is a page: canisters, balances, every message's bill. Exits with 50 when no
    network runs.
    """
    output = Output(as_json=as_json)
    here = process.status(state_dir)
    is_default = state_dir == process.DEFAULT_STATE_DIR
    found = [here] if here is not None else list(localnet_registry.running()) if is_default else []
    for running in found:
        subnet = process.read_subnet(running.state_dir)
        elsewhere = "" if running is here else f", started in {running.state_dir}"
        output.summary(
            f"the network runs at {running.url} (pid {running.pid}){elsewhere}: {subnet}; its page "
            f"is {running.page}",
            running=True,
            url=running.url,
            page=running.page,
            pid=running.pid,
            root_key=running.root_key.hex(),
            state_dir=str(running.state_dir),
            subnet=asdict(subnet),
        )
    if not found:
        output.summary(
            f"no network runs in {state_dir}; `datanode localnet start --detach` starts one",
            running=False,
        )
        raise typer.Exit(LocalNetworkError.exit_code)


@app.command("reset")
def reset_command(
    *,
    state_dir: options.StateDir = process.DEFAULT_STATE_DIR,
    yes: options.Yes = False,
    as_json: options.AsJson = False,
) -> None:
    """Delete the network, its canisters and keys; forget its nodes."""
    output = Output(as_json=as_json)
    output.confirm(f"Delete the network in {state_dir}?", yes=yes)
    networks, canisters = _names(state_dir), _canisters(state_dir)
    with output.working("deleting the network"):
        deleted = process.reset(state_dir)
    forgotten = sorted(_forgotten(networks, canisters)) if deleted else []
    if forgotten:
        output.say(f"its nodes are forgotten: {', '.join(forgotten)}")
    output.summary(
        "the network is deleted" if deleted else f"there is no network in {state_dir}",
        state_dir=str(state_dir),
        deleted=deleted,
        forgotten=forgotten,
    )


def _names(state_dir: Path) -> set[str]:
    """Name a network as the list of known nodes does: by its address, and as the local one."""
    running = process.status(state_dir)
    names = set() if running is None else {running.url}
    return names | ({LOCAL} if state_dir == process.DEFAULT_STATE_DIR else set())


def _canisters(state_dir: Path) -> set[Principal]:
    """List the canisters of a network, which its ledger knows."""
    with suppress(DataNodeError):
        return {entry.canister for entry in process.read_ledger(state_dir)}
    return set()


def _forgotten(networks: set[str], canisters: set[Principal]) -> Iterator[str]:
    """Forget the nodes of a deleted network."""
    with suppress(DataNodeError):  # a file of names that cannot be read is not this command's
        for node in registry.all_nodes(config_folder()):
            if node.network in networks and node.canister in canisters:
                registry.remove(config_folder(), node.name, network=node.network)
                yield node.name


app.command("deploy")(deploy_command)
app.command("call")(call_command)
app.command("example")(example_command)
app.command("time")(time_command)
app.command("ledger")(ledger_command)
app.add_typer(fault_app, name="fault")
