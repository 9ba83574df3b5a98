"""Runs the first message of a call in the canister that is called, and writes its bill."""

from dataclasses import replace

from datanode.localnet.execution import admission, turn
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine import prices
from datanode.localnet.machine.execution import Execution
from datanode.localnet.machine.outgoing import Incoming
from datanode.localnet.machine.rejects import Reject
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import Answer, Message
from datanode.localnet.state.network import Network
from datanode.localnet.state.open_calls import Context, Origin
from datanode.principal import Principal


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
    """Execute an ingress message; the slot's lock is held.

    As on the Internet Computer a canister that does not run is charged nothing, the message is paid
    for before it is executed, and as many instructions as it may execute are paid in advance: what
    it does not use comes back.
    """
    bill = Bill(slot.canister, network.fees)
    ingress_cycles = network.fees.ingress_cycles(message.envelope_bytes)
    reject = admission.stopped(slot.canister)
    missing = bill.missing(ingress_cycles)
    if reject is None and missing:
        reject = admission.out_of_cycles(slot.canister, missing, message.sender)
    if reject is None:
        bill.take("ingress", ingress_cycles)
        reject = refusal(network, slot, bill, message.sender)
    if reject is not None:
        return Effect(answer=Answer(reject=reject), bill=bill)
    return execute(network, slot, bill, Origin.of(message), message.arg)


def refusal(network: Network, slot: Slot, bill: Bill, caller: Principal) -> Reject | None:
    """Say why a canister does not execute a message now: it does not run, or cannot pay."""
    reject = admission.stopped(slot.canister)
    missing = bill.missing(prepaid_cycles(network, slot))
    if reject is None and missing:
        reject = admission.out_of_cycles(slot.canister, missing, caller)
    return reject


def prepaid_cycles(network: Network, slot: Slot) -> int:
    """Price a message that uses every instruction it may."""
    limit, wasm64 = prices.INSTRUCTION_LIMIT_UPDATE, slot.machine.is_wide
    return network.fees.execution_cycles(limit, wasm64=wasm64)


def execute(
    network: Network, slot: Slot, bill: Bill, origin: Origin, arg: bytes, *, cycles: int = 0
) -> Effect:
    """Execute the first message of a call, which is not refused; the slot's lock is held.

    Args:
        network: The network.
        slot: Who is called.
        bill: Its account.
        origin: Who calls what.
        arg: The argument.
        cycles: What came along.
    """
    network.check_disk(len(arg))
    sequence = slot.canister.sequence + 1
    env = network.environment(
        bill.canister,
        origin.caller,
        prepaid_cycles=prepaid_cycles(network, slot),
        incoming=Incoming(available_cycles=cycles, deadline_ns=origin.deadline_ns),
        growing=True,
        wasm64=slot.machine.is_wide,
    )
    execution = slot.machine.update(origin.method, arg, env, sequence=sequence)
    settle(network, slot, bill, execution, sequence)
    context = Context(canister=slot.canister.id, origin=origin, available_cycles=cycles)
    return turn.conclude(network, bill, execution, context)


def settle(network: Network, slot: Slot, bill: Bill, execution: Execution, sequence: int) -> None:
    """Pay for a message that was executed, and note what it made of the canister."""
    turn.pay(bill, execution)
    limit, wasm64 = prices.INSTRUCTION_LIMIT_UPDATE, slot.machine.is_wide
    bill.take("execution", network.fees.used_cycles(0, limit, wasm64=wasm64))
    charge(bill, execution, network, limit=limit, wasm64=wasm64)
    bill.canister = replace(
        bill.canister,
        sequence=sequence,
        version=slot.canister.version + 1,
        heap_bytes=slot.machine.heap_bytes,
        stable_bytes=slot.machine.stable_bytes,
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
    bill.take("instructions", used_cycles - fees.used_cycles(0, limit, wasm64=wasm64))
    if execution.certified_data is not None:
        bill.canister = replace(bill.canister, certified_data=execution.certified_data)
