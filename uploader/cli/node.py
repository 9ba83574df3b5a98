"""`datanode node`: make a storage canister, name one, look after one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from datanode.errors import NotStorageNodeError, UsageError
from datanode.folders import config_folder, state_folder
from datanode.node import cycles_ledger, deploy, orders, paying, registry
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
Cycles = Annotated[
    str | None,
    typer.Option(metavar="CYCLES", help="E.g. 20TC; to be named on the Internet Computer."),
]
CREATE_CYCLES: Final = "100TC"
TOP_UP_CYCLES: Final = "10TC"
"""What local networks give when nobody says how much."""
OUT_OF_NOTHING: Final = "this network has no cycles ledger: the cycles are made out of nothing"


@app.command("create")
def create_command(
    name: Name = "main",
    *,
    cycles: Cycles = None,
    subnet: Annotated[
        str | None,
        typer.Option(metavar="SUBNET", help="The subnet's principal; the ledger chooses."),
    ] = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Create a storage canister, and remember it under NAME.

    It is paid for out of your account on the cycles ledger. After a lost answer or a crash the same
    command goes on with the same canister; nothing is paid twice.
    """
    output = Output(as_json=as_json)
    registry.check_name(name)
    given = None if cycles is None else parse_cycles(cycles)
    where = None if subnet is None else parse_principal(subnet)
    with open_place(
        output.say, network=network, identity=identity, root_key=root_key, signs=True
    ) as place:
        _check_free(place, name)
        amount = _amount(place, given, CREATE_CYCLES)
        with _created(place, output, name, amount, where) as principal:
            _check(place, principal)
            registry.add(config_folder(), name, principal, network=place.network.name)
    output.summary(
        f"{name} is {principal} on {place.network.name}",
        name=name,
        canister=principal.text,
        network=place.network.name,
        cycles=amount,
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
    """Remember a storage canister; --install makes one first."""
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
        freezing_days=status.days,
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
    cycles: Cycles = None,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Add cycles to a node, out of your account on the cycles ledger.

    After a lost answer the same command finds out what became of the first, and pays once.
    """
    output = Output(as_json=as_json)
    given = None if cycles is None else parse_cycles(cycles)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
    ) as place:
        principal = place.node_principal()
        amount = _amount(place, given, TOP_UP_CYCLES)
        if cycles_ledger.is_there(place.agent):
            paying.top_up(place.agent, state_folder(), principal, amount)
        else:
            output.say(OUT_OF_NOTHING)
            deploy.top_up(place.agent, principal, amount)
    output.summary(f"{principal} got {amount / TC:g} TC", canister=principal.text, cycles=amount)


@contextmanager
def _created(
    place: Place, output: Output, name: str, cycles: int, subnet: Principal | None
) -> Iterator[Principal]:
    """Create a node; what the block does with it is done again if it fails."""
    if cycles_ledger.is_there(place.agent):
        with paying.created_node(
            place.agent, state_folder(), name, cycles=cycles, subnet=subnet
        ) as principal:
            yield principal
        return
    if subnet is not None:
        raise UsageError("--subnet is for networks with a cycles ledger; this one has none")
    output.say(OUT_OF_NOTHING)
    yield deploy.create_node(place.agent, cycles=cycles)


def _amount(place: Place, given: int | None, otherwise: str) -> int:
    if given is not None:
        return given
    if place.network.is_mainnet:
        raise UsageError(
            "cycles cost money on the Internet Computer: say how many",
            hint=f"Name them with --cycles, e.g. --cycles {otherwise}.",
        )
    return parse_cycles(otherwise)


def _check_free(place: Place, name: str) -> None:
    if name in registry.nodes(config_folder(), network=place.network.name):
        # Should the order of that node still be open, it has served its purpose.
        orders.forget(state_folder(), paying.creation(place.agent, name))
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
