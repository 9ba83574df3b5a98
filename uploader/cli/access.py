"""`datanode grant`, `revoke`, `grants`, `publish`, `unpublish` and `transfer`: access to models."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final

import typer

from datanode.command_context import CommandContext, ContextArguments
from datanode.errors import NotFoundError, UsageError
from datanode.node.port import Grant, Role, Visibility
from datanode.part_names import is_part_name
from datanode.principal import Principal
from datanode.units import DAY_S, SECOND_NS, format_bytes
from uploader.cli import options, runners
from uploader.cli.amounts import parse_principal
from uploader.cli.fleet_models import (
    change_all,
    is_over_fleet,
    places_of,
    with_member,
)
from uploader.cli.output import Output
from uploader.cli.suggest import suggesting_models
from uploader.cli.where import with_where

if TYPE_CHECKING:
    from collections.abc import Callable

    from datanode.node.canister import CanisterNode


class GrantedRole(StrEnum):
    """Role that the commands grant: those of models, and that of an inference canister."""

    UPLOADER = "uploader"
    READER = "reader"
    RUNNER = runners.RUNNER


To = Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Principal to grant the role to.")]
From = Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Principal to take the role from.")]
RoleArgument = Annotated[
    GrantedRole,
    typer.Argument(
        help="Role on the model; a runner spends the cycles of an inference canister on its model."
    ),
]
On = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Limit the role to one model; without it, all models (controllers only).",
        autocompletion=options.known_models,
    ),
]
_PUBLIC: Final = "public"
_MAX_DAYS: Final = 36_500


@with_where()
def grant_command(
    to: To,
    role: RoleArgument = GrantedRole.READER,
    *,
    model: On = None,
    days: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Expire after DAYS days.")
    ] = None,
    quota: Annotated[
        int | None,
        typer.Option(min=0, metavar="BYTES", help="Limit an uploader to BYTES of frames."),
    ] = None,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Grant PRINCIPAL a role on one or all models."""
    output = Output(as_json=as_json)
    principal = _principal(to, "publish")
    if quota is not None and role is not GrantedRole.UPLOADER:
        raise UsageError(f"--quota limits uploaders: a {role.value} stores nothing")
    if days is not None and not (math.isfinite(days) and 0 < days <= _MAX_DAYS):
        raise UsageError(f"--days takes a number above 0 and up to {_MAX_DAYS}")
    if role is GrantedRole.RUNNER:
        runners.require_no_limits(model, days)
        with where.open(output.say, signs=True) as context:
            runners.change(context, output, principal, is_allowed=True)
        return
    with where.open(output.say, signs=True) as context:
        expires_ns = (
            None if days is None else context.agent.time_ns() + int(days * DAY_S * SECOND_NS)
        )
        grant = Grant(
            to=principal, role=Role(role), model=model, expires_ns=expires_ns, quota_bytes=quota
        )
        _on_all(context, model, lambda node, name: node.grant(replace(grant, model=name)))
    limits = _limits(grant)
    output.summary(
        f"{principal} is {role.value} of {model or 'all models'}{limits and ', '}{limits}",
        to=principal.text,
        role=role.value,
        model=model,
        expires_ns=expires_ns,
        quota_bytes=quota,
    )


