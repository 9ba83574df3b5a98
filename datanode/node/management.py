"""The management canister, as far as a storage node needs it (interface specification, `ic.did`).

The provisional methods make cycles out of nothing: local networks have them, mainnet has not.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from datanode.agent.candid import (
    Blob,
    Nat,
    Null,
    Opt,
    Record,
    Type,
    Value,
    Variant,
    Vec,
    decode,
    encode,
)
from datanode.agent.candid import Principal as PrincipalType
from datanode.agent.client import Agent
from datanode.node.values import Row, narrow
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import DAY_S, MIB

MAX_INSTALL_BYTES: Final = 3 * MIB // 2
"""Largest module sent in one message. Ours: well below the ingress limit with its argument."""

WASM_CHUNK_BYTES: Final = 1 * MIB
"""Chunk of a larger module. Source: IC resource limits, 2026-05."""

CANISTER: Final = Record({"canister_id": PrincipalType})
_CREATE: Final = Record(
    {
        "amount": Opt(Nat),
        "settings": Opt(Record({"controllers": Opt(Vec(PrincipalType))})),
        "specified_id": Opt(PrincipalType),
    }
)
_TOP_UP: Final = Record({"canister_id": PrincipalType, "amount": Nat})
_UPGRADE: Final = Record({"skip_pre_upgrade": Opt(Null)})
_MODE: Final = Variant({"install": Null, "reinstall": Null, "upgrade": Opt(_UPGRADE)})
_INSTALL: Final = Record(
    {"mode": _MODE, "canister_id": PrincipalType, "wasm_module": Blob, "arg": Blob}
)
_CHUNK: Final = Record({"hash": Blob})
_UPLOAD_CHUNK: Final = Record({"canister_id": PrincipalType, "chunk": Blob})
_INSTALL_CHUNKED: Final = Record(
    {
        "mode": _MODE,
        "target_canister": PrincipalType,
        "store_canister": Opt(PrincipalType),
        "chunk_hashes_list": Vec(_CHUNK),
        "wasm_module_hash": Blob,
        "arg": Blob,
    }
)
_STATUS: Final = Record(
    {
        "status": Variant({"running": Null, "stopping": Null, "stopped": Null}),
        "settings": Record(
            {
                "controllers": Vec(PrincipalType),
                "freezing_threshold": Nat,
                "reserved_cycles_limit": Opt(Nat),
                "wasm_memory_limit": Opt(Nat),
                "minimum_incoming_canister_call_cycles": Opt(Nat),
            }
        ),
        "reserved_cycles": Opt(Nat),
        "module_hash": Opt(Blob),
        "memory_size": Nat,
        "cycles": Nat,
        "idle_cycles_burned_per_day": Nat,
    }
)

FIRST_CANISTERS: Final = (
    Principal(bytes.fromhex("00000000000000000101")),
    Principal(bytes.fromhex("80000000001000000101")),
)
"""Ids in the ranges of local networks: where a message about no canister yet is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCanisterStatus:
    """Canister status as the management canister reports it.

    Attributes:
        status: `running`, `stopping` or `stopped`.
        controllers: Who may change it.
        module_hash: SHA-256 of the installed module; None: empty.
        memory_bytes: All its memory.
        cycles: Balance.
        burn_per_day_cycles: What it costs a day to exist.
        freezing_threshold_s: For how long its balance must last, or it is frozen.
        reserved_cycles: Cycles set aside for storage; they pay rent first.
        reserved_cycles_limit: Most cycles that growth may set aside; None: the network has none.
        wasm_memory_limit_bytes: Largest heap; 0: the platform's.
        call_cycles: What calls of other canisters must attach.
    """

    status: str
    controllers: tuple[Principal, ...]
    module_hash: bytes | None
    memory_bytes: int
    cycles: int
    burn_per_day_cycles: int
    freezing_threshold_s: int
    reserved_cycles: int
    reserved_cycles_limit: int | None
    wasm_memory_limit_bytes: int | None
    call_cycles: int | None

    @property
    def days(self) -> int:
        """Days until the canister is frozen, if nothing but its existence costs."""
        if not self.burn_per_day_cycles:
            return 0
        lasts_s = (self.cycles + self.reserved_cycles) * DAY_S // self.burn_per_day_cycles
        return max(lasts_s - self.freezing_threshold_s, 0) // DAY_S


