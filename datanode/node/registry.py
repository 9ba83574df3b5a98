"""Storage canisters that this user knows by name: `nodes.json` in the configuration folder.

::

    {"v": 1, "nodes": [{"name": text, "network": text, "canister": text}, ...]}

A name stands once a network. The file is replaced atomically, under a lock, so that two commands
at once do not undo each other; a newer version is not touched.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datanode.errors import FormatError, NotFoundError, UnsupportedVersionError, UsageError
from datanode.files import disk_errors, locked, replace_file
from datanode.principal import Principal

FILE_NAME: Final = "nodes.json"
_LOCK: Final = "nodes.lock"
_VERSION: Final = 1
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class KnownNode:
    """A node by name.

    Attributes:
        network: `local`, `ic` or a URL.
        name: What the user calls it.
        canister: Which canister it is.
    """

    network: str
    name: str
    canister: Principal


def all_nodes(config_dir: Path) -> list[KnownNode]:
    """List the known nodes of all networks.

    Raises:
        UsageError: The file cannot be read.
        UnsupportedVersionError: A newer release wrote it.
    """
    path = config_dir / FILE_NAME
    with disk_errors(path):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return []
    try:
        content = json.loads(data)
        if content["v"] > _VERSION:
            raise UnsupportedVersionError(f"{path} was written by a newer release")
        return sorted(
            KnownNode(
                network=str(row["network"]),
                name=str(row["name"]),
                canister=Principal.parse(row["canister"]),
            )
            for row in content["nodes"]
        )
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        FormatError,
    ) as error:
        raise UsageError(f"{path} is damaged", hint="Correct it, or move it away.") from error


def nodes(config_dir: Path, *, network: str) -> Mapping[str, Principal]:
    """Return the known nodes of one network by name."""
    return {node.name: node.canister for node in all_nodes(config_dir) if node.network == network}


def add(config_dir: Path, name: str, principal: Principal, *, network: str) -> None:
    """Remember a node; the same name for the same canister is no news.

    Raises:
        UsageError: The name is taken, or is none.
    """
    check_name(name)
    with locked(config_dir / _LOCK):
        known = all_nodes(config_dir)
        taken = nodes(config_dir, network=network).get(name)
        if taken == principal:
            return
        if taken is not None:
            raise UsageError(
                f"{name} is {taken} on {network}", hint="Choose another name, or remove that one."
            )
        node = KnownNode(network=network, name=name, canister=principal)
        _write(config_dir, [*known, node])


def check_name(name: str) -> None:
    """Make sure that a node can be called so.

    Raises:
        UsageError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a name: letters, digits, `.`, `_`, `-`; at most 64")


def remove(config_dir: Path, name: str, *, network: str) -> None:
    """Forget a node.

    Raises:
        NotFoundError: No node has that name.
    """
    with locked(config_dir / _LOCK):
        known = all_nodes(config_dir)
        kept = [node for node in known if (node.name, node.network) != (name, network)]
        if len(kept) == len(known):
            raise _unknown(name, network)
        _write(config_dir, kept)


def resolve(config_dir: Path, node: str, *, network: str) -> Principal:
    """Find a node by name, or by the text of its principal.

    Raises:
        NotFoundError: It is neither.
    """
    known = nodes(config_dir, network=network).get(node)
    if known is not None:
        return known
    try:
        return Principal.parse(node)
    except FormatError:
        raise _unknown(node, network) from None


def _unknown(name: str, network: str) -> NotFoundError:
    return NotFoundError(
        f"no node is called {name} on {network}",
        hint="`datanode node list` shows the known nodes; `datanode node add` adds one.",
    )


def _write(config_dir: Path, known: list[KnownNode]) -> None:
    rows = [
        {"name": node.name, "network": node.network, "canister": node.canister.text}
        for node in sorted(known)
    ]
    replace_file(
        config_dir / FILE_NAME,
        json.dumps({"v": _VERSION, "nodes": rows}, indent=1).encode() + b"\n",
    )
