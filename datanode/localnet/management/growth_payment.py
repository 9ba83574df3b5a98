"""Payment for management calls that grow a canister, checked as the replica does.

1. The balance is above the freezing threshold of the new size.
2. The instructions can be paid above it; they cost no base fee, as nothing is executed.
3. What storage sets aside on a full subnet is there besides, and the settings allow it.

Nothing is taken from a canister that fails a check.
"""

from datanode.localnet.execution import admission
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.management.call import ManagementCall, reject
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.growth_charge import GrowthCharge


def pay(call: ManagementCall, grown: Canister, instructions: int = 0) -> None:
    """Put a canister of a new size into the bill, take the instructions, set cycles aside.

    Args:
        call: The call; its bill is left alone when a check fails.
        grown: The canister as it becomes, made from the bill's.
        instructions: What is charged.

    Raises:
        RejectedError: The canister cannot pay, or would be frozen.
    """
    reserved_cycles = check(call, grown, instructions)
    call.bill.canister = grown
    call.bill.take("instructions", call.runtime.fees.instruction_cycles(instructions))
    call.bill.reserve(reserved_cycles)


def check(call: ManagementCall, grown: Canister, instructions: int = 0) -> int:
    """Check what `pay` checks; returns the cycles that it would set aside.

    Raises:
        RejectedError: The canister cannot pay, or would be frozen.
    """
    before, cycles = call.bill.canister, call.runtime.fees.instruction_cycles(instructions)
    more_bytes = grown.memory_bytes - before.memory_bytes
    call.bill.canister = grown
    frozen, missing = call.bill.missing(0), call.bill.missing(cycles)
    call.bill.canister = before
    if frozen:
        raise reject(
            "IC0532",
            f"Canister cannot grow memory by {max(0, more_bytes)} bytes due to insufficient "
            f"cycles. At least {frozen:_} additional cycles are required.",
        )
    if missing:
        why = admission.out_of_cycles(before, missing, call.message.sender).message
        raise reject("IC0207", f"Canister snapshotting failed with: `{why}`")
    return reserved(call, more_bytes, before.balance_cycles - cycles)


def reserved(
    call: ManagementCall, more_bytes: int, balance_cycles: int, *, is_checked: bool = False
) -> int:
    """Tell how many cycles growing sets aside.

    Args:
        call: The call; its bill holds the canister before it grows.
        more_bytes: By how much.
        balance_cycles: What there is to set aside.
        is_checked: Whether the freezing threshold is still to be checked.

    Raises:
        RejectedError: It is more than there is, or more than the settings allow.
    """
    if more_bytes <= 0:
        return 0
    growth = GrowthCharge(
        call.bill.canister, call.runtime.fees, call.runtime.used_bytes, call.message.sender
    )
    try:
        growth.grow(more_bytes, balance_cycles, is_checked=is_checked)
    except Failure as refused:
        raise reject(refused.error_code, refused.what) from refused
    return growth.reserved_cycles
