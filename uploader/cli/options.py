"""Options that several commands share, so that one name means one thing everywhere."""

from collections.abc import Iterator
from typing import Annotated

import typer

from datanode.errors import DataNodeError
from datanode.folders import config_folder
from datanode.node import registry


def known_nodes(incomplete: str) -> Iterator[tuple[str, str]]:
    """Complete the name of a node, for the shell: names and canister ids; nothing when in doubt."""
    try:
        known = registry.all_nodes(config_folder())
    except DataNodeError:
        return
    for node in known:
        if node.name.startswith(incomplete):
            yield node.name, f"{node.canister} on {node.network}"


Network = Annotated[
    str | None,
    typer.Option(
        "--network", help="local, ic, or the URL of an IC endpoint.", show_default="local"
    ),
]
Identity = Annotated[
    str | None,
    typer.Option("--identity", metavar="PEM", help="PEM file of the identity that signs."),
]
Node = Annotated[
    str | None,
    typer.Option(
        "--node",
        help="A name from `datanode node list`, or a canister id.",
        autocompletion=known_nodes,
    ),
]
State = Annotated[
    str | None,
    typer.Option("--state", metavar="URL", help="State database: sqlite:/// or postgresql:// URL."),
]
RootKey = Annotated[
    str | None,
    typer.Option("--root-key", metavar="HEX", help="Root key (DER) of a network that is not ic."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before deleting.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Name of a model.")]
Version = Annotated[
    int | None, typer.Option("--version", help="A sealed version.", show_default="latest")
]
