"""Runs a call that a canister made, in the canister that it calls."""

from dataclasses import replace

from datanode.localnet.execution import admission, answers, update
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.rejects import Reject
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.fault import Kind, Point
from datanode.localnet.state.network import Network
from datanode.localnet.state.open_calls import Origin
from datanode.localnet.state.queue import Queued
from datanode.principal import Principal


def origin_of(request: Queued) -> Origin:
    """Return who made a call."""
    return Origin(
        caller=request.sender,
        method=request.method,
        callback=request.callback,
        deadline_ns=request.deadline_ns,
    )


def _struck(network: Network, origin: Origin, callee: Principal) -> Reject | None:
    """Let the faults of the network's plan strike a call on its way."""
    for fault in network.faults.strike(Point.TRANSIT, answers.asked_by(origin, callee)):
        return answers.timed_out() if fault.kind is Kind.LOSE_CALL else answers.refused_on_cue()
    return None


def run(network: Network, slot: Slot, request: Queued) -> Effect:
    """Execute a call; the slot's lock is held."""
    origin, now_ns = origin_of(request), network.canister_time.now_ns()
    bill = Bill(slot.canister, network.fees)
    reject = answers.timed_out() if 0 < request.deadline_ns <= now_ns else None
    reject = reject or _struck(network, origin, slot.canister.id)
    reject = reject or update.refusal(network, slot, bill, request.sender)
    if reject is None and request.cycles < slot.canister.settings.minimum_call_cycles:
        reject = admission.too_few_cycles(slot.canister, request.cycles)
    if reject is not None:
        sender = slot.canister.id
        refused = answers.refuse(network, origin, reject, sender=sender, cycles=request.cycles)
        return replace(refused, bill=bill)
    return update.execute(network, slot, bill, origin, request.payload, cycles=request.cycles)
