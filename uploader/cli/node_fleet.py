"""Rows of `datanode node` for fleets: one a member, and a total."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from datanode.command_context import CommandContext
from datanode.errors import DataNodeError
from datanode.principal import Principal
from datanode.units import format_bytes, format_cycles
from uploader.cli.output import Output

if TYPE_CHECKING:
    from uploader.cli.node_actions import NodeView

_COLUMNS: Final = [
    "> member",
    "canister",
    "state",
    "> cycles",
    "> days until frozen",
    "> memory",
    "> frames",
    "> interface",
]


def show_members(output: Output, members: Sequence[Principal], **fact: str) -> None:
    """Show what was done to each member of a fleet; a single node needs no table."""
    if len(members) == 1:
        return
    (name, value), *_ = fact.items()
    for number, principal in enumerate(members):
        output.item(member=number, canister=principal.text, **fact)
    output.table(
        ["> member", "canister", name],
        [[str(number), each.text, value] for number, each in enumerate(members)],
    )


def show_status(output: Output, context: CommandContext, members: Sequence[Principal]) -> None:
    """Show every member of a fleet, one row each, and the total of those that answer.

    Raises:
        DataNodeError: A member cannot be looked at; the others are shown all the same.
    """
    from uploader.cli import node_actions  # noqa: PLC0415 - it brings libraries along

    views: list[NodeView] = []
    rows: list[list[str]] = []
    failed: DataNodeError | None = None
    for number, principal in enumerate(members):
        try:
            view = node_actions.look(context, principal, principal.text)
        except DataNodeError as error:
            if principal.text not in error.what:
                error.what = f"member {principal}: {error.what}"
            failed = failed or error
            output.item(member=number, canister=principal.text, state=None, concerns=[error.what])
            rows.append([str(number), principal.text, "unknown", *["-"] * 5])
            continue
        views.append(view)
        _show_member(output, number, principal, view)
        rows.append(_row(number, principal, view))
    if failed is not None:
        output.table(_COLUMNS, rows)
        raise failed
    cycles = sum(view.canister.cycles for view in views)
    memory_bytes = sum(view.canister.memory_bytes for view in views)
    days = min(view.days for view in views)
    modules = {view.canister.module_hash for view in views}
    rows.append(
        ["", "total", "", format_cycles(cycles), f"{days:,}", format_bytes(memory_bytes), "", ""]
    )
    output.table(_COLUMNS, rows)
    models = [
        None
        if (model := node_actions.look_at_model(context, principal, view)) is None
        else node_actions.describe_model(model)
        for principal, view in zip(members, views, strict=True)
    ]
    for number, described in enumerate(models):
        if described is not None:
            output.say(f"member {number}: {described}")
    concerns = [concern for view in views for concern in view.concerns]
    if len(modules) > 1:
        concerns.append(
            "the members run different modules: run `datanode node upgrade` on the fleet"
        )
    for concern in concerns:
        output.say(f"warning: {concern}")
    output.summary(
        "",
        members=[each.text for each in members],
        cycles=cycles,
        freezing_days=days,
        memory_bytes=memory_bytes,
        models=models,
        concerns=concerns,
    )


def _show_member(output: Output, number: int, principal: Principal, view: "NodeView") -> None:
    status, details = view.canister, view.node.details if view.node is not None else None
    output.item(
        member=number,
        canister=principal.text,
        state=status.status,
        cycles=status.cycles,
        idle_burn_per_day_cycles=status.burn_per_day_cycles,
        freezing_days=view.days,
        memory_bytes=status.memory_bytes,
        frame_bytes=None if details is None else details.frame_bytes,
        module_hash=status.module_hash.hex() if status.module_hash else None,
        interface_version=None if view.node is None else view.node.interface_version,
        concerns=view.concerns,
    )


def _row(number: int, principal: Principal, view: "NodeView") -> list[str]:
    status, details = view.canister, view.node.details if view.node is not None else None
    return [
        str(number),
        principal.text,
        status.status,
        format_cycles(status.cycles),
        f"{view.days:,}",
        format_bytes(status.memory_bytes),
        "-" if details is None else format_bytes(details.frame_bytes),
        "-" if view.node is None else str(view.node.interface_version),
    ]
