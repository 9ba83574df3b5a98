"""Settings as callers give them: checked, and laid over the ones that a canister has."""

from dataclasses import replace
from typing import Any, Final

from datanode.agent.candid import Value
from datanode.agent.request_id import request_id
from datanode.localnet.machine.log_room import MAX_LOG_BYTES
from datanode.localnet.management.arguments import Arguments, principals
from datanode.localnet.management.call import reject
from datanode.localnet.state.canister_record import CanisterSettings

MAX_CONTROLLERS: Final = 10
MAX_COMPUTE_PERCENT: Final = 100
MAX_MEMORY_ALLOCATION_BYTES: Final = 1 << 48
MAX_FREEZING_THRESHOLD_S: Final = (1 << 64) - 1
MAX_ENVIRONMENT_VARIABLES: Final = 20
MAX_VARIABLE_BYTES: Final = 128
MAX_LOG_VIEWERS: Final = 10
"""Bounds of the interface specification, 2026-05."""

_NUMBERS: Final = {
    "compute_allocation": ("compute_allocation", MAX_COMPUTE_PERCENT),
    "memory_allocation": ("memory_allocation_bytes", MAX_MEMORY_ALLOCATION_BYTES),
    "freezing_threshold": ("freezing_threshold_s", MAX_FREEZING_THRESHOLD_S),
    "reserved_cycles_limit": ("reserved_cycles_limit", (1 << 128) - 1),
    "wasm_memory_limit": ("wasm_memory_limit_bytes", MAX_MEMORY_ALLOCATION_BYTES),
    "wasm_memory_threshold": ("wasm_memory_threshold_bytes", MAX_MEMORY_ALLOCATION_BYTES),
    "minimum_incoming_canister_call_cycles": ("minimum_call_cycles", (1 << 128) - 1),
    "log_memory_limit": ("log_memory_limit_bytes", MAX_LOG_BYTES),
}
_VIEWERS: Final = {
    "log_visibility": "log_viewers",
    "snapshot_visibility": "snapshot_viewers",
    "status_visibility": "status_viewers",
}


def changed(settings: CanisterSettings, args: Arguments) -> CanisterSettings:
    """Lay the settings that are given over the present ones.

    Raises:
        RejectedError: One is out of its bounds.
    """
    changes: dict[str, Any] = {}
    controllers = args.principals("controllers")
    if controllers is not None:
        if len(controllers) > MAX_CONTROLLERS:
            raise reject("IC0408", f"A canister has at most {MAX_CONTROLLERS} controllers")
        changes["controllers"] = tuple(sorted(set(controllers)))
    for name, (field, largest) in _NUMBERS.items():
        value = args.optional_number(name)
        if value is not None and value > largest:
            raise reject("IC0408", f"The setting {name} is at most {largest}, not {value}")
        if value is not None:
            changes[field] = value
    for name, field in _VIEWERS.items():
        if args.has(name):
            changes[field] = _viewers(*args.variant(name))
    if args.has("environment_variables"):
        changes["environment"] = _environment(args)
    return replace(settings, **changes)


def environment_hash(settings: CanisterSettings) -> bytes | None:
    """Return the hash of the environment variables, as of a map; None without any."""
    if not settings.environment:
        return None
    return request_id(dict(settings.environment))


def _environment(args: Arguments) -> tuple[tuple[str, str], ...]:
    variables = args.records("environment_variables")
    if len(variables) > MAX_ENVIRONMENT_VARIABLES:
        raise reject("IC0408", "A canister has at most 20 environment variables")
    pairs = [(each.text("name"), each.text("value")) for each in variables]
    if any(len(part.encode()) > MAX_VARIABLE_BYTES for pair in pairs for part in pair):
        raise reject(
            "IC0408",
            "The name and the value of an environment variable have at most "
            f"{MAX_VARIABLE_BYTES} bytes",
        )
    return tuple(sorted(pairs))


def _viewers(case: str, value: Value) -> str:
    if case != "allowed_viewers":
        return case
    allowed = principals(value)
    if len(allowed) > MAX_LOG_VIEWERS:
        raise reject("IC0408", f"At most {MAX_LOG_VIEWERS} viewers can be allowed")
    return " ".join(["allowed_viewers", *(each.text for each in allowed)])
