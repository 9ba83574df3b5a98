"""`datanode node clone`: copies of a whole node by snapshot."""

from collections.abc import Sequence
from typing import Annotated, Final

import typer

from datanode.command_context import CommandContext, open_place
from datanode.errors import NotFoundError, UsageError
from datanode.folders import config_folder
from datanode.node import registry
from datanode.principal import Principal
from uploader.cli import options
from uploader.cli.amounts import parse_cycles
from uploader.cli.output import Output

_UNCHANGED: Final = "Nothing was changed."


def clone_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SRC",
            help="Node or fleet to copy: a name or a canister id.",
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
    copy is proven by its certified module and witnesses. After a crash the same command goes on. A
    fleet is cloned to fleets of as many members, member by member; then each model over it gets an
    index that names the members of the copy.
    """
    from uploader.cli.clone_indexes import clone_fleets  # noqa: PLC0415 - brings libraries along

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
        members = context.members()
        targets = _targets(context, output, members, copies, cycles=given)
        made, left = clone_fleets(context, output.say, members, targets, replace=replace)
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
    shown = f"{len(made)} {'copy holds' if len(made) == 1 else 'copies hold'} what {source} held"
    if left:
        shown += (
            f"\nindexes that still name members of {source}: {', '.join(left)}; the owner of each "
            f"can run `datanode copy MODEL --from {source} --to DST`, which sends no weights"
        )
    output.summary(
        shown,
        source=members[0].text,
        members=[each.text for each in members],
        copies=len(made),
        indexes_left=left,
    )


def _targets(
    context: CommandContext,
    output: Output,
    sources: Sequence[Principal],
    copies: Sequence[str],
    *,
    cycles: int | None,
) -> list[tuple[Principal, ...]]:
    """Find the nodes to load, as many members each as the source; create those not known."""
    from datanode.node import deploy  # noqa: PLC0415 - see above
    from datanode.node.subnets import subnet_of  # noqa: PLC0415 - see above
    from uploader.cli import node_actions  # noqa: PLC0415 - see above

    if len(set(copies)) < len(copies):
        raise UsageError("a DST is named twice", safe=_UNCHANGED)
    folder, network = config_folder(), context.network.name
    found: dict[str, tuple[Principal, ...]] = {}
    for name in copies:
        try:
            found[name] = registry.resolve_fleet(folder, name, network=network)
        except NotFoundError as error:
            if cycles is None:
                error.hint = f"{error.hint} With --cycles a node of that name is created first."
                raise
            registry.check_name(name)
            continue
        if len(found[name]) != len(sources):
            raise UsageError(
                f"{name} has {len(found[name])} members, the source has {len(sources)}: each is "
                "cloned to the one in its place",
                safe=_UNCHANGED,
                hint="Name a fleet of as many members, or copy each model with `datanode copy`.",
            )
    if cycles is not None and len(found) < len(copies):
        for each in sources:
            deploy.canister_status(context.agent, each)  # only a controller can clone it
        subnet = subnet_of(context.agent, sources[0])
        for name in copies:
            if name not in found:
                found[name] = node_actions.create_empty(
                    context, output.say, name, cycles=cycles, subnet=subnet, count=len(sources)
                )
    return [found[name] for name in copies]
