"""Storage canisters that this user knows by name: `nodes.json` in the configuration folder.

::

    {"v": 1, "nodes": [{"name": text, "network": text, "canister": text}, ...]}
    {"v": 2, "nodes": [{..., "members": [text, ...]}, ...]}

A fleet is an ordered list of canisters under one name; `canister` is its first member, the
coordinator. A single node is a fleet of one. Version 2 is written where a fleet has more members.
A name stands once a network. The file is replaced atomically, under a lock, so that two commands
at once do not undo each other; a newer version is not touched.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from datanode import record_file
from datanode.errors import FormatError, NotFoundError, UsageError
from datanode.files import locked
from datanode.principal import Principal
from datanode.record_file import RecordFields

FILE_NAME: Final = "nodes.json"
_LOCK: Final = "nodes.lock"
_VERSION: Final = 2
_VERSION_WITHOUT_FLEETS: Final = 1
MAX_MEMBERS: Final = 64
"""Most members of a fleet. Ours: 30 TB of frames."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class KnownNode:
    """A node or a fleet by name.

    Attributes:
        network: `local`, `ic` or a URL.
        name: What the user calls it.
        members: Its canisters, in order; one for a single node.
    """

    network: str
    name: str
    members: tuple[Principal, ...]

    @property
    def canister(self) -> Principal:
        """The first member."""
        return self.members[0]


def all_nodes(config_dir: Path) -> list[KnownNode]:
    """List the known nodes of all networks.

    Raises:
        UsageError: The file cannot be read.
        UnsupportedVersionError: A newer release wrote it.
    """
    path = config_dir / FILE_NAME
    damaged = UsageError(f"{path} is damaged", hint="Correct it, or move it away.")
    return record_file.read(path, _parse, version=_VERSION, damaged=damaged) or []


def _parse(fields: RecordFields) -> list[KnownNode]:
    return sorted(
        KnownNode(network=row.text("network"), name=row.text("name"), members=_members(row))
        for row in fields.records("nodes")
    )


def _members(row: RecordFields) -> tuple[Principal, ...]:
    canister = row.text("canister")
    texts = row.texts("members") if "members" in row else [canister]
    if not 1 <= len(set(texts)) == len(texts) <= MAX_MEMBERS:
        raise ValueError("a fleet has 1 to 64 members, each once")
    members = tuple(map(Principal.parse, texts))
    if members[0].text != canister:
        raise ValueError("the canister of a fleet is its first member")
    return members


def nodes(config_dir: Path, *, network: str) -> Mapping[str, Principal]:
    """Return the known nodes of one network by name; of a fleet, the first member."""
    return {node.name: node.canister for node in all_nodes(config_dir) if node.network == network}


def add(
    config_dir: Path, name: str, principal: Principal, *others: Principal, network: str
) -> None:
    """Remember a node, or with `others` a fleet; the same again is no news.

    Raises:
        UsageError: The name is taken, or is none, or the members are too many or not distinct.
    """
    check_name(name)
    node = KnownNode(network=network, name=name, members=(principal, *others))
    if len(set(node.members)) < len(node.members):
        raise UsageError("a canister is named twice", safe="Nothing was changed.")
    if len(node.members) > MAX_MEMBERS:
        raise UsageError(f"a fleet has at most {MAX_MEMBERS} members", safe="Nothing was changed.")
    with locked(config_dir / _LOCK):
        known = all_nodes(config_dir)
        taken = [each for each in known if (each.name, each.network) == (name, network)]
        if taken == [node]:
            return
        if taken:
            shown = ", ".join(each.text for each in taken[0].members)
            raise UsageError(
                f"{name} is {shown} on {network}", hint="Choose another name, or remove that one."
            )
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
            there = [node.name for node in known if node.network == network]
            raise _unknown(name, network, there)
        _write(config_dir, kept)


def resolve(config_dir: Path, node: str, *, network: str) -> Principal:
    """Find a single node by name, or by the text of its principal.

    Raises:
        NotFoundError: It is neither.
        UsageError: It is a fleet of several nodes.
    """
    members = resolve_fleet(config_dir, node, network=network)
    if len(members) > 1:
        raise UsageError(
            f"{node} is a fleet of {len(members)} nodes, and this takes one",
            safe="Nothing was changed.",
            hint=f"Name one of its canisters; `datanode node status {node}` lists them.",
        )
    return members[0]


def resolve_fleet(config_dir: Path, node: str, *, network: str) -> tuple[Principal, ...]:
    """Find the members of a fleet; a single node, or the text of a principal, is a fleet of one.

    Raises:
        NotFoundError: There is no such name.
    """
    known = {each.name: each for each in all_nodes(config_dir) if each.network == network}
    if node in known:
        return known[node].members
    try:
        return (Principal.parse(node),)
    except FormatError:
        raise _unknown(node, network, known) from None


def _unknown(name: str, network: str, known: Iterable[str]) -> NotFoundError:
    close = difflib.get_close_matches(name, known, n=3)
    words = f"Did you mean {' or '.join(close)}? " if close else ""
    return NotFoundError(
        f"no node is called {name} on {network}",
        hint=f"{words}`datanode node list` shows the known nodes; `datanode node add` adds one.",
    )


def _write(config_dir: Path, known: list[KnownNode]) -> None:
    has_fleets = any(len(node.members) > 1 for node in known)
    rows = [_row(node) for node in sorted(known)]
    version = _VERSION if has_fleets else _VERSION_WITHOUT_FLEETS
    record_file.write(config_dir / FILE_NAME, {"nodes": rows}, version=version)


def _row(node: KnownNode) -> dict[str, object]:
    row: dict[str, object] = {
        "name": node.name,
        "network": node.network,
        "canister": node.canister.text,
    }
    if len(node.members) > 1:
        row["members"] = [each.text for each in node.members]
    return row
