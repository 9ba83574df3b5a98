"""Create, start, stop, top up and delete canisters, and change their settings."""

from dataclasses import replace
from typing import TYPE_CHECKING

from datanode.agent import candid
from datanode.localnet.execution import canister_stopping
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management import allocation, canister_settings, canister_status
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.call import ManagementCall, cause, reject
from datanode.localnet.management.interface_types import CANISTER
from datanode.localnet.management.provisional import DEFAULT_CYCLES
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_record import Canister, CanisterSettings, CanisterState
from datanode.localnet.state.canisters import Canisters
from datanode.localnet.state.history import Cause
from datanode.localnet.state.message import IngressMessage, IngressReply
from datanode.localnet.state.open_calls import CallOrigin
from datanode.localnet.state.stops import PendingStop
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.localnet.state.topology import is_free
from datanode.principal import Principal

if TYPE_CHECKING:
    from datanode.agent.candid import Value
    from datanode.localnet.state.canisters import Slot


def provisional_create(
    runtime: SubnetRuntime, canisters: Canisters, message: IngressMessage, args: Arguments
) -> Effect:
    """Handle `provisional_create_canister_with_cycles`: cycles out of nothing, no fee."""
    wanted = args.optional_principal("specified_id")
    if wanted is not None and (not is_free(wanted) or canisters.find(wanted)):
        raise reject("IC0205", f"The canister id {wanted} is not free on this subnet")
    cycles = args.optional_number("amount")
    given = args.optional_record("settings")
    chosen = CanisterSettings(controllers=(message.sender,))
    if given is not None:
        chosen = canister_settings.changed(chosen, given)
    canister, effect = created(
        runtime,
        canisters,
        chosen,
        DEFAULT_CYCLES if cycles is None else cycles,
        cause(runtime.canister_time, message, args),
        canister=wanted,
    )
    reply = candid.encode((CANISTER,), ({"canister_id": canister},))
    return replace(effect, answer=IngressReply(reply=reply))


def created(
    runtime: SubnetRuntime,
    canisters: Canisters,
    chosen: CanisterSettings,
    cycles: int,
    by: Cause,
    *,
    canister: Principal | None = None,
    creation_fee_cycles: int = 0,
    item: str = "deposit",
) -> tuple[Principal, Effect]:
    """Make a new, empty canister; the effect's answer is the caller's to give."""
    principal = canister or canisters.free_id()
    now_ns = runtime.canister_time.now_ns()
    plain = CanisterSettings(controllers=chosen.controllers)
    record = Canister(id=principal, settings=plain, balance_cycles=0, charged_ns=now_ns)
    bill = Bill(record, runtime.fees)
    bill.receive(item, cycles)
    bill.take("creation", creation_fee_cycles)
    allocation.allocate(runtime, bill, chosen)
    details: dict[str, Value] = {
        "controllers": list(chosen.controllers),
        "environment_variables_hash": canister_settings.environment_hash(chosen),
    }
    bill.canister = bill.canister.changed(by, "creation", details)
    slots: list[Slot] = []

    def write() -> None:
        slots.append(canisters.create(bill.canister))

    def enter() -> None:
        canisters.enter(slots[0])

    def close() -> None:
        for slot in slots:
            slot.machine.close()

    return principal, Effect(
        answer=IngressReply(), bill=bill, writes=(write,), done=(enter,), undone=(close,)
    )


def top_up(call: ManagementCall) -> Effect:
    """Handle `provisional_top_up_canister`: cycles out of nothing."""
    call.bill.deposit(call.args.number("amount"))
    return call.done()


def deposit(call: ManagementCall) -> Effect:
    """Handle `deposit_cycles`: what came along is the canister's."""
    call.bill.receive("accepted", call.message.cycles)
    return replace(call.done(), kept_cycles=call.message.cycles)


def start(call: ManagementCall) -> Effect:
    """Handle `start_canister`; who waits for the canister to stop waits no longer."""
    canister = call.bill.canister
    call.bill.canister = replace(canister, status=CanisterState.RUNNING)
    stops = call.traffic.stops.of(canister.id)
    given_up = IngressReply(reject=canister_stopping.cancelled(canister.id))
    effect = canister_stopping.answered(call.traffic, stops, given_up).joined(
        call.done(changed=True)
    )
    return replace(effect, done=(*effect.done, call.traffic.alarm.ring))


def stop(call: ManagementCall) -> Effect:
    """Handle `stop_canister`: at once, or when the last call that is open is closed."""
    canister = call.bill.canister
    if canister.status is CanisterState.STOPPED:
        return call.done()
    call.bill.canister = replace(canister, status=CanisterState.STOPPING)
    if call.traffic.calls.are_none_of(canister.id):
        return canister_stopping.finish(call.traffic, call.bill).joined(call.done(changed=True))
    waiting = PendingStop(
        canister=canister.id,
        origin=CallOrigin.of(call.message),
        cycles=call.message.cycles,
        time_ns=call.runtime.canister_time.now_ns(),
    )
    return replace(
        call.done(changed=canister.status is CanisterState.RUNNING),
        answer=None,
        writes=(lambda: call.traffic.stops.add(waiting),),
        done=(call.traffic.alarm.ring,),
        status="processing",
    )


def delete(call: ManagementCall) -> Effect:
    """Handle `delete_canister`; cycles that are left are burnt."""
    canister = call.slot.canister
    if canister.status is not CanisterState.STOPPED:
        raise reject("IC0510", f"Canister {canister.id} must be stopped before it is deleted.")
    call.bill.burn()
    canisters, slot, stats = call.records.canisters, call.slot, call.records.query_stats
    effect = call.done()
    return replace(
        effect,
        writes=(lambda: canisters.delete(canister.id),),
        done=(lambda: canisters.forget(slot), lambda: stats.forget(canister.id)),
    )


def update_settings(call: ManagementCall) -> Effect:
    """Handle `update_settings`."""
    given = call.args.record("settings")
    chosen = canister_settings.changed(call.bill.canister.settings, given)
    allocation.allocate(call.runtime, call.bill, chosen)
    done = call.done(changed=True)
    if given.has("controllers"):
        details: dict[str, Value] = {"controllers": list(chosen.controllers)}
        call.bill.canister = call.bill.canister.changed(call.cause, "controllers_change", details)
    return done


def show_status(call: ManagementCall) -> Effect:
    """Handle `canister_status`."""
    return call.done(
        canister_status.canister_status(
            call.runtime.fees, call.records.query_stats, call.bill.canister
        )
    )
