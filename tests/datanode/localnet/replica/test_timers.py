"""Global timers, and callers whose deadline passes."""

from datanode.agent.identity import Identity
from datanode.localnet.management import interface_types
from datanode.localnet.state import ledger
from datanode.principal import Principal
from datanode.units import SECOND_NS, TC
from tests.fakes import cycles, puppet
from tests.fakes.gateway import Gateway
from tests.fakes.puppet import See, puppet_wasm

FORWARD = puppet.forward() + puppet.reply()
SEE_REJECT = puppet.see(See.REJECT_CODE) + puppet.forward_reject() + puppet.reply()


def count(net: Gateway, who: Identity, canister: Principal) -> int:
    return puppet.number(net.query(who, canister, "count"))


def now(net: Gateway) -> int:
    return net.network.runtime.canister_time.now_ns()


def test_a_timer_runs_once_when_its_time_has_come(net: Gateway, alice: Identity) -> None:
    canister = net.puppet(alice)
    at_ns = now(net) + 60 * SECOND_NS
    net.call(alice, canister, "run", puppet.timer(at_ns, puppet.add(7)) + puppet.reply())
    net.network.runtime.canister_time.advance(59)
    assert count(net, alice, canister) == 0
    net.network.runtime.canister_time.advance(2)
    net.until(lambda: count(net, alice, canister) == 7)
    net.network.runtime.canister_time.advance(100)
    entries = [
        entry
        for entry in ledger.page(net.network.records.database)
        if entry.method == "canister_global_timer"
    ]
    assert [dict(entry.items).keys() for entry in entries] == [{"execution", "instructions"}]
    assert count(net, alice, canister) == 7


def test_a_timer_may_set_itself_again_and_call_others(net: Gateway, alice: Identity) -> None:
    canister, other = net.puppet(alice), net.puppet(alice)
    soon_ns = now(net) + 10 * SECOND_NS
    call = puppet.call(other, puppet.add(1) + puppet.reply(), reply=puppet.add(1))
    twice = puppet.timer(soon_ns + 10 * SECOND_NS, call) + call
    net.call(alice, canister, "run", puppet.timer(soon_ns, twice) + puppet.reply())
    net.network.runtime.canister_time.advance(11)
    net.until(lambda: count(net, alice, canister) == 1)
    net.network.runtime.canister_time.advance(11)
    net.until(lambda: count(net, alice, canister) == 2)
    assert count(net, alice, other) == 2


def test_a_timer_that_is_always_due_runs_once_a_round(net: Gateway, alice: Identity) -> None:
    canister = net.puppet(alice)
    script = puppet.timer(1, puppet.add(1) + puppet.timer(1, puppet.add(1)))
    net.call(alice, canister, "run", script + puppet.reply())
    net.until(lambda: count(net, alice, canister) == 1)
    net.call(alice, canister, "run", puppet.reply())
    assert count(net, alice, canister) == 1
    net.network.runtime.canister_time.advance(1)
    net.until(lambda: count(net, alice, canister) == 2)


def test_setting_a_timer_tells_what_it_was_and_zero_unsets_it(
    net: Gateway, alice: Identity
) -> None:
    canister = net.puppet(alice)
    at_ns = now(net) + 60 * SECOND_NS
    unset = puppet.timer(at_ns, puppet.add(1)) + puppet.timer(0, b"")
    reply = net.call(alice, canister, "run", unset + puppet.see(See.TIMER_BEFORE) + puppet.reply())
    assert puppet.number(reply) == at_ns
    net.network.runtime.canister_time.advance(120)
    assert count(net, alice, canister) == 0


def test_a_timer_of_a_stopped_canister_waits_until_it_is_started(
    net: Gateway, alice: Identity
) -> None:
    canister = net.puppet(alice)
    at_ns = now(net) + 10 * SECOND_NS
    net.call(alice, canister, "run", puppet.timer(at_ns, puppet.add(1)) + puppet.reply())
    net.manage(alice, "stop_canister", interface_types.CANISTER, canister_id=canister)
    net.network.runtime.canister_time.advance(60)
    net.manage(alice, "start_canister", interface_types.CANISTER, canister_id=canister)
    net.until(lambda: count(net, alice, canister) == 1)


