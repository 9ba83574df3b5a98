"""`datanode node`: make a storage canister, name one, look after one."""

from collections.abc import Sequence
from typing import Annotated

import typer

from datanode import config
from datanode.errors import UnauthorizedError
from datanode.folders import config_folder
from datanode.node import registry
from datanode.principal import Principal
from datanode.units import TC, format_bytes, format_tc
from uploader.cli import node_clone, node_fleet, node_settings, options
from uploader.cli.amounts import parse_cycles, parse_principal
from uploader.cli.inference import promote_command
from uploader.cli.output import Output
from uploader.command_context import open_place

app = typer.Typer(no_args_is_help=True, help="Storage canisters.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the node on this machine.")]
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
    count: Annotated[
        int,
        typer.Option(
            min=1,
            max=registry.MAX_MEMBERS,
            metavar="N",
            help="Create a fleet of N canisters on one subnet; --cycles goes to each.",
        ),
    ] = 1,
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
    """Create a storage canister, or a fleet of several.

    It is remembered under NAME.

    It is paid for out of your account on the cycles ledger. After a lost answer or a crash the same
    command goes on with the same canisters; nothing is paid twice.
    """
    from uploader.cli import node_actions  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    registry.check_name(name)
    given = None if cycles is None else parse_cycles(cycles)
    where = None if subnet is None else parse_principal(subnet)
    with (
        open_place(
            output.say, network=network, identity=identity, root_key=root_key, signs=True
        ) as context,
        output.working(f"creating {name}"),
    ):
        members, amount = node_actions.create(
            context, output.say, name, cycles=given, subnet=where, count=count
        )
    output.summary(
        f"{name} is {_shown(members)} on {context.network.name}",
        name=name,
        canister=members[0].text,
        members=_texts(members),
        network=context.network.name,
        cycles=amount,
    )


@app.command("add")
def add_command(
    name: Name,
    canisters: Annotated[
        list[str],
        typer.Argument(
            metavar="ID...", help="Canister id; several are a fleet, the coordinator first."
        ),
    ],
    *,
    install: Annotated[
        bool, typer.Option("--install", help="Install the storage module first; it is empty.")
    ] = False,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Remember a storage canister, or a fleet of several."""
    from uploader.cli import node_actions  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    members = tuple(map(parse_principal, canisters))
    with (
        open_place(
            output.say, network=network, identity=identity, root_key=root_key, signs=install
        ) as context,
        output.working(f"looking at {', '.join(canisters)}"),
    ):
        node_actions.add(context, name, members, install=install)
    output.summary(
        f"{name} is {_shown(members)}",
        name=name,
        canister=members[0].text,
        members=_texts(members),
    )


@app.command("list")
def list_command(*, as_json: options.AsJson = False) -> None:
    """List the nodes that are known here."""
    output = Output(as_json=as_json)
    known = registry.all_nodes(config_folder())
    for node in known:
        output.item(
            name=node.name,
            network=node.network,
            canister=node.canister.text,
            members=_texts(node.members),
        )
    output.table(
        ["name", "network", "canister"],
        [
            [node.name if number == 0 else "", node.network, member.text]
            for node in known
            for number, member in enumerate(node.members)
        ],
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
            help="Name of the node on this machine.",
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
    """Show cycles, memory, module and settings of a node.

    Of a fleet, show a row a member. To others than controllers, show the certified module and
    controllers.
    """
    from uploader.cli import node_actions, node_certified  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    with open_place(
        output.say, network=network, identity=identity, node=node, root_key=root_key
    ) as context:
        members = context.members()
        if len(members) > 1:
            node_fleet.show_status(output, context, members)
            return
        principal = members[0]
        try:
            view = node_actions.look(context, principal, node or principal.text)
        except UnauthorizedError:
            node_certified.show_certified(output, context, principal)
            return
        model = node_actions.look_at_model(context, principal, view)
    status, versions = view.canister, view.node
    module = status.module_hash.hex() if status.module_hash else None
    interface = "it does not answer: frozen, stopped or empty"
    if versions is not None:
        interface = f"{versions.interface_version}, {versions.store_version}"
    output.table(
        ["canister", principal.text],
        [
            ["state", status.status],
            ["cycles", format_tc(status.cycles)],
            ["burn a day, idle", format_tc(status.burn_per_day_cycles)],
            ["days until frozen", f"{view.days:,}"],
            ["memory", format_bytes(status.memory_bytes)],
            ["module", module or "none"],
            ["interface, store", interface],
            *([] if model is None else [["model", node_actions.describe_model(model)]]),
            *node_settings.rows(status),
        ],
    )
    for concern in view.concerns:
        output.say(f"warning: {concern}")
    output.summary(
        "",
        canister=principal.text,
        state=status.status,
        cycles=status.cycles,
        idle_burn_per_day_cycles=status.burn_per_day_cycles,
        freezing_days=view.days,
        memory_bytes=status.memory_bytes,
        module_hash=module,
        interface_version=None if versions is None else versions.interface_version,
        store_version=None if versions is None else versions.store_version,
        concerns=view.concerns,
        model=None if model is None else model.model,
        model_loaded=None if model is None else model.loaded,
        model_chunks=None if model is None else model.chunks_count,
        model_chunks_of=None if model is None else model.total_count,
        **node_settings.facts(status),
    )


app.command("settings")(node_settings.settings_command)
app.command("promote")(promote_command)
app.command("clone")(node_clone.clone_command)


@app.command("upgrade")
def upgrade_command(
    node: NodeArgument = None,
    *,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Install this release's module in every member.

    Everything stored stays.
    """
    from uploader.cli import node_actions  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
        ) as context,
        output.working("upgrading"),
    ):
        members = node_actions.upgrade(context)
    node_fleet.show_members(output, members, module="this release's")
    output.summary(
        f"{_shown(members)} {'runs' if len(members) == 1 else 'run'} this release's module",
        canister=members[0].text,
        members=_texts(members),
    )


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
    """Add cycles to a node, or to each member of a fleet.

    They come out of your account on the cycles ledger.

    After a lost answer the same command finds out what became of the first, and pays once.
    """
    from uploader.cli import node_actions  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    given = None if cycles is None else parse_cycles(cycles)
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
        ) as context,
        output.working("topping up"),
    ):
        members, amount = node_actions.top_up(context, output.say, cycles=given)
    node_fleet.show_members(output, members, got=f"{amount / TC:g} TC")
    output.summary(
        f"{_shown(members)} got {amount / TC:g} TC{' each' if len(members) > 1 else ''}",
        canister=members[0].text,
        members=_texts(members),
        cycles=amount,
        total_cycles=amount * len(members),
    )


def _shown(members: Sequence[Principal]) -> str:
    if len(members) == 1:
        return members[0].text
    return f"a fleet of {len(members)}, coordinated by {members[0]}"


def _texts(members: Sequence[Principal]) -> list[str]:
    return [each.text for each in members]
