"""Checks of memory and compute allocations against a canister's cycles.

Allocating more memory sets cycles aside where the subnet is full, as growing does.
"""

from dataclasses import replace

from datanode.localnet.management.call import reject
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_record import CanisterSettings
from datanode.localnet.state.subnet_runtime import SubnetRuntime


def allocate(runtime: SubnetRuntime, bill: Bill, chosen: CanisterSettings) -> None:
    """Give a canister settings, if it can pay for what they allocate.

    Raises:
        RejectedError: It cannot.
    """
    before = bill.canister
    after = replace(before, settings=chosen)
    threshold = after.frozen_below_cycles(runtime.fees)
    if before.balance_cycles < threshold:
        _check_threshold(before.settings, chosen, threshold - before.balance_cycles)
    more_bytes = after.charged_bytes() - before.charged_bytes()
    cycles = 0
    if more_bytes > 0:
        cycles = runtime.fees.reservation_cycles(more_bytes, subnet_bytes=runtime.used_bytes())
    limit = chosen.reserved_cycles_limit
    if before.reserved_cycles > limit:
        raise reject(
            "IC0540",
            f"Cannot set the reserved cycles limit {limit:_} below the reserved cycles balance of "
            f"the canister {before.reserved_cycles:_}.",
        )
    if before.reserved_cycles + cycles > limit:
        raise reject(
            "IC0533",
            f"Cannot increase memory allocation to {chosen.memory_allocation_bytes} due to its "
            f"reserved cycles limit. The current limit ({limit:_}) would be exceeded by "
            f"{before.reserved_cycles + cycles - limit:_}.",
        )
    if before.balance_cycles < cycles:
        raise _too_poor(
            "IC0531", "memory", chosen.memory_allocation_bytes, cycles - before.balance_cycles
        )
    bill.canister = after
    bill.reserve(cycles)


def _check_threshold(
    before: CanisterSettings, after: CanisterSettings, missing_cycles: int
) -> None:
    """Refuse to allocate more; whoever raises the freezing threshold may freeze the canister."""
    if after.compute_allocation > before.compute_allocation:
        raise _too_poor("IC0530", "compute", after.compute_allocation, missing_cycles)
    if after.memory_allocation_bytes > before.memory_allocation_bytes:
        raise _too_poor("IC0531", "memory", after.memory_allocation_bytes, missing_cycles)


def _too_poor(error_code: str, kind: str, amount: int, missing_cycles: int) -> Exception:
    return reject(
        error_code,
        f"Cannot increase {kind} allocation to {amount} due to insufficient cycles. "
        f"At least {missing_cycles:_} additional cycles are required.",
    )
