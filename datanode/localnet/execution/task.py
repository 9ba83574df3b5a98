"""Run a canister's timer and hooks."""

from dataclasses import replace
from typing import Final

from datanode.localnet.execution import call_effects, update
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.outgoing import IncomingCall
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_record import LowMemoryHook
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressMessage
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.open_calls import CallContext, CallOrigin
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import MANAGEMENT_CANISTER

TIMER: Final = "canister_global_timer"
LOW_MEMORY: Final = "canister_on_low_wasm_memory"


def message(slot: Slot, export: str) -> IngressMessage:
    """Describe a task as the ledger shows messages."""
    return IngressMessage(
        request_id=b"",
        sender=MANAGEMENT_CANISTER,
        canister=slot.canister.id,
        effective=slot.canister.id,
        method=export,
        arg=b"",
        envelope_bytes=0,
        expires_ns=0,
    )


def run(runtime: SubnetRuntime, traffic: MessageTraffic, slot: Slot, export: str) -> Effect:
    """Execute a task; the slot's lock is held.

    A timer that is due is no longer set, and a hook is done, whether it can be executed or not.
    """
    bill = Bill(slot.canister, runtime.fees)
    if export == TIMER:
        bill.canister = replace(bill.canister, timer_ns=0)
    else:
        bill.canister = replace(bill.canister, low_memory_hook=LowMemoryHook.DONE)
    if not slot.machine.has(export):
        return Effect(answer=None, bill=bill, status="IC0536")
    reject = update.refusal(runtime.fees, slot, bill, MANAGEMENT_CANISTER)
    if reject is not None:
        return Effect(answer=None, bill=bill, status=reject.error_code)
    runtime.disk.check()
    sequence = slot.canister.sequence + 1
    env = runtime.environment(
        bill.canister,
        MANAGEMENT_CANISTER,
        prepaid_cycles=update.prepaid_cycles(runtime.fees, slot),
        incoming=IncomingCall(responded=True),
        growing=True,
        wasm64=slot.machine.is_wide,
    )
    execution = slot.machine.task(export, env, sequence=sequence)
    update.settle(runtime.fees, slot, bill, execution, sequence)
    origin = CallOrigin(caller=MANAGEMENT_CANISTER, method=export)
    context = CallContext(canister=slot.canister.id, origin=origin, responded=True)
    return call_effects.conclude(runtime.canister_time, traffic, bill, execution, context)
