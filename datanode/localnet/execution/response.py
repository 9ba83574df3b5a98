"""Runs what a canister does when a call that it made is answered.

What was set aside when the call was made comes back first, less the price of the response's bytes;
then the callback is run and paid. A response that comes too late, because its caller has stopped
waiting or its code is gone, brings back its cycles and runs nothing.
"""

from dataclasses import replace
from typing import Final

from datanode.localnet.execution import stopping, turn, update
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.execution import Execution
from datanode.localnet.machine.outgoing import Incoming
from datanode.localnet.machine.rejects import Reject
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.network import Network
from datanode.localnet.state.open_calls import Callback, Context
from datanode.localnet.state.queue import Queued

_REJECT_CODE_BYTES: Final = 1


def run(network: Network, slot: Slot, response: Queued) -> Effect:
    """Execute a response; the slot's lock is held."""
    bill = Bill(slot.canister, network.fees)
    bill.receive("refunded", response.cycles)
    awaited = _awaited(network, response)
    if awaited is None:
        return Effect(answer=None, bill=bill, status="late")
    callback, context = awaited
    bill.receive("call_reserve", callback.transmission_cycles)
    size = len(response.payload) + (_REJECT_CODE_BYTES if response.reject_code else 0)
    cost = network.fees.call_byte_cycles(size)
    bill.take("call_response", min(cost, callback.transmission_cycles))
    waiting = network.calls.callbacks_of(context.id) - 1
    if context.deleted:
        return _dropped(network, bill, callback, context, waiting)
    return _executed(network, slot, bill, response, callback, context, waiting)


def failed(network: Network, slot: Slot, response: Queued, reject: Reject) -> Effect:
    """Give a response up that the network itself failed to handle: as if the callback had trapped.

    Nothing is charged for it.
    """
    bill = Bill(slot.canister, network.fees)
    bill.receive("refunded", response.cycles)
    awaited = _awaited(network, response)
    if awaited is None:
        return Effect(answer=None, bill=bill, status="late")
    callback, context = awaited
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
    waiting = network.calls.callbacks_of(context.id) - 1
    return turn.conclude(network, bill, execution, context, waiting=waiting)


def _awaited(network: Network, response: Queued) -> tuple[Callback, Context] | None:
    """Find who waits for a response; None when it comes too late."""
    callback = network.calls.callback(response.callback)
    context = None if callback is None else network.calls.context(callback.context)
    return None if callback is None or context is None else (callback, context)


def _executed(  # noqa: PLR0917 - all of one response
    network: Network,
    slot: Slot,
    bill: Bill,
    response: Queued,
    callback: Callback,
    context: Context,
    waiting: int,
) -> Effect:
    network.check_disk(len(response.payload))
    sequence = slot.canister.sequence + 1
    is_reply = not response.reject_code
    incoming = Incoming(
        available_cycles=context.available_cycles,
        refunded_cycles=response.cycles,
        reject_code=response.reject_code,
        reject_message=b"" if is_reply else response.payload,
        deadline_ns=context.origin.deadline_ns,
        responded=context.responded,
        instructions=context.instructions,
    )
    env = network.environment(
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
    update.settle(network, slot, bill, execution, sequence)
    return turn.conclude(network, bill, execution, context, waiting=waiting)


def _dropped(
    network: Network, bill: Bill, callback: Callback, context: Context, waiting: int
) -> Effect:
    """Close what uninstalled code left open; only the base fee of the callback is paid."""
    bill.receive("call_reserve", callback.execution_cycles)
    bill.take("execution", network.fees.execution_cycles(0))
    if waiting:
        return Effect(answer=None, bill=bill, status="late")
    stopped = stopping.finish(network, bill, closing=context.id)
    return Effect(
        answer=None,
        bill=bill,
        status="late",
        writes=(lambda: network.calls.close(context.id), *stopped.writes),
        done=stopped.done,
    )
