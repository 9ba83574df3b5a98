"""Settings of a node's canister: what storage needs, what is worrying, and how they are changed.

| setting | at creation | reason |
| --- | --- | --- |
| `freezing_threshold` | 90 days | time to top up before the subnet deletes code and data |
| `reserved_cycles_limit` | no limit | growth on a full subnet reserves cycles; default 5 TC |
| `wasm_memory_limit` | 1 GiB | the heap holds buffers; a runaway heap must not block upgrades |
| `minimum_incoming_canister_call_cycles` | 250,000,000 | calls of canisters pay for their work |
| controllers | the creator | add a second one: losing the only key loses the node |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from datanode.agent.candid import Nat, Opt, Record, Value, Vec, encode
from datanode.agent.candid import Principal as PrincipalType
from datanode.agent.client import Agent
from datanode.errors import UsageError
from datanode.node.management import NodeCanisterStatus
from datanode.node.port import NodeStatus
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import DAY_S, GIB, TC, format_cycles

NO_LIMIT_CYCLES: Final = (1 << 128) - 1
"""The largest `reserved_cycles_limit`; the balance is the only bound then."""

FREEZING_THRESHOLD_S: Final = 90 * DAY_S
WASM_MEMORY_LIMIT_BYTES: Final = 1 * GIB
CALL_CYCLES: Final = 250_000_000
"""Cycles that a call of another canister must attach; above what a refused one costs. Ours."""

WARNING_DAYS: Final = 30
"""Below so many days until frozen a node needs cycles. Ours."""
MIN_FREEZING_S: Final = 7 * DAY_S
MAX_FREEZING_S: Final = 10 * 365 * DAY_S
MIN_RESERVED_LIMIT_CYCLES: Final = 10 * TC
"""A lower limit ends uploads on a full subnet. Ours: twice the IC's default."""
MAX_CONTROLLERS: Final = 10
"""Source: interface specification, 2026-05."""

_UPDATE: Final = Record(
    {
        "canister_id": PrincipalType,
        "settings": Record(
            {
                "controllers": Opt(Vec(PrincipalType)),
                "freezing_threshold": Opt(Nat),
                "reserved_cycles_limit": Opt(Nat),
                "wasm_memory_limit": Opt(Nat),
                "minimum_incoming_canister_call_cycles": Opt(Nat),
            }
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChange:
    """Settings to change; None leaves one as it is."""

    controllers: tuple[Principal, ...] | None = None
    freezing_threshold_s: int | None = None
    reserved_cycles_limit: int | None = None
    wasm_memory_limit_bytes: int | None = None
    call_cycles: int | None = None


GOOD: Final = SettingsChange(
    freezing_threshold_s=FREEZING_THRESHOLD_S,
    reserved_cycles_limit=NO_LIMIT_CYCLES,
    wasm_memory_limit_bytes=WASM_MEMORY_LIMIT_BYTES,
    call_cycles=CALL_CYCLES,
)
"""What a new node gets."""


def apply(agent: Agent, canister: Principal, change: SettingsChange) -> None:
    """Change settings of a canister that this identity controls.

    Raises:
        UnauthorizedError: It does not control the canister.
    """
    argument: Value = {
        "canister_id": canister,
        "settings": {
            "controllers": change.controllers,
            "freezing_threshold": change.freezing_threshold_s,
            "reserved_cycles_limit": change.reserved_cycles_limit,
            "wasm_memory_limit": change.wasm_memory_limit_bytes,
            "minimum_incoming_canister_call_cycles": change.call_cycles,
        },
    }
    data = encode((_UPDATE,), (argument,))
    agent.call(MANAGEMENT_CANISTER, "update_settings", data, effective=canister)


def changed_controllers(
    present: Sequence[Principal], *, add: Sequence[Principal], remove: Sequence[Principal]
) -> tuple[Principal, ...]:
    """Return the controllers after a change.

    Raises:
        UsageError: None would be left, too many would be there, or one to remove is none.
    """
    for principal in remove:
        if principal not in present:
            raise UsageError(f"{principal} is no controller of the node", safe=_UNCHANGED)
    after = tuple(dict.fromkeys(who for who in (*present, *add) if who not in remove))
    if not after:
        raise UsageError("a node without controllers could never be managed", safe=_UNCHANGED)
    if len(after) > MAX_CONTROLLERS:
        raise UsageError(f"a canister has at most {MAX_CONTROLLERS} controllers", safe=_UNCHANGED)
    return after


def days_until_frozen(status: NodeCanisterStatus, node: NodeStatus | None) -> int:
    """Return the days until a node is frozen: as the node says where it does, else the subnet.

    Every command shows this figure, so that all of them show the same.
    """
    if node is not None and node.details is not None:
        return node.details.freezing_days
    return status.days


def concerns(status: NodeCanisterStatus, days: int, name: str) -> list[str]:
    """Tell what is worrying about a node, each with the command that helps.

    Args:
        status: What the subnet tells.
        days: Days until the node is frozen.
        name: What the node is called in commands.
    """
    command = f"`datanode node settings {name}"
    found = []
    if days < WARNING_DAYS:
        found.append(f"frozen in {days:,} days: run `datanode node top-up {name}`")
    if status.freezing_threshold_s < MIN_FREEZING_S:
        found.append(
            f"once frozen it is deleted after {status.freezing_threshold_s // DAY_S} days: "
            f"{command} --freezing-days {FREEZING_THRESHOLD_S // DAY_S}`"
        )
    limit = status.reserved_cycles_limit
    if limit is not None and limit < MIN_RESERVED_LIMIT_CYCLES:
        found.append(
            f"a full subnet ends uploads at {format_cycles(limit)} reserved: "
            f"{command} --reserved-cycles-limit none`"
        )
    return found


_UNCHANGED: Final = "Nothing was changed."
