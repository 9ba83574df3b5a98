"""Canisters call each other: answers, callbacks, traps, cleanup, cycles and what they cost."""

from datanode.agent.identity import Identity
from tests.fakes import puppet
from tests.fakes.gateway import Gateway
from tests.fakes.puppet import See


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
    assert puppet.number(net.query(alice, callee, "count")) == 5
    assert puppet.number(net.query(alice, caller, "count")) == 1
