"""Run a call from another canister in its callee."""

from dataclasses import replace

from datanode.localnet.execution import admission, call_replies, update
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.rejects import Reject
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.fault import FaultKind, FaultPoint
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.open_calls import CallOrigin
from datanode.localnet.state.queue import QueuedMessage
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import Principal


def origin_of(request: QueuedMessage) -> CallOrigin:
    """Return who made a call."""
    return CallOrigin(
        caller=request.sender,
        method=request.method,
        callback=request.callback,
        deadline_ns=request.deadline_ns,
    )


def _struck(traffic: MessageTraffic, origin: CallOrigin, callee: Principal) -> Reject | None:
    """Let the faults of the network's plan strike a call on its way."""
    for fault in traffic.faults.strike(FaultPoint.TRANSIT, call_replies.asked_by(origin, callee)):
        return (
            call_replies.timed_out()
            if fault.kind is FaultKind.LOSE_CALL
            else call_replies.refused_on_cue()
        )
    return None


def run(
    runtime: SubnetRuntime, traffic: MessageTraffic, slot: Slot, request: QueuedMessage
) -> Effect:
    """Execute a call; the slot's lock is held."""
    origin, now_ns = origin_of(request), runtime.canister_time.now_ns()
    bill = Bill(slot.canister, runtime.fees)
    reject = call_replies.timed_out() if 0 < request.deadline_ns <= now_ns else None
    reject = reject or _struck(traffic, origin, slot.canister.id)
    reject = reject or update.refusal(runtime.fees, slot, bill, request.sender)
    if reject is None and request.cycles < slot.canister.settings.minimum_call_cycles:
        reject = admission.too_few_cycles(slot.canister, request.cycles)
    if reject is not None:
        sender = slot.canister.id
        refused = call_replies.refuse(traffic, origin, reject, sender=sender, cycles=request.cycles)
        return replace(refused, bill=bill)
    return update.execute(
        runtime, traffic, slot, bill, origin, arg=request.payload, cycles=request.cycles
    )
