"""Composite queries: queries of several canisters answer one question, and leave no trace."""

import threading
from typing import Any

import pytest

from datanode.agent.identity import Identity
from datanode.errors import DiskFullError
from datanode.localnet.replica.call_graph import CallGraph
from datanode.localnet.state.topology import canister_id
from datanode.principal import Principal
from tests.fakes import puppet
from tests.fakes.gateway import Gateway, RejectedError
from tests.fakes.puppet import See

NOBODY = canister_id(0x8000_0000_0010_FFFF)
FORWARD = puppet.forward() + puppet.reply()
SEE_REJECT = puppet.see(See.REJECT_CODE) + puppet.forward_reject() + puppet.reply()
SEE_COUNT = puppet.see(See.COUNT) + puppet.see(See.STABLE) + puppet.reply()


def numbers(reply: bytes) -> list[int]:
    return [puppet.number(reply, at) for at in range(len(reply) // 8)]


def look(callee: Principal, script: bytes, **scripts: Any) -> bytes:
    return puppet.call(callee, script, method="look", **scripts)


def test_a_composite_query_asks_others_and_keeps_its_state_between_them(
    net: Gateway, alice: Identity
) -> None:
    asker, first, second = (net.puppet(alice) for _ in range(3))
    net.call(alice, first, "run", puppet.add(5) + puppet.reply())
    script = (
        puppet.add(1)
        + look(first, SEE_COUNT, reply=puppet.add(10) + puppet.forward())
        + look(second, SEE_COUNT, reply=puppet.add(100) + puppet.forward() + SEE_COUNT)
    )
    assert numbers(net.query(alice, asker, "ask", script)) == [0, 0, 111, 111]
    script = look(first, SEE_COUNT, reply=FORWARD)
    assert numbers(net.query(alice, asker, "ask", script)) == [5, 5]
    assert numbers(net.query(alice, asker, "look", SEE_COUNT)) == [0, 0]


def test_a_trap_takes_back_its_callback_alone_and_cleanup_is_kept(
    net: Gateway, alice: Identity
) -> None:
    asker, other = net.puppet(alice), net.puppet(alice)
    script = (
        puppet.add(1)
        + look(
            other,
            puppet.reply(),
            reply=puppet.add(10) + puppet.grow(1) + puppet.trap(),
            cleanup=puppet.add(1000),
        )
        + look(other, puppet.reply(), reply=SEE_COUNT)
    )
    assert numbers(net.query(alice, asker, "ask", script)) == [1001, 1001]
    assert numbers(net.query(alice, asker, "look", SEE_COUNT)) == [0, 0]
    net.call(alice, asker, "run", puppet.add(3) + puppet.reply())
    net.reopen()
    assert numbers(net.query(alice, asker, "look", SEE_COUNT)) == [3, 3]


def test_the_last_trap_is_the_answer(net: Gateway, alice: Identity) -> None:
    asker, other = net.puppet(alice), net.puppet(alice)
    with pytest.raises(RejectedError, match="IC0503"):
        net.query(alice, asker, "ask", look(other, puppet.reply(), reply=puppet.trap()))
    with pytest.raises(RejectedError, match="IC0506"):
        net.query(alice, asker, "ask", look(other, puppet.reply()))


@pytest.mark.parametrize(
    ("callee", "method", "words"),
    [
        (NOBODY, "look", "not found"),
        (None, "run", "IC0536"),
        (None, "absent", "IC0536"),
    ],
)
def test_only_queries_can_be_asked(
    net: Gateway, alice: Identity, callee: Principal | None, method: str, words: str
) -> None:
    asker, other = net.puppet(alice), net.puppet(alice)
    script = puppet.call(callee or other, puppet.reply(), method=method, reject=SEE_REJECT)
    reply = net.query(alice, asker, "ask", script)
    assert puppet.number(reply) == (3 if callee else 5)
    assert words in reply[8:].decode()


def test_six_canisters_may_wait_for_each_other_and_no_more(net: Gateway, alice: Identity) -> None:
    chain = [net.puppet(alice) for _ in range(8)]

    def nested(count: int) -> bytes:
        script = puppet.reply(b"deep")
        for canister in reversed(chain[1:count]):
            script = puppet.call(canister, script, method="ask", reply=FORWARD)
        return script

    assert net.query(alice, chain[0], "ask", nested(7)) == b"deep"
    with pytest.raises(RejectedError, match=r"IC0525.*maximum call depth"):
        net.query(alice, chain[0], "ask", nested(8))


def test_a_graph_has_ten_seconds(net: Gateway, alice: Identity) -> None:
    asker, other = net.puppet(alice), net.puppet(alice)
    slot = net.network.records.canisters.find(asker)
    assert slot is not None
    script = look(other, puppet.reply(b"!"), reply=FORWARD)
    for passed_s, code in ((9.9, ""), (10.0, "IC0528")):
        clock = iter([100.0, 100.0 + passed_s])
        graph = CallGraph(net.network.runtime, net.network.records, now_s=lambda: next(clock))  # noqa: B023
        found = graph.answer(slot, "ask", script, alice.principal, b"")
        assert (found.reject.error_code if found.reject else "") == code
        assert found.reply == (None if code else b"!")
    assert numbers(net.query(alice, asker, "look", SEE_COUNT)) == [0, 0]


def scratch(net: Gateway) -> list[str]:
    """Folders beside those that a network keeps."""
    return [path.name for path in net.folder.iterdir() if path.name.startswith("scratch-")]


@pytest.mark.parametrize("method", ["look", "ask"])
def test_a_canister_that_is_called_again_answers_from_its_state_of_before(
    net: Gateway, alice: Identity, method: str
) -> None:
    canister = net.puppet(alice)
    net.call(alice, canister, "run", puppet.add(5) + puppet.reply())
    again = puppet.add(100) + puppet.grow(2) + SEE_COUNT
    script = (
        puppet.add(1)
        + puppet.call(canister, again, method=method, reply=puppet.add(10))
        + puppet.call(canister, SEE_COUNT, method=method, reply=puppet.forward() + SEE_COUNT)
    )
    assert numbers(net.query(alice, canister, "ask", script)) == [5, 5, 16, 16]
    script = puppet.add(1) + puppet.call(canister, again, method=method, reply=FORWARD)
    assert numbers(net.query(alice, canister, "ask", script)) == [105, 105]
    assert numbers(net.query(alice, canister, "look", SEE_COUNT)) == [5, 5]
    net.call(alice, canister, "run", puppet.add(1) + puppet.reply())
    net.reopen()
    assert numbers(net.query(alice, canister, "look", SEE_COUNT)) == [6, 6]
    assert scratch(net) == []


def test_a_loop_of_two_goes_round_as_deep_as_any_graph(net: Gateway, alice: Identity) -> None:
    pair = [net.puppet(alice), net.puppet(alice)]

    def nested(count: int) -> bytes:
        script = puppet.add(1) + SEE_COUNT
        for at in reversed(range(1, count)):
            script = puppet.add(1) + puppet.call(pair[at % 2], script, method="ask", reply=FORWARD)
        return script

    assert numbers(net.query(alice, pair[0], "ask", nested(7))) == [1, 1]
    with pytest.raises(RejectedError, match=r"IC0525.*maximum call depth"):
        net.query(alice, pair[0], "ask", nested(8))
    for canister in pair:
        assert numbers(net.query(alice, canister, "look", SEE_COUNT)) == [0, 0]
    assert scratch(net) == []


def test_a_twin_that_traps_is_told_as_any_callee(net: Gateway, alice: Identity) -> None:
    canister = net.puppet(alice)
    boom = puppet.add(1) + puppet.grow(1) + puppet.trap()
    script = puppet.add(1) + look(canister, boom, reject=SEE_REJECT)
    reply = net.query(alice, canister, "ask", script)
    assert puppet.number(reply) == 5
    assert b"boom" in reply
    assert numbers(net.query(alice, canister, "look", SEE_COUNT)) == [0, 0]


def test_a_twin_that_finds_no_room_ends_the_query_and_leaves_nothing(
    net: Gateway, alice: Identity
) -> None:
    canister = net.puppet(alice)
    script = puppet.add(1) + look(canister, SEE_COUNT, reply=FORWARD)
    net.free_bytes = 0
    with pytest.raises(DiskFullError):
        net.query(alice, canister, "ask", script)
    assert numbers(net.query(alice, canister, "look", SEE_COUNT)) == [0, 0]
    net.free_bytes = 1 << 40
    assert numbers(net.query(alice, canister, "ask", script)) == [0, 0]
    assert scratch(net) == []


def test_what_a_kill_left_of_a_twin_is_gone_after_the_next_start(
    net: Gateway, alice: Identity
) -> None:
    canister = net.puppet(alice)
    left = net.folder / "scratch-left"
    left.mkdir()
    (left / "undo.log").write_bytes(b"half")
    net.reopen()
    assert scratch(net) == []
    assert numbers(net.query(alice, canister, "look", SEE_COUNT)) == [0, 0]


def test_a_composite_query_is_no_update(net: Gateway, alice: Identity) -> None:
    canister = net.puppet(alice)
    with pytest.raises(RejectedError, match="IC0527"):
        net.call(alice, canister, "ask", puppet.reply())


def test_queries_that_ask_each_other_at_once_all_end(net: Gateway, alice: Identity) -> None:
    first, second = net.puppet(alice), net.puppet(alice)
    replies: list[bytes] = []

    def ask(one: Principal, other: Principal) -> None:
        for _ in range(20):
            script = look(other, puppet.reply(b"!"), reply=FORWARD)
            replies.append(net.query(alice, one, "ask", script))
            net.call(alice, one, "run", puppet.add(1) + puppet.reply())

    threads = [
        threading.Thread(target=ask, args=pair) for pair in [(first, second), (second, first)] * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == [b"!"] * 80
    assert numbers(net.query(alice, first, "look", SEE_COUNT)) == [40, 40]
