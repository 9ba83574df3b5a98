"""Stopping, starting, uninstalling and deleting canisters that have calls open."""

import pytest

from datanode.agent.identity import Identity
from datanode.localnet.management import interface_types
from datanode.localnet.state.canister_record import CanisterState
from datanode.localnet.state.canisters import Slot
from datanode.principal import Principal
from datanode.units import TC
from tests.fakes import cycles, puppet
from tests.fakes.gateway import Gateway, RejectedError
from tests.fakes.puppet import See

FORWARD = puppet.forward() + puppet.reply()
SEE_REJECT = puppet.see(See.REJECT_CODE) + puppet.forward_reject() + puppet.reply()


def slot(net: Gateway, canister: Principal) -> Slot:
    found = net.network.records.canisters.find(canister)
    assert found is not None
    return found


def status(net: Gateway, canister: Principal) -> CanisterState:
    return slot(net, canister).canister.status


def manage(net: Gateway, who: Identity, method: str, canister: Principal) -> None:
    net.manage(who, method, interface_types.CANISTER, canister_id=canister)


def waiting(net: Gateway, who: Identity, script: bytes, caller: Principal) -> bytes:
    """Send a message whose answer waits for a call; nothing is delivered meanwhile."""
    body = net.signed_call(who, caller, "run", script)
    net.interface.execute(net.interface.admit(body, caller).message)
    return body


def stop(net: Gateway, who: Identity, canister: Principal) -> bytes:
    """Ask a canister to stop, without waiting."""
    body = net.signed_stop(who, canister)
    net.interface.execute(net.interface.admit(body, canister).message)
    return body


def test_a_canister_stops_when_its_last_open_call_is_closed(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    net.pause()
    script = puppet.call(callee, puppet.reply(b"late"), reply=FORWARD)
    call = waiting(net, alice, script, caller)
    asked = stop(net, alice, caller)
    assert status(net, caller) is CanisterState.STOPPING
    with pytest.raises(RejectedError, match="IC0509"):
        net.call(alice, caller, "run", puppet.reply())
    with pytest.raises(RejectedError, match="IC0510"):
        manage(net, alice, "delete_canister", caller)
    net.reopen()
    assert net.post_call(call, caller) == b"late"
    net.post_call(asked, caller)
    assert status(net, caller) is CanisterState.STOPPED
    with pytest.raises(RejectedError, match="IC0508"):
        net.call(alice, caller, "run", puppet.reply())
    manage(net, alice, "delete_canister", caller)


def test_starting_again_cancels_a_stop(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    net.pause()
    waiting(net, alice, puppet.call(callee, puppet.reply(), reply=FORWARD), caller)
    asked = stop(net, alice, caller)
    manage(net, alice, "start_canister", caller)
    with pytest.raises(RejectedError, match="IC0511"):
        net.post_call(asked, caller)
    assert status(net, caller) is CanisterState.RUNNING


def test_a_stop_that_takes_five_minutes_is_given_up_and_goes_on(
    net: Gateway, alice: Identity
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    lock = slot(net, callee).lock
    with lock:
        waiting(net, alice, puppet.call(callee, puppet.reply(b"!"), reply=FORWARD), caller)
        asked = stop(net, alice, caller)
        net.network.runtime.canister_time.advance(5 * 60 + 1)
        with pytest.raises(RejectedError, match="IC0206"):
            net.post_call(asked, caller)
        assert status(net, caller) is CanisterState.STOPPING
    net.settle()
    assert status(net, caller) is CanisterState.STOPPED


def test_a_stopped_callee_answers_with_a_reject(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    manage(net, alice, "stop_canister", callee)
    reply = net.call(alice, caller, "run", puppet.call(callee, reject=SEE_REJECT))
    assert puppet.number(reply) == 5
    assert reply[8:].decode() == f"Canister {callee} is stopped"


def test_uninstalling_rejects_the_calls_that_the_code_left_open(
    net: Gateway, alice: Identity
) -> None:
    first, middle, last = (net.puppet(alice) for _ in range(3))
    lock = slot(net, last).lock
    with lock:
        inner = puppet.call(last, puppet.accept(TC) + puppet.reply(), cycles=3 * TC, reply=FORWARD)
        script = puppet.call(middle, inner, cycles=TC, reject=puppet.see(See.REFUNDED) + SEE_REJECT)
        body = waiting(net, alice, script, first)
        net.until(lambda: bool(net.network.traffic.calls.contexts(middle)))
        manage(net, alice, "uninstall_code", middle)
        reply = net.post_call(body, first)
        assert (puppet.number(reply), puppet.number(reply, 1)) == (TC, 4)
        assert reply[16:] == b"Canister has been uninstalled."
        before = net.balance(middle)
    net.settle()
    assert net.balance(middle) > before + 2 * TC
    assert not net.network.traffic.calls.contexts(middle)
    cycles.check(net.network.records.database)


def test_an_ingress_message_to_uninstalled_code_is_rejected(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    net.pause()
    body = waiting(net, alice, puppet.call(callee, puppet.reply(), reply=FORWARD), caller)
    manage(net, alice, "uninstall_code", caller)
    with pytest.raises(RejectedError, match="IC0406: Canister has been uninstalled"):
        net.post_call(body, caller)
    net.reopen()
    net.settle()
    assert not net.network.traffic.calls.contexts(caller)
