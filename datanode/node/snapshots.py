"""Snapshots of canisters, as far as copying a node needs them (interface specification, `ic.did`).

A snapshot costs 2e9 instructions and one a byte to take, and the same to load; its canister pays
rent for it while it is kept.
"""

from dataclasses import dataclass
from typing import Final

from datanode.agent.candid import Blob, Nat64, Opt, Record, Value, Vec, decode
from datanode.agent.candid import Principal as PrincipalType
from datanode.agent.client import Agent
from datanode.node.management import CANISTER, call
from datanode.node.values import Row, items
from datanode.principal import Principal

MAX_SNAPSHOTS: Final = 10
"""Most snapshots of a canister. Source: replica, 2026-05."""

_SNAPSHOT: Final = Record({"id": Blob, "taken_at_timestamp": Nat64, "total_size": Nat64})
_TAKE: Final = Record({"canister_id": PrincipalType, "replace_snapshot": Opt(Blob)})
_ONE: Final = Record({"canister_id": PrincipalType, "snapshot_id": Blob})
_METADATA: Final = Record({"certified_data": Blob})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot of a canister.

    Attributes:
        id: The subnet's name for it.
        taken_ns: When it was taken.
        size_bytes: Memory that it takes.
    """

    id: bytes
    taken_ns: int
    size_bytes: int


def take(agent: Agent, canister: Principal) -> Snapshot:
    """Take a snapshot.

    Raises:
        CyclesError: The canister cannot pay for it.
    """
    argument: Value = {"canister_id": canister, "replace_snapshot": None}
    reply = call(agent, "take_canister_snapshot", _TAKE, argument, effective=canister)
    return _snapshot(Row.of(decode((_SNAPSHOT,), reply)[0]))


def listed(agent: Agent, canister: Principal) -> list[Snapshot]:
    """List the snapshots of a canister."""
    argument: Value = {"canister_id": canister}
    reply = call(agent, "list_canister_snapshots", CANISTER, argument, effective=canister)
    return [_snapshot(Row.of(each)) for each in items(decode((Vec(_SNAPSHOT),), reply)[0])]


def load(agent: Agent, canister: Principal, snapshot: bytes) -> None:
    """Load a snapshot of this canister, or of another one of the same subnet and controller.

    Raises:
        CyclesError: The canister cannot pay for it.
        NotFoundError: There is no such snapshot.
    """
    argument: Value = {"canister_id": canister, "snapshot_id": snapshot}
    call(agent, "load_canister_snapshot", _ONE, argument, effective=canister)


def delete(agent: Agent, canister: Principal, snapshot: bytes) -> None:
    """Delete a snapshot."""
    argument: Value = {"canister_id": canister, "snapshot_id": snapshot}
    call(agent, "delete_canister_snapshot", _ONE, argument, effective=canister)


def certified_data(agent: Agent, canister: Principal, snapshot: bytes) -> bytes:
    """Return the certified data that a snapshot holds, as the subnet tells by consensus."""
    argument: Value = {"canister_id": canister, "snapshot_id": snapshot}
    reply = call(agent, "read_canister_snapshot_metadata", _ONE, argument, effective=canister)
    return Row.of(decode((_METADATA,), reply)[0]).data("certified_data")


def stop(agent: Agent, canister: Principal) -> None:
    """Stop a canister, once it has answered what it is working on."""
    call(agent, "stop_canister", CANISTER, {"canister_id": canister}, effective=canister)


def start(agent: Agent, canister: Principal) -> None:
    """Start a canister; one that runs stays as it is."""
    call(agent, "start_canister", CANISTER, {"canister_id": canister}, effective=canister)


def _snapshot(row: Row) -> Snapshot:
    return Snapshot(
        id=row.data("id"),
        taken_ns=row.number("taken_at_timestamp"),
        size_bytes=row.number("total_size"),
    )
