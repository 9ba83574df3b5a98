"""`datanode node`: make a storage canister, name one, look after one."""

from typing import Annotated

import typer

from datanode.errors import NotStorageNodeError, UsageError
from datanode.folders import config_folder
from datanode.node import deploy, registry
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.units import TC, format_bytes, format_cycles
from uploader import config
from uploader.cli import options
from uploader.cli.amounts import parse_cycles, parse_principal
from uploader.cli.output import Output
from uploader.place import Place, open_place

app = typer.Typer(no_args_is_help=True, help="Storage canisters.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What to call the node here.")]
NodeArgument = Annotated[
    str | None, typer.Argument(metavar="NODE", help="A name or a canister id; the only one known.")
]
Cycles = Annotated[str, typer.Option(metavar="CYCLES", help="E.g. 20TC.")]
DEFAULT_CYCLES = "100TC"


@app.command("create")
def create_command(
    name: Name = "main",
    *,
    cycles: Cycles = DEFAULT_CYCLES,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Create a canister, install the storage module, remember it under NAME."""
    output = Output(as_json=as_json)
    with open_place(
        output.say, network=network, identity=identity, root_key=root_key, signs=True
    ) as place:
        _check_free(place, name)
        principal = deploy.create_node(place.agent, cycles=parse_cycles(cycles))
        registry.add(config_folder(), name, principal, network=place.network.name)
        _check(place, principal)
    output.summary(
        f"{name} is {principal} on {place.network.name}",
        name=name,
        canister=principal.text,
        network=place.network.name,
    )


@app.command("add")
def add_command(
    name: Name,
    canister: Annotated[str, typer.Argument(metavar="ID", help="Its canister id.")],
    *,
    install: Annotated[
        bool, typer.Option("--install", help="Install the storage module first; it is empty.")
    ] = False,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Remember a storage canister, or make one of an empty canister."""
    output = Output(as_json=as_json)
    principal = parse_principal(canister)
    with open_place(
        output.say, network=network, identity=identity, root_key=root_key, signs=install
    ) as place:
        _check_free(place, name)
        if install:
            deploy.install_node(place.agent, principal)
        _check(place, principal)
        registry.add(config_folder(), name, principal, network=place.network.name)
    output.summary(f"{name} is {principal}", name=name, canister=principal.text)


@app.command("list")
def list_command(*, as_json: options.AsJson = False) -> None:
    """List the nodes that are known here."""
    output = Output(as_json=as_json)
    known = registry.all_nodes(config_folder())
    for node in known:
        output.item(name=node.name, network=node.network, canister=node.canister.text)
    output.table(
        ["name", "network", "canister"],
        [[node.name, node.network, node.canister.text] for node in known],
    )
    output.summary("" if known else "no node is known", nodes=len(known))


@app.command("remove")
def remove_command(
    name: Name,
    *,
    network: options.Network = None,
    as_json: options.AsJson = False,
) -> None:
    """Forget a node; its canister and what it stores stay."""
    output = Output(as_json=as_json)
    where = config.load({"network": network}).network
    registry.remove(config_folder(), name, network=where)
    output.summary(f"{name} is forgotten; its canister stays", name=name, network=where)


@app.command("status")
def status_command(
    node: NodeArgument = None,
    *,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a node's canister: cycles, memory, module."""
    output = Output(as_json=as_json)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key
    ) as place:
        principal = place.node_principal()
        status = deploy.canister_status(place.agent, principal)
        versions = CanisterNode(place.agent, principal).status()
    module = status.module_hash.hex() if status.module_hash else None
    output.table(
        ["canister", principal.text],
        [
            ["state", status.status],
            ["cycles", format_cycles(status.cycles)],
            ["burn a day, idle", format_cycles(status.burn_per_day_cycles)],
            ["days until frozen", f"{status.days:,}"],
            ["memory", format_bytes(status.memory_bytes)],
            ["module", module or "none"],
            ["interface, store", f"{versions.interface_version}, {versions.store_version}"],
            ["controllers", " ".join(controller.text for controller in status.controllers)],
        ],
    )
    output.summary(
        "",
        canister=principal.text,
        state=status.status,
        cycles=status.cycles,
        idle_burn_per_day_cycles=status.burn_per_day_cycles,
        memory_bytes=status.memory_bytes,
        module_hash=module,
        interface_version=versions.interface_version,
        store_version=versions.store_version,
        controllers=[controller.text for controller in status.controllers],
    )


@app.command("upgrade")
def upgrade_command(
    node: NodeArgument = None,
    *,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Install this release's storage module; everything stored stays."""
    output = Output(as_json=as_json)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
    ) as place:
        principal = place.node_principal()
        _check(place, principal)
        deploy.upgrade_node(place.agent, principal)
        _check(place, principal)
    output.summary(f"{principal} runs this release's module", canister=principal.text)


@app.command("top-up")
def top_up_command(
    node: NodeArgument = None,
    *,
    cycles: Cycles = "10TC",
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Add cycles to a node."""
    output = Output(as_json=as_json)
    amount = parse_cycles(cycles)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
    ) as place:
        principal = place.node_principal()
        deploy.top_up(place.agent, principal, amount)
    output.summary(f"{principal} got {amount / TC:g} TC", canister=principal.text, cycles=amount)


def _check_free(place: Place, name: str) -> None:
    if name in registry.nodes(config_folder(), network=place.network.name):
        raise UsageError(
            f"a node is called {name} already",
            safe="Nothing was created.",
            hint=f"Choose another name, or forget it with `datanode node remove {name}`.",
        )


def _check(place: Place, principal: Principal) -> None:
    """Make sure that a storage canister answers.

    Raises:
        NotStorageNodeError: Something else lives there.
    """
    status = CanisterNode(place.agent, principal).status()
    if status.interface_version < 1:
        raise NotStorageNodeError(f"{principal} says it has interface {status.interface_version}")
