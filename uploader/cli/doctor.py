"""`datanode doctor`: check everything that an upload needs, and report all of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import typer

from datanode import config
from datanode.command_context import (
    IDENTITY_FILE,
    CommandContext,
    WaitPolicy,
    find_identity,
    parse_root_key,
)
from datanode.errors import DataNodeError
from datanode.folders import config_folder
from datanode.node import registry
from datanode.units import SECOND_NS, format_cycles
from uploader.cli import options
from uploader.cli.output import Output
from uploader.command_context import state_location, state_of

if TYPE_CHECKING:
    from datanode.agent.client import Agent
    from datanode.agent.identity import Identity
    from datanode.node.canister import CanisterNode

_SKEW_WARNING_S: Final = 30.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorCheck:
    """The result of one check; not OK as well if it could not be made."""

    name: str
    ok: bool
    text: str


@dataclass(slots=True)
class CheckList:
    """Collects checks; one that fails does not keep the others from being made."""

    checks: list[DoctorCheck] = field(default_factory=list)

    def look(self, name: str, look: Callable[[], _T], tell: Callable[[_T], str]) -> _T | None:
        """Make a check; returns what it found, or None if it failed."""
        try:
            found = look()
            text = tell(found)
        except DataNodeError as error:
            text = f"{error.what.rstrip('.')}. {error.hint}".strip()
            self.checks.append(DoctorCheck(name=name, ok=False, text=text))
            return None
        self.checks.append(DoctorCheck(name=name, ok=True, text=text))
        return found

    def skip(self, name: str, why: str) -> None:
        """Note a check that cannot be made."""
        self.checks.append(DoctorCheck(name=name, ok=False, text=f"not checked: {why}"))


def doctor_command(
    *,
    network: options.Network = None,
    identity: options.Identity = None,
    state: options.State = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Check settings, identity, network, clock, state and nodes.

    Every check is reported; the exit code is 1 if one fails.
    """
    output = Output(as_json=as_json)
    flags = {"network": network, "identity": identity, "state": state, "root_key": root_key}
    with output.working("checking"):
        checks = list(_checks(flags, output.say))
    for check in checks:
        output.item(check=check.name, ok=check.ok, text=check.text)
    output.table(
        ["check", "ok", "finding"],
        [[check.name, "yes" if check.ok else "NO", check.text] for check in checks],
    )
    bad = [check for check in checks if not check.ok]
    output.summary(
        f"{len(bad)} of {len(checks)} checks failed" if bad else "all checks passed",
        failed=len(bad),
    )
    if bad:
        raise typer.Exit(1)


def _checks(flags: dict[str, str | None], say: Callable[[str], None]) -> list[DoctorCheck]:
    from datanode.agent.client import Agent  # noqa: PLC0415 - see `command_context`
    from datanode.agent.network import connect  # noqa: PLC0415 - see `command_context`

    done = CheckList()
    settings = done.look("settings", lambda: config.load(flags), _files)
    if settings is None:
        for name in ("identity", "network", "root key", "clock", "state", "nodes"):
            done.skip(name, "the settings cannot be read")
        return done.checks
    who = done.look("identity", lambda: find_identity(settings, say, signs=False), _described)
    where = done.look(
        "network",
        lambda: connect(settings.network, root_key=parse_root_key(settings.root_key), say=say),
        lambda found: f"{found.name} at {found.url}",
    )
    known = done.look("nodes", lambda: registry.all_nodes(config_folder()), _counted)
    if where is None or who is None:
        missing = "identity" if who is None else "network"
        for name in ("root key", "clock", "state", *(f"node {each.name}" for each in known or ())):
            done.skip(name, f"it needs the {missing}")
        return done.checks
    sleep = WaitPolicy(f"waiting for {where.url}", say)
    with Agent(where, who, sleep=sleep) as agent:
        context = CommandContext(settings=settings, network=where, identity=who, agent=agent)
        done.look("root key", lambda: where.root_key.hex()[-32:], lambda text: f"...{text}")
        done.look("clock", lambda: _clock(context), str)
        done.look("state", lambda: _state(context), str)
        for each in known or ():
            if each.network == where.name:
                look = partial(_node, agent, context.node(each.canister), each.name)
                done.look(f"node {each.name}", look, str)
                if len(each.members) > 1:
                    done.look(f"fleet {each.name}", partial(_fleet, context, each), str)
    return done.checks


def _files(_settings: config.Settings) -> str:
    read = [folder / config.FILE_NAME for folder in (config_folder(), Path.cwd())]
    there = [str(path) for path in read if path.exists()]
    return f"from {' and '.join(there)}" if there else f"no {config.FILE_NAME}: defaults"


def _described(identity: "Identity") -> str:
    if identity.public_key_der is None:
        return f"anonymous; the first upload creates one in {config_folder() / IDENTITY_FILE}"
    return identity.principal.text


def _counted(known: list[registry.KnownNode]) -> str:
    return f"{len(known)} known"


def _clock(context: CommandContext) -> str:
    # Adding zero makes a negative zero a plain one.
    skew_s = round((time.time_ns() - context.agent.time_ns()) / SECOND_NS, 1) + 0.0
    if abs(skew_s) > _SKEW_WARNING_S:
        raise DataNodeError(
            f"this clock differs from certified subnet time by {skew_s:+.0f} s",
            hint="Messages are signed by subnet time, so uploads work; certificates are judged by "
            "this clock: set it.",
        )
    return f"differs from certified subnet time by {skew_s:+.1f} s"


def _state(context: CommandContext) -> str:
    with state_of(context) as store:
        count = len(store.uploads())
    return f"{context.settings.state or state_location(context).folder}: {count} uploads"


def _fleet(context: CommandContext, fleet: registry.KnownNode) -> str:
    """Look for members that do not fit together, and for changes made on some members only."""
    from datanode.node.subnets import require_fleet  # noqa: PLC0415 - see `upload`
    from uploader.cli.fleet_models import access_differences, fleet_models  # noqa: PLC0415

    require_fleet(context.agent, fleet.members)
    named = replace(context, settings=replace(context.settings, node=fleet.name))
    models = fleet_models(named)
    where = f"--node {fleet.name}"
    found = [each for model in models for each in access_differences(named, model, where)]
    if found:
        raise DataNodeError("; ".join(found))
    return f"{len(fleet.members)} members, {len(models)} models over them"


def _node(agent: "Agent", node: "CanisterNode", name: str) -> str:
    from datanode.node import deploy, settings  # noqa: PLC0415 - see `upload`

    status = node.status()
    if status.details is None:
        return f"{node.principal}: interface {status.interface_version}"
    canister = deploy.canister_status(agent, node.principal)
    days = settings.days_until_frozen(canister, status)
    worries = settings.concerns(canister, days, name)
    if worries:
        raise DataNodeError(f"{node.principal}: {'; '.join(worries)}")
    rent = f"{days:,} days until frozen"
    if not canister.burn_per_day_cycles:
        rent = "nothing is charged here for what it holds: plan with --fees engine"
    return (
        f"{node.principal}: interface {status.interface_version}, "
        f"{format_cycles(status.details.cycles)}, {rent}"
    )
