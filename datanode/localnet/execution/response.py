"""Run the callback of a call that was answered.

What was set aside when the call was made comes back first, less the price of the response's bytes;
then the callback is run and paid. A response that comes too late, because its caller has stopped
waiting or its code is gone, brings back its cycles and runs nothing.
"""

from dataclasses import dataclass, replace
from typing import Final

from datanode.fees import FeeSchedule
from datanode.localnet.execution import call_effects, canister_stopping, update
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.execution import Execution
from datanode.localnet.machine.outgoing import IncomingCall
from datanode.localnet.machine.rejects import Reject
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.open_calls import Callback, CallContext
from datanode.localnet.state.queue import QueuedMessage
from datanode.localnet.state.subnet_runtime import SubnetRuntime

_REJECT_CODE_BYTES: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Awaited:
    """The callback that a response is for, its call, and how many other callbacks that has."""

    callback: Callback
    context: CallContext
    waiting: int


def run(
    runtime: SubnetRuntime, traffic: MessageTraffic, slot: Slot, response: QueuedMessage
) -> Effect:
    """Execute a response; the slot's lock is held."""
    bill = Bill(slot.canister, runtime.fees)
    bill.receive("refunded", response.cycles)
    awaited = _awaited(traffic, response)
    if awaited is None:
        return Effect(answer=None, bill=bill, status="late")
    callback = awaited.callback
    bill.receive("call_reserve", callback.transmission_cycles)
    size = len(response.payload) + (_REJECT_CODE_BYTES if response.reject_code else 0)
    cost = runtime.fees.call_byte_cycles(size)
    bill.take("call_response", min(cost, callback.transmission_cycles))
    if awaited.context.deleted:
        return _dropped(runtime.fees, traffic, bill, awaited)
    return _executed(runtime, traffic, slot, bill=bill, response=response, awaited=awaited)


def failed(
    runtime: SubnetRuntime,
    traffic: MessageTraffic,
    slot: Slot,
    response: QueuedMessage,
    reject: Reject,
) -> Effect:
    """Give a response up that the network itself failed to handle: as if the callback had trapped.

    Nothing is charged for it.
    """
    bill = Bill(slot.canister, runtime.fees)
    bill.receive("refunded", response.cycles)
    awaited = _awaited(traffic, response)
    if awaited is None:
        return Effect(answer=None, bill=bill, status="late")
    callback = awaited.callback
    bill.receive("call_reserve", callback.transmission_cycles + callback.execution_cycles)
    execution = Execution(
        reply=None,
        reject=reject,
        instructions=0,
        certified_data=None,
        logs=(),
        accepted=False,
        trapped=True,
    )
    return call_effects.conclude(
        runtime.canister_time, traffic, bill, execution, awaited.context, waiting=awaited.waiting
    )


def _awaited(traffic: MessageTraffic, response: QueuedMessage) -> _Awaited | None:
    """Find who waits for a response; None when it comes too late."""
    callback = traffic.calls.callback(response.callback)
    context = None if callback is None else traffic.calls.context(callback.context)
    if callback is None or context is None:
        return None
    waiting = traffic.calls.callbacks_of(context.id) - 1
    return _Awaited(callback=callback, context=context, waiting=waiting)


def _executed(
    runtime: SubnetRuntime,
    traffic: MessageTraffic,
    slot: Slot,
    *,
    bill: Bill,
    response: QueuedMessage,
    awaited: _Awaited,
) -> Effect:
    callback, context = awaited.callback, awaited.context
    runtime.disk.check(len(response.payload))
    sequence = slot.canister.sequence + 1
    is_reply = not response.reject_code
    incoming = IncomingCall(
        available_cycles=context.available_cycles,
        refunded_cycles=response.cycles,
        reject_code=response.reject_code,
        reject_message=b"" if is_reply else response.payload,
        deadline_ns=context.origin.deadline_ns,
        responded=context.responded,
        instructions=context.instructions,
    )
    env = runtime.environment(
        bill.canister,
        context.origin.caller,
        incoming=incoming,
        growing=True,
        wasm64=slot.machine.is_wide,
    )
    answered = callback.callee.raw
    execution = slot.machine.respond(
        callback.reply if is_reply else callback.reject,
        response.payload if is_reply else b"",
        # The call that is being answered waits no longer.
        replace(env, outstanding=lambda each: env.outstanding(each) - (each == answered)),
        cleanup=callback.cleanup,
        sequence=sequence,
    )
    bill.receive("call_reserve", callback.execution_cycles)
    update.settle(runtime.fees, slot, bill, execution, sequence)
    return call_effects.conclude(
        runtime.canister_time, traffic, bill, execution, context, waiting=awaited.waiting
    )


def _dropped(fees: FeeSchedule, traffic: MessageTraffic, bill: Bill, awaited: _Awaited) -> Effect:
    """Close what uninstalled code left open; only the base fee of the callback is paid."""
    bill.receive("call_reserve", awaited.callback.execution_cycles)
    bill.take("execution", fees.execution_cycles(0))
    if awaited.waiting:
        return Effect(answer=None, bill=bill, status="late")
    stopped = canister_stopping.finish(traffic, bill, closing=awaited.context.id)
    return Effect(
        answer=None,
        bill=bill,
        status="late",
        writes=(lambda: traffic.calls.close(awaited.context.id), *stopped.writes),
        done=stopped.done,
    )
