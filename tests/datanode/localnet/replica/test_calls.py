"""Canisters call each other: answers, callbacks, traps, cleanup, cycles and what they cost."""

import pytest

from datanode.agent.identity import Identity
from datanode.errors import LocalNetworkError
from datanode.localnet.machine import prices
from datanode.localnet.machine.messaging import MAX_PAYLOAD_BYTES
from datanode.localnet.state import ledger
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.ledger import BillEntry
from datanode.localnet.state.topology import canister_id
from datanode.principal import Principal
from datanode.units import TC
from tests.fakes import cycles, puppet
from tests.fakes.gateway import Gateway, RejectedError
from tests.fakes.puppet import See

NOBODY = canister_id(0x8000_0000_0010_FFFF)
SEE_REJECT = puppet.see(See.REJECT_CODE) + puppet.forward_reject() + puppet.reply()
FORWARD = puppet.forward() + puppet.reply()


def entries(net: Gateway, canister: Principal) -> list[BillEntry]:
    found = ledger.page(net.network.records.database)
    return [entry for entry in found if entry.canister == canister]


def rejected(net: Gateway, who: Identity, caller: Principal, script: bytes) -> tuple[int, str]:
    """Run a script whose reject callback replies with code and text."""
    reply = net.call(who, caller, "run", script)
    return puppet.number(reply), reply[8:].decode()


def count(net: Gateway, who: Identity, canister: Principal) -> int:
    return puppet.number(net.query(who, canister, "count"))


