"""Creates, starts, stops, feeds and deletes canisters, and changes their settings."""

from dataclasses import replace
from typing import TYPE_CHECKING

from datanode.agent import candid
from datanode.localnet.execution import stopping
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management import allocation, settings, status
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.call import Call, cause, reject
from datanode.localnet.management.provisional import DEFAULT_CYCLES
from datanode.localnet.management.types import CANISTER
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister import Canister, Settings, Status
from datanode.localnet.state.history import Cause
from datanode.localnet.state.message import Answer, Message
from datanode.localnet.state.network import Network
from datanode.localnet.state.open_calls import Origin
from datanode.localnet.state.stops import Stop
from datanode.localnet.state.topology import is_free
from datanode.principal import Principal

if TYPE_CHECKING:
    from datanode.agent.candid import Value
    from datanode.localnet.state.canisters import Slot


def provisional_create(network: Network, message: Message, args: Arguments) -> Effect:
    """Handle `provisional_create_canister_with_cycles`: cycles out of nothing, no fee."""
    wanted = args.optional_principal("specified_id")
    if wanted is not None and (not is_free(wanted) or network.canisters.find(wanted)):
        raise reject("IC0205", f"The canister id {wanted} is not free on this subnet")
    cycles = args.optional_number("amount")
    given = args.optional_record("settings")
    chosen = Settings(controllers=(message.sender,))
    if given is not None:
        chosen = settings.changed(chosen, given)
    canister, effect = created(
        network,
        chosen,
        DEFAULT_CYCLES if cycles is None else cycles,
        cause(network, message, args),
        canister=wanted,
    )
    reply = candid.encode((CANISTER,), ({"canister_id": canister},))
    return replace(effect, answer=Answer(reply=reply))


def created(
    network: Network,
    chosen: Settings,
    cycles: int,
    by: Cause,
    *,
    canister: Principal | None = None,
    creation_fee_cycles: int = 0,
    item: str = "deposit",
) -> tuple[Principal, Effect]:
    """Make a new, empty canister; the effect's answer is the caller's to give."""
    principal = canister or network.canisters.free_id()
    now_ns = network.canister_time.now_ns()
    plain = Settings(controllers=chosen.controllers)
    record = Canister(id=principal, settings=plain, balance_cycles=0, charged_ns=now_ns)
    bill = Bill(record, network.fees)
    bill.receive(item, cycles)
    bill.take("creation", creation_fee_cycles)
    allocation.allocate(network, bill, chosen)
    details: dict[str, Value] = {
        "controllers": list(chosen.controllers),
        "environment_variables_hash": settings.environment_hash(chosen),
    }
    bill.canister = bill.canister.changed(by, "creation", details)
    slots: list[Slot] = []

    def write() -> None:
        slots.append(network.canisters.create(bill.canister))

    def enter() -> None:
        network.canisters.enter(slots[0])

    def close() -> None:
        for slot in slots:
            slot.machine.close()

    return principal, Effect(
        answer=Answer(), bill=bill, writes=(write,), done=(enter,), undone=(close,)
    )


def top_up(call: Call) -> Effect:
    """Handle `provisional_top_up_canister`: cycles out of nothing."""
    call.bill.deposit(call.args.number("amount"))
    return call.done()


def deposit(call: Call) -> Effect:
    """Handle `deposit_cycles`: what came along is the canister's."""
    call.bill.receive("accepted", call.message.cycles)
    return replace(call.done(), kept_cycles=call.message.cycles)


def start(call: Call) -> Effect:
    """Handle `start_canister`; who waits for the canister to stop waits no longer."""
    network, canister = call.network, call.bill.canister
    call.bill.canister = replace(canister, status=Status.RUNNING)
    stops = network.stops.of(canister.id)
    given_up = Answer(reject=stopping.cancelled(canister.id))
    effect = stopping.answered(network, stops, given_up).joined(call.done(changed=True))
    return replace(effect, done=(*effect.done, network.alarm.ring))


def stop(call: Call) -> Effect:
    """Handle `stop_canister`: at once, or when the last call that is open is closed."""
    network, canister = call.network, call.bill.canister
    if canister.status is Status.STOPPED:
        return call.done()
    call.bill.canister = replace(canister, status=Status.STOPPING)
    if network.calls.are_none_of(canister.id):
        return stopping.finish(network, call.bill).joined(call.done(changed=True))
    waiting = Stop(
        canister=canister.id,
        origin=Origin.of(call.message),
        cycles=call.message.cycles,
        time_ns=network.canister_time.now_ns(),
    )
    return replace(
        call.done(changed=canister.status is Status.RUNNING),
        answer=None,
        writes=(lambda: network.stops.add(waiting),),
        done=(network.alarm.ring,),
        status="processing",
    )


def delete(call: Call) -> Effect:
    """Handle `delete_canister`; cycles that are left are burnt."""
    canister = call.slot.canister
    if canister.status is not Status.STOPPED:
        raise reject("IC0510", f"Canister {canister.id} must be stopped before it is deleted.")
    call.bill.burn()
    canisters, slot, stats = call.network.canisters, call.slot, call.network.query_stats
    effect = call.done()
    return replace(
        effect,
        writes=(lambda: canisters.delete(canister.id),),
        done=(lambda: canisters.forget(slot), lambda: stats.forget(canister.id)),
    )


def update_settings(call: Call) -> Effect:
    """Handle `update_settings`."""
    given = call.args.record("settings")
    chosen = settings.changed(call.bill.canister.settings, given)
    allocation.allocate(call.network, call.bill, chosen)
    done = call.done(changed=True)
    if given.has("controllers"):
        details: dict[str, Value] = {"controllers": list(chosen.controllers)}
        call.bill.canister = call.bill.canister.changed(call.cause, "controllers_change", details)
    return done


def show_status(call: Call) -> Effect:
    """Handle `canister_status`."""
    return call.done(status.canister_status(call.network, call.bill.canister))
