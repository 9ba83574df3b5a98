"""`datanode node settings`: show and change what the subnet lets a node do."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from datanode.errors import UsageError
from datanode.units import DAY_S, format_bytes, format_tc
from uploader.cli import options
from uploader.cli.amounts import parse_bytes, parse_cycles, parse_principal
from uploader.cli.output import Json, Output
from uploader.command_context import open_place

if TYPE_CHECKING:
    from datanode.node.management import NodeCanisterStatus
    from datanode.node.settings import SettingsChange

_NONE: Final = "none"


def settings_command(
    node: Annotated[
        str | None,
        typer.Argument(
            metavar="NODE",
            help="A name or a canister id; the only one known.",
            autocompletion=options.known_nodes,
        ),
    ] = None,
    *,
    freezing_days: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            help="Days of rent that the balance must cover; below it the node is frozen.",
        ),
    ] = None,
    reserved_cycles_limit: Annotated[
        str | None,
        typer.Option(
            metavar="CYCLES", help="Most cycles that growth may reserve, e.g. 500TC, or none."
        ),
    ] = None,
    wasm_memory_limit: Annotated[
        str | None,
        typer.Option(metavar="BYTES", help="Largest heap, e.g. 1GiB, or none."),
    ] = None,
    add_controller: Annotated[
        list[str] | None,
        typer.Option(metavar="PRINCIPAL", help="Add a controller; may be repeated."),
    ] = None,
    remove_controller: Annotated[
        list[str] | None,
        typer.Option(metavar="PRINCIPAL", help="Remove a controller; may be repeated."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Remove your own identity without asking.")
    ] = False,
    network: options.Network = None,
    identity: options.Identity = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a node's settings; change those that are given."""
    from uploader.cli import node_actions  # noqa: PLC0415 - see `upload`

    output = Output(as_json=as_json)
    change = _parsed(freezing_days, reserved_cycles_limit, wasm_memory_limit)
    added = [parse_principal(text) for text in add_controller or []]
    removed = [parse_principal(text) for text in remove_controller or []]
    with (
        open_place(
            output.say, network=network, identity=identity, node=node, root_key=root_key, signs=True
        ) as context,
        output.working("looking at the settings"),
    ):
        if context.identity.principal in removed:
            output.confirm("Give up control of the node?", yes=yes)
        principal, status = node_actions.change_settings(context, change, add=added, remove=removed)
    output.table(["canister", principal.text], rows(status))
    output.summary("", canister=principal.text, **facts(status))


def rows(status: "NodeCanisterStatus") -> list[list[str]]:
    """Show settings as rows of a table."""
    return [
        ["freezing threshold", f"{status.freezing_threshold_s // DAY_S:,} days"],
        ["reserved cycles", format_tc(status.reserved_cycles)],
        ["reserved cycles limit", _limit(status.reserved_cycles_limit)],
        ["Wasm memory limit", _memory(status.wasm_memory_limit_bytes)],
        ["cycles a canister call", format_tc(status.call_cycles or 0)],
        ["controllers", " ".join(controller.text for controller in status.controllers)],
    ]


def facts(status: "NodeCanisterStatus") -> dict[str, Json]:
    """Show settings as fields of a JSON object."""
    return {
        "freezing_threshold_days": status.freezing_threshold_s // DAY_S,
        "reserved_cycles": status.reserved_cycles,
        "reserved_cycles_limit": status.reserved_cycles_limit,
        "wasm_memory_limit_bytes": status.wasm_memory_limit_bytes,
        "call_cycles": status.call_cycles,
        "controllers": [controller.text for controller in status.controllers],
    }


def _limit(cycles: int | None) -> str:
    from datanode.node.settings import NO_LIMIT_CYCLES  # noqa: PLC0415 - see `upload`

    return "none" if cycles is None or cycles == NO_LIMIT_CYCLES else format_tc(cycles)


def _memory(count: int | None) -> str:
    return format_bytes(count) if count else "none"


def _parsed(days: int | None, cycles: str | None, memory: str | None) -> "SettingsChange":
    from datanode.node import settings  # noqa: PLC0415 - see `upload`

    if days is not None and not settings.MIN_FREEZING_S <= days * DAY_S <= settings.MAX_FREEZING_S:
        least, most = settings.MIN_FREEZING_S // DAY_S, settings.MAX_FREEZING_S // DAY_S
        raise UsageError(f"--freezing-days is a number from {least} to {most}")
    limit = None
    if cycles is not None:
        limit = settings.NO_LIMIT_CYCLES if cycles == _NONE else parse_cycles(cycles)
    return settings.SettingsChange(
        freezing_threshold_s=None if days is None else days * DAY_S,
        reserved_cycles_limit=limit,
        wasm_memory_limit_bytes=(
            None if memory is None else 0 if memory == _NONE else parse_bytes(memory)
        ),
    )