@with_where()
def revoke_command(
    to: From,
    role: RoleArgument = GrantedRole.READER,
    *,
    model: On = None,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Revoke a role of PRINCIPAL."""
    output = Output(as_json=as_json)
    principal = _principal(to, "unpublish")
    if role is GrantedRole.RUNNER:
        runners.require_no_limits(model, None)
        with where.open(output.say, signs=True) as context:
            runners.change(context, output, principal, is_allowed=False)
        return
    with where.open(output.say, signs=True) as context:
        _on_all(
            context,
            model,
            lambda node, name: node.revoke(principal, Role(role), name),
            index_first=True,
        )
    output.summary(
        f"{principal} is no longer {role.value} of {model or 'all models'}",
        to=principal.text,
        role=role.value,
        model=model,
    )


@with_where()
def grants_command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Name of a model; without it, roles on all models (controllers only).",
            show_default=False,
            autocompletion=options.known_models,
        ),
    ] = None,
    *,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """List the roles on MODEL, with their limits.

    Without MODEL, the runners of an inference canister are listed as well.
    """
    output = Output(as_json=as_json)
    running: list[Principal] = []
    with where.open(output.say) as context:
        target = context.coordinator()
        if model is None:
            info = None
            granted = target.grants(None)
            running = runners.listed(context)
        else:
            with suggesting_models(context, model):
                info = target.model(model)
                granted = target.grants(model)
    for grant in granted:
        output.item(
            to=grant.to.text,
            role=grant.role.value,
            model=grant.model,
            expires_ns=grant.expires_ns,
            quota_bytes=grant.quota_bytes,
        )
    for runner in running:
        output.item(to=runner.text, role=GrantedRole.RUNNER.value)
    rows = [[grant.to.text, grant.role.value, _limits(grant) or "-"] for grant in granted]
    rows += [[runner.text, GrantedRole.RUNNER.value, "-"] for runner in running]
    output.table(["principal", "role", "limits"], rows)
    about = "" if info is None else f"{model} is {_named(info.visibility)}, owned by {info.owner}"
    nothing = "" if rows else "no roles are granted" + (f" on {model}" if model else "")
    output.summary(
        "; ".join(filter(None, (about, nothing))),
        model=model,
        grants=len(rows),
        owner=None if info is None else info.owner.text,
        visibility=None if info is None else _named(info.visibility),
    )


def _set_visibility(
    where: ContextArguments, output: Output, model: str, visibility: Visibility
) -> None:
    with (
        where.open(output.say, signs=True) as context,
        suggesting_models(context, model),
    ):
        change_all(
            context,
            model,
            lambda node, name: node.set_visibility(name, visibility),
            index_first=visibility is Visibility.PRIVATE,
        )


@with_where()
def publish_command(
    model: options.Model,
    *,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Make MODEL readable by everyone."""
    output = Output(as_json=as_json)
    _set_visibility(where, output, model, Visibility.PUBLIC)
    output.summary(
        f"{model} is public; `datanode unpublish {model}` makes it private",
        model=model,
        visibility="public",
    )


@with_where()
def unpublish_command(
    model: options.Model,
    *,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Make MODEL private.

    Its owner, controllers and principals with a role on it still read it.
    """
    output = Output(as_json=as_json)
    _set_visibility(where, output, model, Visibility.PRIVATE)
    output.summary(
        f"{model} is private; what was read while it was public stays with its readers",
        model=model,
        visibility="private",
    )


@with_where()
def transfer_command(
    model: options.Model,
    to: Annotated[str, typer.Argument(metavar="PRINCIPAL", help="Principal of the new owner.")],
    *,
    yes: options.Yes = False,
    where: ContextArguments,
    as_json: options.AsJson = False,
) -> None:
    """Transfer MODEL to a new owner.

    The new owner, or a controller, decides about it from then on.
    """
    output = Output(as_json=as_json)
    principal = _principal(to, "publish")
    output.confirm(
        f"Transfer {model} to {principal}? Only the new owner or a controller can undo it.",
        yes=yes,
        what="transfer",
    )
    with (
        where.open(output.say, signs=True) as context,
        suggesting_models(context, model),
    ):
        _transfer(context, model, principal)
    output.summary(f"{model} belongs to {principal}", model=model, owner=principal.text)


def _on_all(
    context: CommandContext,
    model: str | None,
    change: "Callable[[CanisterNode, str | None], None]",
    *,
    index_first: bool = False,
) -> None:
    """Change a role on a model wherever it lies, or on all models of each member."""
    if model is not None and _is_known(context, model):
        change_all(context, model, change, index_first=index_first)
        return
    members = context.members()
    for member in members if model is None else members[:1]:
        node = context.node(member)
        with_member(node, len(members), partial(change, node, model))


def _is_known(context: CommandContext, model: str) -> bool:
    try:
        return is_over_fleet(context, model) and bool(places_of(context, model))
    except NotFoundError:
        return False


def _transfer(context: CommandContext, model: str, to: Principal) -> None:
    """Transfer the parts, then the index; a part that has its new owner already is left alone."""

    def transfer(node: "CanisterNode", name: str) -> None:
        if is_part_name(name) and name != model and node.model(name).owner == to:
            return
        node.transfer_model(name, to)

    change_all(context, model, transfer, index_first=False)


def _principal(text: str, instead: str) -> Principal:
    if text == _PUBLIC:
        raise UsageError(
            "`public` is not a principal",
            hint=f"`datanode {instead} MODEL` changes whether everyone may read a model.",
        )
    return parse_principal(text)


def _limits(grant: Grant) -> str:
    expiry = grant.expires_ns
    until = expiry and datetime.fromtimestamp(expiry / SECOND_NS, UTC).strftime(
        "%Y-%m-%d %H:%M UTC"
    )
    quota = grant.quota_bytes
    size = "" if quota is None else f"at most {format_bytes(quota)} of frames"
    return ", ".join(filter(None, (f"until {until}" if until else "", size)))


def _named(visibility: Visibility) -> str:
    return visibility.value.rstrip("_")
