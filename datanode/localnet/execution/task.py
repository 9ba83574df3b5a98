"""Runs what a canister does without being called: its timer and its hooks."""

from dataclasses import replace
from typing import Final

from datanode.localnet.execution import turn, update
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.outgoing import Incoming
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister import Hook
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import Message
from datanode.localnet.state.network import Network
from datanode.localnet.state.open_calls import Context, Origin
from datanode.principal import MANAGEMENT_CANISTER

TIMER: Final = "canister_global_timer"
LOW_MEMORY: Final = "canister_on_low_wasm_memory"


def message(slot: Slot, export: str) -> Message:
    """Describe a task as the ledger shows messages."""
    return Message(
        request_id=b"",
        sender=MANAGEMENT_CANISTER,
        canister=slot.canister.id,
        effective=slot.canister.id,
        method=export,
        arg=b"",
        envelope_bytes=0,
        expires_ns=0,
    )


def run(network: Network, slot: Slot, export: str) -> Effect:
    """Execute a task; the slot's lock is held.

    A timer that is due is no longer set, and a hook is done, whether it can be executed or not.
    """
    bill = Bill(slot.canister, network.fees)
    if export == TIMER:
        bill.canister = replace(bill.canister, timer_ns=0)
    else:
        bill.canister = replace(bill.canister, low_memory_hook=Hook.DONE)
    if not slot.machine.has(export):
        return Effect(answer=None, bill=bill, status="IC0536")
    reject = update.refusal(network, slot, bill, MANAGEMENT_CANISTER)
    if reject is not None:
        return Effect(answer=None, bill=bill, status=reject.error_code)
    network.check_disk()
    sequence = slot.canister.sequence + 1
    env = network.environment(
        bill.canister,
        MANAGEMENT_CANISTER,
        prepaid_cycles=update.prepaid_cycles(network, slot),
        incoming=Incoming(responded=True),
        growing=True,
        wasm64=slot.machine.is_wide,
    )
    execution = slot.machine.task(export, env, sequence=sequence)
    update.settle(network, slot, bill, execution, sequence)
    origin = Origin(caller=MANAGEMENT_CANISTER, method=export)
    context = Context(canister=slot.canister.id, origin=origin, responded=True)
    return turn.conclude(network, bill, execution, context)
