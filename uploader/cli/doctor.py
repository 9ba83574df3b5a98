"""`datanode doctor`: is everything in order that an upload stands on?"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import typer

from datanode.errors import DataNodeError
from datanode.folders import config_folder
from datanode.node import registry
from datanode.units import SECOND_NS, format_cycles
from uploader.cli import options
from uploader.cli.output import Output
from uploader.place import Place, open_place

if TYPE_CHECKING:
    from datanode.node.canister import CanisterNode

_SKEW_WARNING_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    text: str


def doctor_command(
    *,
    network: options.Network = None,
    identity: options.Identity = None,
    state: options.State = None,
    root_key: options.RootKey = None,
    as_json: options.AsJson = False,
) -> None:
    """Check identity, network, root key, clock, state and nodes."""
    output = Output(as_json=as_json)
    with (
        open_place(
            output.say, network=network, identity=identity, state=state, root_key=root_key
        ) as place,
        output.working("looking"),
    ):
        checks = list(_checks(place))
    for check in checks:
        output.item(check=check.name, ok=check.ok, text=check.text)
    output.table(
        ["check", "ok", "finding"],
        [[check.name, "yes" if check.ok else "NO", check.text] for check in checks],
    )
    bad = [check for check in checks if not check.ok]
    output.summary(
        f"{len(bad)} of {len(checks)} checks failed" if bad else "all is well", failed=len(bad)
    )
    if bad:
        raise typer.Exit(1)


def _checks(place: Place) -> Iterator[Check]:
    yield Check(name="identity", ok=True, text=place.identity.principal.text)
    yield Check(name="network", ok=True, text=f"{place.network.name} at {place.network.url}")
    yield Check(name="root key", ok=True, text=place.network.root_key.hex()[-32:])
    yield _try("clock", lambda: _clock(place))
    yield _try("state", lambda: _state(place))
    known = registry.nodes(config_folder(), network=place.network.name)
    for name, principal in sorted(known.items()):
        node = place.node(principal)
        yield _try(f"node {name}", lambda node=node: _node(node))  # type: ignore[misc]


def _try(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, text=look())
    except DataNodeError as error:
        return Check(name=name, ok=False, text=f"{error.what.rstrip('.')}. {error.hint}".strip())


def _clock(place: Place) -> str:
    # Adding zero makes a negative zero a plain one.
    skew_s = round((time.time_ns() - place.agent.time_ns()) / SECOND_NS, 1) + 0.0
    if abs(skew_s) > _SKEW_WARNING_S:
        raise DataNodeError(
            f"this clock differs from certified subnet time by {skew_s:+.0f} s",
            hint="Messages are signed by subnet time, so uploads work; certificates are judged by "
            "this clock: set it.",
        )
    return f"differs from certified subnet time by {skew_s:+.1f} s"


def _state(place: Place) -> str:
    with place.state() as store:
        count = len(store.uploads())
    return f"{place.settings.state or place.state_location.folder}: {count} uploads"


def _node(node: "CanisterNode") -> str:
    status = node.status()
    if status.details is None:
        return f"{node.principal}: interface {status.interface_version}"
    return (
        f"{node.principal}: interface {status.interface_version}, "
        f"{format_cycles(status.details.cycles)}, "
        f"{status.details.freezing_days:,} days until frozen"
    )
