"""Options that several commands share, so that one name means one thing everywhere."""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from datanode.errors import DataNodeError
from datanode.folders import config_folder
from datanode.limits import MAX_VERSION
from datanode.node import registry

COMPLETION_S: Final = 5.0
"""Seconds that a completion may ask a node. Ours."""
_PLACE: Final = ("network", "identity", "node", "root_key")


def known_nodes(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the name of a node, for the shell: names and canister ids; nothing when in doubt."""
    try:
        known = registry.all_nodes(config_folder())
    except DataNodeError:
        return
    for node in known:
        if node.name.startswith(incomplete):
            yield node.name, f"{node.canister} on {node.network}"


def known_models(context: typer.Context, incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the name of a model, for the shell: what the node shows within seconds."""
    from uploader.command_context import open_place  # noqa: PLC0415 - it brings the network along

    found: list[tuple[str, str]] = []
    given = {
        name: context.params.get(name) or context.params.get(f"from_{name}") for name in _PLACE
    }

    def look() -> None:
        with (
            contextlib.suppress(DataNodeError, OSError),
            open_place(
                _unheard,
                network=given["network"],
                identity=given["identity"],
                node=given["node"],
                root_key=given["root_key"],
            ) as opened,
        ):
            found.extend((each.name, f"version {each.latest}") for each in opened.node().models())

    # A network that has fallen silent must not keep the shell waiting.
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    looking.join(COMPLETION_S)
    yield from (each for each in list(found) if each[0].startswith(incomplete))


def _unheard(_text: str) -> None:
    pass


Network = Annotated[
    str | None,
    typer.Option(
        "--network", help="Network: local, ic, or the URL of an IC endpoint.", show_default="local"
    ),
]
Identity = Annotated[
    str | None,
    typer.Option("--identity", metavar="PEM", help="PEM file of the signing identity."),
]
Node = Annotated[
    str | None,
    typer.Option(
        "--node",
        help="Node: a name from `datanode node list`, or a canister id.",
        autocompletion=known_nodes,
    ),
]
State = Annotated[
    str | None,
    typer.Option("--state", metavar="URL", help="State database: sqlite:/// or postgresql:// URL."),
]
RootKey = Annotated[
    str | None,
    typer.Option("--root-key", metavar="HEX", help="Root key (DER) of a network other than ic."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object a line.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Model = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Name of a model.", autocompletion=known_models),
]
Version = Annotated[
    int | None,
    typer.Option(
        "--version",
        metavar="N",
        min=1,
        max=MAX_VERSION,
        help="Sealed version.",
        show_default="latest",
    ),
]
StateDir = Annotated[
    Path, typer.Option("--state-dir", metavar="DIR", help="Folder of the network.")
]
LocalCaller = Annotated[
    Path | None,
    typer.Option(
        "--identity",
        metavar="PEM",
        help="PEM file of the caller.",
        show_default="the network's public identity `owner`",
    ),
]
QueryJobs = Annotated[int, typer.Option("--jobs", min=1, max=64, help="Queries in flight.")]
EncodeJobs = Annotated[
    int, typer.Option("--jobs", min=0, help="Threads that encode.", show_default="one a core")
]
LimitRate = Annotated[
    str | None,
    typer.Option(
        "--limit-rate",
        metavar="RATE",
        help="Limit transfers to RATE bytes a second, e.g. 5000000 or 2MiB.",
    ),
]
XdrRate = Annotated[
    str | None,
    typer.Option(
        "--xdr-rate",
        metavar="RATE",
        help="Show costs in a currency too; RATE is the price of one XDR, e.g. 1.37USD.",
    ),
]