def call(agent: Agent, method: str, kind: Type, argument: Value, *, effective: Principal) -> bytes:
    """Call a method; `effective` is the canister that it is about."""
    data = encode((kind,), (argument,))
    return agent.call(MANAGEMENT_CANISTER, method, data, effective=effective)


def create_from_nothing(agent: Agent, cycles: int, *, near: Principal) -> Principal:
    """Create a canister on a local network, in the ranges of the one that hosts `near`."""
    method = "provisional_create_canister_with_cycles"
    reply = call(agent, method, _CREATE, {"amount": cycles}, effective=near)
    return Row.of(decode((CANISTER,), reply)[0]).principal("canister_id")


def top_up_from_nothing(agent: Agent, canister: Principal, cycles: int) -> None:
    """Give cycles to a canister on a local network."""
    argument: Value = {"canister_id": canister, "amount": cycles}
    call(agent, "provisional_top_up_canister", _TOP_UP, argument, effective=canister)


def install(agent: Agent, canister: Principal, wasm: bytes, arg: bytes, *, upgrade: bool) -> None:
    """Install a module, in chunks where it does not fit a message."""
    mode: Value = ("upgrade", None) if upgrade else ("install", None)
    if len(wasm) + len(arg) <= MAX_INSTALL_BYTES:
        argument: Value = {
            "mode": mode,
            "canister_id": canister,
            "wasm_module": wasm,
            "arg": arg,
        }
        call(agent, "install_code", _INSTALL, argument, effective=canister)
        return
    hashes = [
        _upload_chunk(agent, canister, wasm[at : at + WASM_CHUNK_BYTES])
        for at in range(0, len(wasm), WASM_CHUNK_BYTES)
    ]
    chunked: Value = {
        "mode": mode,
        "target_canister": canister,
        "store_canister": None,
        "chunk_hashes_list": [{"hash": digest} for digest in hashes],
        "wasm_module_hash": hashlib.sha256(wasm).digest(),
        "arg": arg,
    }
    call(agent, "install_chunked_code", _INSTALL_CHUNKED, chunked, effective=canister)
    call(agent, "clear_chunk_store", CANISTER, {"canister_id": canister}, effective=canister)


def _upload_chunk(agent: Agent, canister: Principal, chunk: bytes) -> bytes:
    argument: Value = {"canister_id": canister, "chunk": chunk}
    reply = call(agent, "upload_chunk", _UPLOAD_CHUNK, argument, effective=canister)
    return Row.of(decode((_CHUNK,), reply)[0]).data("hash")


def canister_status(agent: Agent, canister: Principal) -> NodeCanisterStatus:
    """Ask the subnet about a canister, as a controller of it.

    Raises:
        UnauthorizedError: The identity does not control the canister.
        NotFoundError: There is no such canister.
    """
    argument: Value = {"canister_id": canister}
    reply = call(agent, "canister_status", CANISTER, argument, effective=canister)
    row = Row.of(decode((_STATUS,), reply)[0])
    settings = Row.of(row.fields["settings"])
    return NodeCanisterStatus(
        status=row.case("status"),
        controllers=tuple(_principals(settings)),
        module_hash=row.optional("module_hash", bytes),
        memory_bytes=row.number("memory_size"),
        cycles=row.number("cycles"),
        burn_per_day_cycles=row.number("idle_cycles_burned_per_day"),
        freezing_threshold_s=settings.number("freezing_threshold"),
        reserved_cycles=row.optional("reserved_cycles", int) or 0,
        reserved_cycles_limit=settings.optional("reserved_cycles_limit", int),
        wasm_memory_limit_bytes=settings.optional("wasm_memory_limit", int),
        call_cycles=settings.optional("minimum_incoming_canister_call_cycles", int),
    )


def _principals(settings: Row) -> Iterator[Principal]:
    for value in settings.items("controllers"):
        yield narrow(value, Principal)
