"""`datanode node clone`: copies of a whole node by snapshot."""

from collections.abc import Sequence
from typing import Annotated

import typer

from datanode.command_context import CommandContext, open_place
from datanode.errors import NotFoundError, UsageError
from datanode.folders import config_folder, state_folder
from datanode.node import registry
from datanode.principal import Principal
from uploader.cli import options
from uploader.cli.amounts import parse_cycles
from uploader.cli.output import Output


def clone_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="Node to copy: a name or a canister id.",
            autocompletion=options.known_nodes,
        ),
    ],
    copies: Annotated[
        list[str],
        typer.Argument(
            metavar="DST...", help="Nodes to load; with --cycles, unknown names are created."
        ),
    ],
    *,
    cycles: Annotated[
        str | None,
        typer.Option(metavar="CYCLES", help="Cycles of each node that is created, e.g. 20TC."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace models that a DST holds.")
    ] = False,
    yes: options.Yes = False,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Copy a whole node to others of its subnet by snapshot.

    SRC is stopped while the snapshot is taken; uploads to it end meanwhile and can be resumed. Each
    copy is proven by its certified module and witnesses. After a crash the same command goes on.
    """
    from datanode.node.cloning import clone  # noqa: PLC0415 - brings libraries along

    output = Output(as_json=as_json)
    given = None if cycles is None else parse_cycles(cycles)
    if replace:
        output.confirm(
            f"Replace everything that {', '.join(copies)} hold?", yes=yes, what="replace"
        )
    with (
        open_place(
            output.say,
            network=network,
            identity=identity,
            node=source,
            root_key=root_key,
            signs=True,
        ) as context,
        output.working(f"cloning {source}"),
    ):
        principal = context.node_principal()
        targets = _targets(context, output, principal, copies, cycles=given)
        made = clone(
            context.agent,
            state_folder(),
            principal,
            targets,
            replace=replace,
            say=output.say,
        )
    for each in made:
        output.item(
            canister=each.canister.text,
            module_hash=each.module_hash.hex(),
            root=None if each.root is None else each.root.hex(),
            loaded=each.loaded,
        )
    output.table(
        ["copy", "certified root"],
        [
            [each.canister.text, "no models" if each.root is None else each.root.hex()]
            for each in made
        ],
    )
    output.summary(
        f"{len(made)} {'copy holds' if len(made) == 1 else 'copies hold'} what {source} held",
        source=principal.text,
        copies=len(made),
    )


def _targets(
    context: CommandContext,
    output: Output,
    source: Principal,
    copies: Sequence[str],
    *,
    cycles: int | None,
) -> list[Principal]:
    """Find the nodes to load; create those whose names are not known."""
    from datanode.node import cycles_ledger  # noqa: PLC0415 - see above
    from datanode.node.cloning import subnet_of  # noqa: PLC0415 - see above
    from uploader.cli import node_actions  # noqa: PLC0415 - see above

    if len(set(copies)) < len(copies):
        raise UsageError("a DST is named twice", safe="Nothing was changed.")
    folder, network = config_folder(), context.network.name
    found: list[Principal] = []
    for each in copies:
        try:
            found.append(registry.resolve(folder, each, network=network))
        except NotFoundError as error:
            if cycles is None:
                error.hint = f"{error.hint} With --cycles a node of that name is created first."
                raise
            registry.check_name(each)
            has_ledger = cycles_ledger.is_there(context.agent)
            made, _ = node_actions.create(
                context,
                output.say,
                each,
                cycles=cycles,
                subnet=subnet_of(context.agent, source) if has_ledger else None,
            )
            found += made
    return found
