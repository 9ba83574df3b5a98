"""Run the first message of a call and bill it."""

from dataclasses import replace

from datanode.fees import FeeSchedule
from datanode.localnet.execution import admission, call_effects
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine import prices
from datanode.localnet.machine.execution import Execution
from datanode.localnet.machine.outgoing import IncomingCall
from datanode.localnet.machine.rejects import Reject
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressMessage, IngressReply
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.open_calls import CallContext, CallOrigin
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import Principal


def admit(runtime: SubnetRuntime, slot: Slot, message: IngressMessage) -> IngressReply | None:
    """Say why a canister refuses a message on arrival; None when it takes it.

    1. It can pay for the message.
    2. It runs.
    3. It has code, and its `canister_inspect_message` accepts.
    """
    with slot.lock:
        if slot.deleted:
            return IngressReply(reject=admission.not_found(message.canister))
        bill = Bill(slot.canister, runtime.fees)
        missing = bill.missing(runtime.fees.ingress_cycles(message.envelope_bytes))
        if missing:
            reject = admission.out_of_cycles(slot.canister, missing, message.sender)
            return IngressReply(reject=reject)
        refused = admission.stopped(slot.canister)
        if refused is None:
            env = runtime.environment(bill.canister, message.sender)
            refused = slot.machine.inspect(message.method, message.arg, env).reject
        return None if refused is None else IngressReply(reject=refused)


def run(
    runtime: SubnetRuntime, traffic: MessageTraffic, slot: Slot, message: IngressMessage
) -> Effect:
    """Execute an ingress message; the slot's lock is held.

    As on the Internet Computer a canister that does not run is charged nothing, the message is paid
    for before it is executed, and as many instructions as it may execute are paid in advance: what
    it does not use comes back.
    """
    bill = Bill(slot.canister, runtime.fees)
    ingress_cycles = runtime.fees.ingress_cycles(message.envelope_bytes)
    reject = admission.stopped(slot.canister)
    missing = bill.missing(ingress_cycles)
    if reject is None and missing:
        reject = admission.out_of_cycles(slot.canister, missing, message.sender)
    if reject is None:
        bill.take("ingress", ingress_cycles)
        reject = refusal(runtime.fees, slot, bill, message.sender)
    if reject is not None:
        return Effect(answer=IngressReply(reject=reject), bill=bill)
    return execute(runtime, traffic, slot, bill, CallOrigin.of(message), arg=message.arg)


def refusal(fees: FeeSchedule, slot: Slot, bill: Bill, caller: Principal) -> Reject | None:
    """Say why a canister does not execute a message now: it does not run, or cannot pay."""
    reject = admission.stopped(slot.canister)
    missing = bill.missing(prepaid_cycles(fees, slot))
    if reject is None and missing:
        reject = admission.out_of_cycles(slot.canister, missing, caller)
    return reject


def prepaid_cycles(fees: FeeSchedule, slot: Slot) -> int:
    """Price a message that uses every instruction it may."""
    limit, wasm64 = prices.INSTRUCTION_LIMIT_UPDATE, slot.machine.is_wide
    return fees.execution_cycles(limit, wasm64=wasm64)


def execute(
    runtime: SubnetRuntime,
    traffic: MessageTraffic,
    slot: Slot,
    bill: Bill,
    origin: CallOrigin,
    *,
    arg: bytes,
    cycles: int = 0,
) -> Effect:
    """Execute the first message of a call, which is not refused; the slot's lock is held.

    Args:
        runtime: Conditions under which it runs.
        traffic: Messages in flight.
        slot: Who is called.
        bill: Its account.
        origin: Who calls what.
        arg: The argument.
        cycles: What came along.
    """
    runtime.disk.check(len(arg))
    sequence = slot.canister.sequence + 1
    env = runtime.environment(
        bill.canister,
        origin.caller,
        prepaid_cycles=prepaid_cycles(runtime.fees, slot),
        incoming=IncomingCall(available_cycles=cycles, deadline_ns=origin.deadline_ns),
        growing=True,
        wasm64=slot.machine.is_wide,
    )
    execution = slot.machine.update(origin.method, arg, env, sequence=sequence)
    settle(runtime.fees, slot, bill, execution, sequence)
    context = CallContext(canister=slot.canister.id, origin=origin, available_cycles=cycles)
    return call_effects.conclude(runtime.canister_time, traffic, bill, execution, context)


def settle(fees: FeeSchedule, slot: Slot, bill: Bill, execution: Execution, sequence: int) -> None:
    """Pay for a message that was executed, and note what it made of the canister."""
    call_effects.pay(bill, execution)
    limit, wasm64 = prices.INSTRUCTION_LIMIT_UPDATE, slot.machine.is_wide
    bill.take("execution", fees.used_cycles(0, limit, wasm64=wasm64))
    charge(bill, execution, fees, limit=limit, wasm64=wasm64)
    bill.canister = replace(
        bill.canister,
        sequence=sequence,
        version=slot.canister.version + 1,
        heap_bytes=slot.machine.heap_bytes,
        stable_bytes=slot.machine.stable_bytes,
    )


def charge(
    bill: Bill, execution: Execution, fees: FeeSchedule, *, limit: int, wasm64: bool = False
) -> None:
    """Take what an execution's instructions cost beyond its base fee, and note what it certified.

    Args:
        bill: Of the canister that was executed; the base fee is taken already.
        execution: What came of it.
        fees: The prices.
        limit: How many instructions were paid for in advance.
        wasm64: Whether the module has a 64-bit memory.
    """
    used_cycles = fees.used_cycles(execution.instructions, limit, wasm64=wasm64)
    bill.take("instructions", used_cycles - fees.used_cycles(0, limit, wasm64=wasm64))
    if execution.certified_data is not None:
        bill.canister = replace(bill.canister, certified_data=execution.certified_data)
