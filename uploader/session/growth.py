"""Judge whether the settings of a node let it grow, before anything is paid.

Growth costs twice. On a subnet that holds more than 750 GiB it reserves cycles, at most as many as
`reserved_cycles_limit` allows; and the balance must cover the rent of the larger node for the
freezing threshold. Both are estimated from what the node pays now, and low: a fuller subnet is
dearer. An upload is refused for what it adds at least, and told of what it may add at most; a plan,
which encodes every chunk, and a copy know how much it is.
"""

from typing import Final

from datanode.errors import CyclesError, DataNodeError, NodeFullError
from datanode.fees import FeeSchedule
from datanode.node.port import NodeSettings
from datanode.units import DAY_S, MIB, format_bytes, format_cycles
from uploader.session.preflight import NodeFacts

LEAST_SHARE: Final = 4
"""Frames of a source have at least one byte for so many of its own, as far as a refusal goes. Ours:
F32 weights that were BF16 once compress to a third.
"""

GROWN_AHEAD_BYTES: Final = 32 * MIB
"""Memory that a node may hold ahead of its frames without telling. Ours: it grows by 16 MiB."""

MIN_HEAP_BYTES: Final = 2 * MIB
"""Smallest heap that takes a message of 2 MB, by measurement of the storage canister."""


def least_frame_bytes(facts: NodeFacts, raw_bytes: int) -> int:
    """Bound the bytes of frames that a source adds from below: whatever is held may be reused."""
    held_bytes = 0 if facts.details is None else facts.details.frame_bytes
    return max(0, raw_bytes // LEAST_SHARE - held_bytes)


def growth_problems(
    facts: NodeFacts, *, frame_bytes: int, fees: FeeSchedule
) -> list[DataNodeError]:
    """List why the settings of a node do not let it take so many bytes of frames.

    Args:
        facts: What is known of the node; without its settings there is no problem.
        frame_bytes: Bytes of the frames that come.
        fees: Prices, for the part of the rent that does not grow.
    """
    problems: list[DataNodeError] = []
    settings = facts.settings
    if settings is None:
        return problems
    limit = settings.wasm_memory_limit_bytes
    if limit and limit < MIN_HEAP_BYTES:
        problems.append(
            NodeFullError(
                f"the node's heap is limited to {format_bytes(limit)}; "
                f"it needs {format_bytes(MIN_HEAP_BYTES)}",
                hint="Raise it with `datanode node settings NODE --wasm-memory-limit 1GiB`.",
            )
        )
    free_bytes = 0 if facts.details is None else facts.details.free_bytes
    grown_bytes = frame_bytes - free_bytes - GROWN_AHEAD_BYTES
    if grown_bytes > 0 and settings.memory_bytes:
        problems += _reserve_problems(settings, grown_bytes)
        problems += _rent_problems(settings, grown_bytes, fees)
    return problems


def _reserve_problems(settings: NodeSettings, grown_bytes: int) -> list[DataNodeError]:
    limit, reserved = settings.reserved_cycles_limit, settings.reserved_cycles
    more = reserved * grown_bytes // settings.memory_bytes
    if limit is None or reserved + more <= limit:
        return []
    return [
        NodeFullError(
            f"growing by {format_bytes(grown_bytes)} reserves some {format_cycles(more)} on this "
            f"subnet; {format_cycles(reserved)} are reserved, and the node's limit is "
            f"{format_cycles(limit)}",
            hint="Raise it with `datanode node settings NODE --reserved-cycles-limit none`.",
        )
    ]


def _rent_problems(
    settings: NodeSettings, grown_bytes: int, fees: FeeSchedule
) -> list[DataNodeError]:
    rent = settings.burn_per_day_cycles
    by_memory = max(0, rent - fees.base_cycles(DAY_S))
    rent += by_memory * grown_bytes // settings.memory_bytes
    needed = rent * settings.freezing_threshold_s // DAY_S
    has = settings.cycles + settings.reserved_cycles
    if needed <= has:
        return []
    return [
        CyclesError(
            f"grown by {format_bytes(grown_bytes)} the node needs {format_cycles(needed)} to stay "
            f"above its freezing threshold of {settings.freezing_threshold_s // DAY_S} days, and "
            f"has {format_cycles(has)}",
            hint="Add cycles with `datanode node top-up NODE`.",
        )
    ]
