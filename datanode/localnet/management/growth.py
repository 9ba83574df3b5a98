"""What a management call pays that makes a canister larger: checked as the replica checks it.

First the freezing threshold with the new size must leave the balance free, then the instructions
must be payable above it. Nothing is taken from a canister that fails a check.
"""

from datanode.localnet.execution import admission
from datanode.localnet.management.call import Call, reject
from datanode.localnet.state.canister import Canister


def pay(call: Call, grown: Canister, instructions: int = 0, *, times: int = 1) -> None:
    """Put a canister of a new size into the bill and take the instructions of making it.

    Args:
        call: The call; its bill is left alone when a check fails.
        grown: The canister as it becomes, made from the bill's.
        instructions: What is charged.
        times: How many base fees of an execution go with them; none without instructions.

    Raises:
        RejectedError: The canister cannot pay, or would be frozen.
    """
    cycles = check(call, grown, instructions, times=times)
    base_cycles = times * call.network.fees.execution_cycles(0) if instructions else 0
    call.bill.canister = grown
    call.bill.take("execution", base_cycles)
    call.bill.take("instructions", cycles - base_cycles)


def check(call: Call, grown: Canister, instructions: int = 0, *, times: int = 1) -> int:
    """Check what `pay` checks; returns the cycles that it would take.

    Raises:
        RejectedError: The canister cannot pay, or would be frozen.
    """
    fees, before = call.network.fees, call.bill.canister
    cycles = fees.execution_cycles(instructions) if instructions else 0
    cycles += (times - 1) * fees.execution_cycles(0) if instructions else 0
    call.bill.canister = grown
    frozen, missing = call.bill.missing(0), call.bill.missing(cycles)
    call.bill.canister = before
    if frozen:
        added_bytes = max(0, grown.charged_bytes() - before.charged_bytes())
        raise reject(
            "IC0532",
            f"Canister cannot grow memory by {added_bytes} bytes due to insufficient cycles. "
            f"At least {frozen} additional cycles are required.",
        )
    if missing:
        why = admission.out_of_cycles(before, missing, call.message.sender).message
        raise reject("IC0207", f"Canister snapshotting failed with: `{why}`")
    return cycles
