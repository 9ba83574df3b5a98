"""`datanode node`: make a storage canister, name one, look after one."""

from typing import Annotated

import typer

from datanode.folders import config_folder
from datanode.node import registry
from datanode.units import TC, format_bytes, format_cycles
from uploader import config
from uploader.cli import options
from uploader.cli.amounts import parse_cycles, parse_principal
from uploader.cli.output import Output
from uploader.place import open_place

app = typer.Typer(no_args_is_help=True, help="Storage canisters.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="What to call the node here.")]
NodeArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="NODE",
        help="A name or a canister id; the only one known.",
        autocompletion=options.known_nodes,
    ),
]
Cycles = Annotated[
    str | None,
    typer.Option(metavar="CYCLES", help="E.g. 20TC; to be named on the Internet Computer."),
]


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
    from uploader.cli import node_work  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    registry.check_name(name)
    given = None if cycles is None else parse_cycles(cycles)
    where = None if subnet is None else parse_principal(subnet)
    with (
        open_place(
            output.say, network=network, identity=identity, root_key=root_key, signs=True
        ) as place,
        output.working(f"creating {name}"),
    ):
        principal, amount = node_work.create(place, output.say, name, cycles=given, subnet=where)
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
    from uploader.cli import node_work  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    principal = parse_principal(canister)
    with (
        open_place(
            output.say, network=network, identity=identity, root_key=root_key, signs=install
        ) as place,
        output.working(f"looking at {canister}"),
    ):
        node_work.add(place, name, principal, install=install)
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
    output.summary(
        "" if known else "no node is known; `datanode node create NAME` makes one", nodes=len(known)
    )


@app.command("remove")
def remove_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="What the node is called here.",
            autocompletion=options.known_nodes,
        ),
    ],
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
    from uploader.cli import node_work  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key
    ) as place:
        principal = place.node_principal()
        status, versions = node_work.look(place, principal)
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
    from uploader.cli import node_work  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
        ) as place,
        output.working("upgrading"),
    ):
        principal = node_work.upgrade(place)
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
    from uploader.cli import node_work  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    given = None if cycles is None else parse_cycles(cycles)
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
        ) as place,
        output.working("topping up"),
    ):
        principal, amount = node_work.top_up(place, output.say, cycles=given)
    output.summary(f"{principal} got {amount / TC:g} TC", canister=principal.text, cycles=amount)