def test_a_timer_survives_a_restart_and_not_an_upgrade(net: Gateway, alice: Identity) -> None:
    kept, upgraded = net.puppet(alice), net.puppet(alice)
    for canister in (kept, upgraded):
        script = puppet.timer(now(net) + 10 * SECOND_NS, puppet.add(1)) + puppet.reply()
        net.call(alice, canister, "run", script)
    net.install(alice, upgraded, "upgrade", puppet_wasm())
    net.reopen()
    net.network.runtime.canister_time.advance(60)
    net.until(lambda: count(net, alice, kept) == 1)
    assert count(net, alice, upgraded) == 0


def test_a_timer_may_be_set_as_late_as_a_number_can_tell(net: Gateway, alice: Identity) -> None:
    latest_ns = (1 << 64) - 1
    caller, callee = net.puppet(alice), net.puppet(alice)
    script = puppet.call(callee, puppet.timer(latest_ns, b"") + puppet.reply(b"set"), reply=FORWARD)
    assert net.call(alice, caller, "run", script) == b"set"
    net.reopen()
    unset = puppet.timer(0, b"") + puppet.see(See.TIMER_BEFORE) + puppet.reply()
    assert puppet.number(net.call(alice, callee, "run", unset)) == latest_ns


def test_a_caller_that_waits_no_longer_gets_an_unknown_outcome(
    net: Gateway, alice: Identity
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    slot = net.network.records.canisters.find(callee)
    assert slot is not None
    script = puppet.call(
        callee,
        puppet.accept(TC) + puppet.add(1) + puppet.reply(),
        cycles=3 * TC,
        reject=puppet.see(See.REFUNDED) + SEE_REJECT,
        timeout_s=20,
    )
    body = net.signed_call(alice, caller, "run", script)
    with slot.lock:
        net.interface.execute(net.interface.admit(body, caller).message)
        net.network.runtime.canister_time.advance(30)
        reply = net.post_call(body, caller)
    assert (puppet.number(reply), puppet.number(reply, 1)) == (0, 6)
    net.settle()
    # The request was too old when the callee got to it; its cycles come back late.
    assert count(net, alice, callee) == 0
    last = [e for e in ledger.page(net.network.records.database) if e.canister == caller][-1]
    assert (last.status, dict(last.items)) == ("late", {"refunded": -3 * TC})
    cycles.check(net.network.records.database)


def test_what_comes_back_to_a_deleted_canister_is_burnt(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    slot = net.network.records.canisters.find(callee)
    assert slot is not None
    script = puppet.call(callee, cycles=TC, reject=puppet.reply(), timeout_s=1)
    body = net.signed_call(alice, caller, "run", script)
    with slot.lock:
        net.interface.execute(net.interface.admit(body, caller).message)
        net.network.runtime.canister_time.advance(10)
        net.post_call(body, caller)
        net.manage(alice, "stop_canister", interface_types.CANISTER, canister_id=caller)
        net.manage(alice, "delete_canister", interface_types.CANISTER, canister_id=caller)
    net.settle()
    last = ledger.page(net.network.records.database)[-1]
    assert (last.canister, dict(last.items)) == (caller, {"refunded": -TC, "burnt": TC})
    cycles.check(net.network.records.database)


def test_a_callee_knows_until_when_its_caller_waits(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    look = puppet.see(See.DEADLINE) + puppet.see(See.TIME) + puppet.reply()
    reply = net.call(
        alice, caller, "run", puppet.call(callee, look, reply=FORWARD, timeout_s=10**6)
    )
    deadline_ns, time_ns = puppet.number(reply), puppet.number(reply, 1)
    assert 298 * SECOND_NS < deadline_ns - time_ns <= 300 * SECOND_NS
    reply = net.call(alice, caller, "run", puppet.call(callee, look, reply=FORWARD))
    assert puppet.number(reply) == 0


def test_the_hook_for_low_memory_runs_once_each_time_that_memory_gets_low(
    net: Gateway, alice: Identity
) -> None:
    canister = net.puppet(alice)
    page_bytes, held_pages = 65_536, 64
    limit_bytes = (held_pages + 10) * page_bytes
    net.set(alice, canister, wasm_memory_limit=limit_bytes, wasm_memory_threshold=5 * page_bytes)
    net.call(alice, canister, "run", puppet.grow(5) + puppet.reply())
    assert count(net, alice, canister) == 0
    net.call(alice, canister, "run", puppet.grow(1) + puppet.reply())
    net.until(lambda: count(net, alice, canister) == 1000)
    net.call(alice, canister, "run", puppet.grow(1) + puppet.reply())
    net.set(alice, canister, wasm_memory_limit=2 * limit_bytes)
    net.set(alice, canister, wasm_memory_limit=limit_bytes)
    net.until(lambda: count(net, alice, canister) == 2000)