def test_a_canister_calls_another_and_replies_from_its_callback(
    net: Gateway, alice: Identity
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    script = puppet.call(
        callee,
        puppet.add(5) + puppet.see(See.COUNT) + puppet.reply(b"!"),
        reply=puppet.add(1) + puppet.append(b"got ") + puppet.forward() + puppet.reply(),
    )
    assert net.call(alice, caller, "run", script) == b"got " + (5).to_bytes(8, "little") + b"!"
    assert (count(net, alice, callee), count(net, alice, caller)) == (5, 1)


def test_a_canister_may_call_itself(net: Gateway, alice: Identity) -> None:
    canister = net.puppet(alice)
    script = puppet.call(canister, puppet.add(2) + puppet.reply(b"self"), reply=FORWARD)
    assert net.call(alice, canister, "run", script) == b"self"
    assert count(net, alice, canister) == 2


def test_calls_nest_and_every_caller_is_the_one_before(net: Gateway, alice: Identity) -> None:
    chain = [net.puppet(alice) for _ in range(4)]
    script = puppet.reply(b"deep")
    for canister in reversed(chain[1:]):
        script = puppet.call(canister, script, reply=puppet.append(b">") + FORWARD)
    assert net.call(alice, chain[0], "run", script) == b">>>deep"


def test_a_canister_that_replies_at_once_still_runs_its_callbacks(
    net: Gateway, alice: Identity
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    script = puppet.call(callee, puppet.reply(), reply=puppet.add(1)) + puppet.reply(b"early")
    assert net.call(alice, caller, "run", script) == b"early"
    net.settle()
    assert count(net, alice, caller) == 1
    assert not net.network.traffic.calls.contexts(caller)


def test_a_second_reply_in_a_callback_traps(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    script = puppet.call(callee, puppet.reply(), reply=puppet.add(1) + puppet.reply())
    assert net.call(alice, caller, "run", script + puppet.reply(b"first")) == b"first"
    net.settle()
    assert count(net, alice, caller) == 0
    assert entries(net, caller)[-1].status == "IC0504"


def test_calls_to_one_callee_are_executed_in_the_order_in_which_they_were_made(
    net: Gateway, alice: Identity
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    steps = [puppet.add(1) + puppet.see(See.COUNT) + puppet.reply() for _ in range(30)]
    script = b"".join(
        puppet.call(callee, step, reply=puppet.append(b"") + puppet.add(1)) for step in steps[:-1]
    )
    script += puppet.call(callee, steps[-1], reply=puppet.see(See.COUNT) + FORWARD)
    reply = net.call(alice, caller, "run", script)
    assert (puppet.number(reply), puppet.number(reply, 1)) == (29, 30)


@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        (puppet.reject("not today"), 4, "not today"),
        (puppet.trap("oh"), 5, "IC0503: Error from Canister {callee}: Canister called `ic0.trap`"),
        (b"", 5, "No response"),
    ],
)
def test_a_callee_that_does_not_reply_answers_with_a_reject(
    net: Gateway, alice: Identity, script: bytes, code: int, text: str
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    call = puppet.call(callee, puppet.add(3) + script, reject=SEE_REJECT)
    found, words = rejected(net, alice, caller, call)
    assert found == code
    assert words.startswith(text.format(callee=callee.text))
    assert count(net, alice, callee) == (3 if code == 4 or not script else 0)


def test_a_callee_that_cannot_take_the_call_gives_the_cycles_back(
    net: Gateway, alice: Identity
) -> None:
    caller, empty, poor = net.puppet(alice), net.create(alice), net.puppet(alice)
    slot = net.network.records.canisters.find(poor)
    assert slot is not None
    net.drain(poor, 10**9)
    for callee, method, code, text in (
        (NOBODY, "run", 3, f"Canister {NOBODY} not found"),
        (empty, "run", 5, "IC0537: "),
        (poor, "run", 2, f"IC0207: Canister {poor} is out of cycles"),
        (caller, "absent", 5, "IC0536: "),
        (caller, "ask", 5, "IC0527: "),
    ):
        call = puppet.call(
            callee, cycles=TC, method=method, reject=puppet.see(See.REFUNDED) + SEE_REJECT
        )
        reply = net.call(alice, caller, "run", call)
        assert puppet.number(reply) == TC
        assert puppet.number(reply, 1) == code
        assert reply[16:].decode().startswith(text)


def test_a_trap_in_a_callback_undoes_it_alone_and_is_the_answer(
    net: Gateway, alice: Identity
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    script = puppet.add(1) + puppet.call(
        callee, puppet.add(1) + puppet.reply(), reply=puppet.add(10) + puppet.trap("late")
    )
    with pytest.raises(RejectedError, match=r"IC0503.*late") as trapped:
        net.call(alice, caller, "run", script)
    assert trapped.value.certified
    assert (count(net, alice, caller), count(net, alice, callee)) == (1, 1)


def test_cleanup_runs_after_a_trap_and_what_it_does_is_kept(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    script = puppet.call(
        callee,
        puppet.reply(),
        reply=puppet.add(10) + puppet.trap("late"),
        cleanup=puppet.add(100),
    )
    with pytest.raises(RejectedError, match="late"):
        net.call(alice, caller, "run", script)
    assert count(net, alice, caller) == 100
    look = net.query(alice, caller, "look", puppet.see(See.STABLE) + puppet.reply())
    assert puppet.number(look) == 100


def test_a_cleanup_that_traps_too_is_undone_and_told(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    script = puppet.call(
        callee,
        puppet.reply(),
        reply=puppet.trap("late"),
        cleanup=puppet.add(100) + puppet.trap("later"),
    )
    with pytest.raises(RejectedError, match=r"(?s)late.*call_on_cleanup also failed:.*later"):
        net.call(alice, caller, "run", script)
    assert count(net, alice, caller) == 0


def test_a_trap_takes_back_the_calls_that_the_message_made(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    before = net.balance(callee)
    script = puppet.call(callee, puppet.add(1) + puppet.reply(), cycles=TC) + puppet.trap()
    with pytest.raises(RejectedError, match="IC0503"):
        net.call(alice, caller, "run", script)
    net.settle()
    assert count(net, alice, callee) == 0
    assert net.balance(callee) == before
    assert dict(entries(net, caller)[-1].items).keys() == {"ingress", "execution", "instructions"}


@pytest.mark.parametrize("function", [1, 2, 3, 77])
def test_a_callback_that_the_table_does_not_hold_is_a_failure(
    net: Gateway, alice: Identity, function: int
) -> None:
    """1 has the wrong type, 2 is null, the others lie outside."""
    caller, callee = net.puppet(alice), net.puppet(alice)
    code = "IC0504" if function == 1 else "IC0513"
    script = puppet.call(callee, puppet.reply(), function=function, cleanup=puppet.add(1))
    with pytest.raises(RejectedError, match=code):
        net.call(alice, caller, "run", script)
    assert count(net, alice, caller) == 1


def test_one_reply_is_enough_and_a_trap_beside_others_is_not_the_answer(
    net: Gateway, alice: Identity
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    script = puppet.call(callee, puppet.reply(), reply=puppet.trap()) + puppet.call(
        callee, puppet.reply(b"fine"), reply=FORWARD
    )
    assert net.call(alice, caller, "run", script) == b"fine"


def test_cycles_go_along_are_accepted_and_the_rest_comes_back(
    net: Gateway, alice: Identity
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    inner = puppet.see(See.AVAILABLE) + puppet.accept(3 * TC) + puppet.see(See.ACCEPTED)
    inner += puppet.see(See.AVAILABLE) + puppet.reply()
    script = puppet.call(callee, inner, cycles=5 * TC, reply=puppet.see(See.REFUNDED) + FORWARD)
    reply = net.call(alice, caller, "run", script)
    assert [puppet.number(reply, at) for at in range(4)] == [2 * TC, 5 * TC, 3 * TC, 2 * TC]
    assert dict(entries(net, callee)[-1].items)["accepted"] == -3 * TC
    first, second = entries(net, caller)[-2:]
    assert dict(first.items)["sent"] == 5 * TC
    assert dict(second.items)["refunded"] == -2 * TC


def test_a_callee_that_traps_accepts_nothing(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    script = puppet.call(
        callee,
        puppet.accept(TC) + puppet.trap(),
        cycles=TC,
        reject=puppet.see(See.REFUNDED) + puppet.reply(),
    )
    assert puppet.number(net.call(alice, caller, "run", script)) == TC


def test_cycles_of_a_call_that_is_not_made_never_leave(net: Gateway, alice: Identity) -> None:
    caller = net.puppet(alice)
    script = puppet.half_a_call(NOBODY, TC) + puppet.half_a_call(NOBODY, 2 * TC) + puppet.reply()
    before = net.balance(caller)
    net.call(alice, caller, "run", script)
    assert before - net.balance(caller) == entries(net, caller)[-1].total_cycles < TC


def test_more_cycles_than_are_liquid_cannot_be_sent(net: Gateway, alice: Identity) -> None:
    caller = net.puppet(alice, 2 * TC)
    with pytest.raises(RejectedError, match="out of cycles"):
        net.call(alice, caller, "run", puppet.call(NOBODY, cycles=2 * TC))


def test_a_call_that_cannot_be_paid_is_refused_by_call_perform(
    net: Gateway, alice: Identity
) -> None:
    caller = net.puppet(alice)
    look = net.query(alice, caller, "look", puppet.see(See.LIQUID) + puppet.reply())
    fees = net.fees
    kept = fees.ingress_cycles(500) + fees.execution_cycles(prices.INSTRUCTION_LIMIT_UPDATE)
    script = puppet.call(NOBODY, cycles=puppet.number(look) - kept) + puppet.see(See.PERFORMED)
    assert puppet.number(net.call(alice, caller, "run", script + puppet.reply())) == 2
    assert "sent" not in dict(entries(net, caller)[-1].items)


def test_five_hundred_calls_to_one_callee_may_wait_and_no_more(
    net: Gateway, alice: Identity
) -> None:
    caller, callee = net.puppet(alice, 100_000 * TC), net.puppet(alice)
    script = b"".join(puppet.call(callee, puppet.reply()) for _ in range(500))
    script += puppet.see(See.PERFORMED)
    script += puppet.call(callee, puppet.reply()) + puppet.see(See.PERFORMED) + puppet.reply()
    reply = net.call(alice, caller, "run", script)
    assert (puppet.number(reply), puppet.number(reply, 1)) == (0, 2)
    # It has replied before its calls are answered: their callbacks may be in the ledger by now.
    (run,) = [entry for entry in entries(net, caller) if entry.method == "run"]
    assert dict(run.items)["call"] == 500 * net.fees.call_cycles(len(b"run") + len(puppet.reply()))


def test_the_bill_of_a_call_is_the_formula(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    payload = puppet.reply(bytes(1000))
    net.call(alice, caller, "run", puppet.call(callee, payload, reply=FORWARD))
    fees = net.fees
    first, second = entries(net, caller)[-2:]
    most = fees.execution_cycles(prices.INSTRUCTION_LIMIT_UPDATE)
    byte = fees.call_cycles(1) - fees.call_cycles(0)
    reserve = MAX_PAYLOAD_BYTES * byte + most
    assert dict(first.items)["call"] == fees.call_cycles(len(b"run") + len(payload))
    assert dict(first.items)["call_reserve"] == reserve
    assert dict(second.items)["call_reserve"] == -reserve
    assert dict(second.items)["call_response"] == 1000 * byte
    assert second.method == "callback of run"
    instructions = fees.execution_cycles(second.instructions) - fees.execution_cycles(0)
    assert dict(second.items)["execution"] == fees.execution_cycles(0)
    assert dict(second.items)["instructions"] == instructions
    assert dict(entries(net, callee)[-1].items).keys() == {"execution", "instructions"}


def test_a_canister_may_ask_for_cycles_with_each_call(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    net.set(alice, callee, minimum_incoming_canister_call_cycles=1000)
    call = puppet.call(callee, puppet.reply(), cycles=999, reply=FORWARD, reject=SEE_REJECT)
    code, words = rejected(net, alice, caller, call)
    assert code == 4
    assert "at least 1000 cycles" in words
    call = puppet.call(callee, puppet.reply(b"ok"), cycles=1000, reply=FORWARD)
    assert net.call(alice, caller, "run", call) == b"ok"


@pytest.mark.parametrize("error", [RuntimeError("a fault on cue"), LocalNetworkError("overdrawn")])
@pytest.mark.parametrize("failing", ["update", "respond"])
def test_a_fault_of_the_network_ends_one_call_and_loses_no_cycles(
    net: Gateway,
    alice: Identity,
    failing: str,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)

    def fail(*_arguments: object, **_named: object) -> None:
        raise error

    slot = net.network.records.canisters.find(callee if failing == "update" else caller)
    assert slot is not None
    script = puppet.call(callee, puppet.reply(), cycles=TC, reply=FORWARD, reject=SEE_REJECT)
    with monkeypatch.context() as patch:
        patch.setattr(slot.machine, failing, fail)
        if failing == "update":
            assert b"IC0521" in net.call(alice, caller, "run", script)
        else:
            with pytest.raises(RejectedError, match="IC0521"):
                net.call(alice, caller, "run", script)
    net.settle()
    cycles.check(net.network.records.database)
    assert not net.network.traffic.calls.contexts(caller)
    assert net.call(alice, caller, "run", puppet.reply(b"well")) == b"well"


def test_what_a_canister_names_a_method_does_nothing_to_the_terminal(
    net: Gateway,
    alice: Identity,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)

    def fail(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("a fault on cue")

    slot = net.network.records.canisters.find(callee)
    assert slot is not None
    monkeypatch.setattr(slot.machine, "update", fail)
    script = puppet.call(callee, method="\x1b[2J", reject=SEE_REJECT)
    assert rejected(net, alice, caller, script)[0] == 5
    (said,) = (record.getMessage() for record in caplog.records if record.exc_info)
    assert said == f"\\x1b[2J for {callee} failed"


def test_a_call_whose_outcome_cannot_be_written_is_given_up_once(
    net: Gateway, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    canisters = net.network.records.canisters
    save, failures = canisters.save, [OverflowError("a number on cue")]

    def fail_once(canister: Canister) -> None:
        if canister.id == callee and failures:
            raise failures.pop()
        save(canister)

    monkeypatch.setattr(canisters, "save", fail_once)
    done = puppet.accept(TC) + puppet.add(1) + puppet.reply()
    script = puppet.call(callee, done, cycles=TC, reply=FORWARD, reject=SEE_REJECT)
    code, words = rejected(net, alice, caller, script)
    assert (code, words[:7], failures) == (5, "IC0521:", [])
    assert count(net, alice, callee) == 0
    cycles.check(net.network.records.database)
    assert net.call(alice, caller, "run", script) == b""
    assert count(net, alice, callee) == 1


def test_an_answer_that_is_still_to_come_is_processing(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    slot = net.network.records.canisters.find(callee)
    assert slot is not None
    body = net.signed_call(
        alice, caller, "run", puppet.call(callee, puppet.reply(b"late"), reply=FORWARD)
    )
    with slot.lock:
        admitted = net.interface.admit(body, caller)
        net.interface.execute(admitted.message)
        path = [b"request_status", admitted.message.request_id]
        assert net.read(alice, caller, [path]).lookup([*path, b"status"]) == b"processing"
    assert net.post_call(body, caller) == b"late"


def test_messages_on_their_way_are_executed_after_a_restart(net: Gateway, alice: Identity) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    net.pause()
    body = net.signed_call(
        alice, caller, "run", puppet.call(callee, puppet.reply(b"late"), reply=FORWARD)
    )
    net.interface.execute(net.interface.admit(body, caller).message)
    assert net.network.traffic.queue.receivers() == [callee]
    net.reopen()
    assert net.post_call(body, caller) == b"late"
    assert not net.network.traffic.queue.receivers()
