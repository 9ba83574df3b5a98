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
        bill = Bill(slot.canister, network.canister_time.now_ns(), network.fees)
        missing = bill.missing(network.fees.ingress_cycles(message.envelope_bytes))
        if missing:
            return Answer(reject=admission.out_of_cycles(slot.canister.id, missing))
        reject = admission.stopped(slot.canister)
        if reject is None:
            env = network.environment(bill.canister, message.sender)
            reject = slot.machine.inspect(message.method, message.arg, env).reject
        return None if reject is None else Answer(reject=reject)


def run(network: Network, slot: Slot, message: Message) -> Effect:
    """Execute a message; the slot's lock is held.

    As on the Internet Computer the canister must be able to pay for as many instructions as a
    message may execute; what it does not use stays.
    """
    fees = network.fees
    bill = Bill(slot.canister, network.canister_time.now_ns(), fees)
    ingress_cycles = fees.ingress_cycles(message.envelope_bytes)
    missing = bill.missing(ingress_cycles)
    if missing:
        return _rejected(bill, Answer(reject=admission.out_of_cycles(slot.canister.id, missing)))
    bill.take("ingress", ingress_cycles)
    reject = admission.stopped(slot.canister)
    missing = bill.missing(fees.execution_cycles(prices.INSTRUCTION_LIMIT_UPDATE))
    if reject is None and missing:
        reject = admission.out_of_cycles(slot.canister.id, missing)
    if reject is not None:
        return _rejected(bill, Answer(reject=reject))
    network.check_disk(len(message.arg))
    sequence = slot.canister.sequence + 1
    env = network.environment(bill.canister, message.sender)
    execution = slot.machine.update(message.method, message.arg, env, sequence=sequence)
    charge(bill, execution, network)
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


def charge(bill: Bill, execution: Execution, network: Network) -> None:
    """Take the fees of an execution, and note what it certified."""
    bill.take("execution", network.fees.execution_cycles(0))
    bill.take("instructions", network.fees.instruction_cycles(execution.instructions))
    if execution.certified_data is not None:
        bill.canister = replace(bill.canister, certified_data=execution.certified_data)


def _rejected(bill: Bill, answer: Answer) -> Effect:
    return Effect(answer=answer, bill=bill)
