"""Runs an ingress message in the canister that it calls, and writes its bill."""

from dataclasses import replace

from datanode.localnet.execution import admission
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine import prices
from datanode.localnet.machine.execution import Execution
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import Answer, Message
from datanode.localnet.state.network import Network


def admit(network: Network, slot: Slot, message: Message) -> Answer | None:
    """Say why a canister refuses a message on arrival; None when it takes it.

    1. It can pay for the message.
    2. It runs.
    3. It has code, and its `canister_inspect_message` accepts.
    """
    with slot.lock:
        if slot.deleted:
            return Answer(reject=admission.not_found(message.canister))
        bill = Bill(slot.canister, network.fees)
        missing = bill.missing(network.fees.ingress_cycles(message.envelope_bytes))
        if missing:
            reject = admission.out_of_cycles(slot.canister, missing, message.sender)
            return Answer(reject=reject)
        refused = admission.stopped(slot.canister)
        if refused is None:
            env = network.environment(bill.canister, message.sender)
            refused = slot.machine.inspect(message.method, message.arg, env).reject
        return None if refused is None else Answer(reject=refused)


def run(network: Network, slot: Slot, message: Message) -> Effect:
    """Execute a message; the slot's lock is held.

    As on the Internet Computer a canister that does not run is charged nothing, the message is paid
    for before it is executed, and as many instructions as it may execute are paid in advance: what
    it does not use comes back.
    """
    fees = network.fees
    bill = Bill(slot.canister, fees)
    ingress_cycles = fees.ingress_cycles(message.envelope_bytes)
    reject = admission.stopped(slot.canister)
    missing = bill.missing(ingress_cycles)
    if reject is None and missing:
        reject = admission.out_of_cycles(slot.canister, missing, message.sender)
    if reject is not None:
        return Effect(answer=Answer(reject=reject), bill=bill)
    bill.take("ingress", ingress_cycles)
    limit, wasm64 = prices.INSTRUCTION_LIMIT_UPDATE, slot.machine.is_wide
    prepaid_cycles = fees.execution_cycles(limit, wasm64=wasm64)
    missing = bill.missing(prepaid_cycles)
    if missing:
        reject = admission.out_of_cycles(slot.canister, missing, message.sender)
        return Effect(answer=Answer(reject=reject), bill=bill)
    network.check_disk(len(message.arg))
    sequence = slot.canister.sequence + 1
    env = network.environment(bill.canister, message.sender, prepaid_cycles=prepaid_cycles)
    execution = slot.machine.update(message.method, message.arg, env, sequence=sequence)
    bill.take("execution", fees.execution_cycles(0))
    charge(bill, execution, network, limit=limit, wasm64=wasm64)
    bill.canister = replace(
        bill.canister,
        sequence=sequence,
        version=slot.canister.version + 1,
        heap_bytes=slot.machine.heap_bytes,
        stable_bytes=slot.machine.stable_bytes,
    )
    return Effect(
        answer=Answer(reply=execution.reply, reject=execution.reject),
        bill=bill,
        instructions=execution.instructions,
        logs=execution.logs,
    )


def charge(
    bill: Bill, execution: Execution, network: Network, *, limit: int, wasm64: bool = False
) -> None:
    """Take what an execution's instructions cost beyond its base fee, and note what it certified.

    Args:
        bill: Of the canister that was executed; the base fee is taken already.
        execution: What came of it.
        network: Whose prices hold.
        limit: How many instructions were paid for in advance.
        wasm64: Whether the module has a 64-bit memory.
    """
    fees = network.fees
    used_cycles = fees.used_cycles(execution.instructions, limit, wasm64=wasm64)
    bill.take("instructions", used_cycles - fees.execution_cycles(0))
    if execution.certified_data is not None:
        bill.canister = replace(bill.canister, certified_data=execution.certified_data)
