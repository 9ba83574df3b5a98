"""Faults of calls between canisters: what the caller is told, and what has happened."""

import pytest

from datanode.agent.identity import Identity
from datanode.errors import UsageError
from datanode.localnet.machine.rejects import RejectCode
from datanode.localnet.state import ledger
from datanode.localnet.state.fault import Fault, FaultKind, FaultVerb
from datanode.principal import Principal
from datanode.units import TC
from tests.fakes import puppet
from tests.fakes.gateway import Gateway
from tests.fakes.puppet import See

FORWARD = puppet.forward() + puppet.reply()
SEE_REJECT = (
    puppet.see(See.REJECT_CODE)
    + puppet.see(See.REFUNDED)
    + puppet.forward_reject()
    + puppet.reply()
)
COUNT = puppet.see(See.COUNT) + puppet.reply()
SENT = TC // 10


def called(
    net: Gateway, who: Identity, pair: tuple[Principal, Principal], timeout_s: int | None = None
) -> bytes:
    caller, callee = pair
    script = puppet.add(1) + puppet.reply(b"done")
    call = puppet.call(
        callee, script, cycles=SENT, reply=FORWARD, reject=SEE_REJECT, timeout_s=timeout_s
    )
    return net.call(who, caller, "run", call)


def count(net: Gateway, who: Identity, canister: Principal) -> int:
    return puppet.number(net.query(who, canister, "look", COUNT))


@pytest.fixture
def pair(net: Gateway, alice: Identity) -> tuple[Principal, Principal]:
    return net.puppet(alice), net.puppet(alice)


@pytest.mark.parametrize(
    ("kind", "timeout_s", "outcome"),
    [
        (FaultKind.REFUSE_CALL, None, (RejectCode.SYS_TRANSIENT, 0)),
        (FaultKind.REFUSE_CALL, 60, (RejectCode.SYS_TRANSIENT, 0)),
        (FaultKind.LOSE_CALL, 60, (RejectCode.SYS_UNKNOWN, 0)),
        (FaultKind.LOSE_RESPONSE, 60, (RejectCode.SYS_UNKNOWN, 1)),
    ],
)
def test_a_call_that_is_struck_is_told_as_the_network_tells_it(
    net: Gateway,
    alice: Identity,
    pair: tuple[Principal, Principal],
    *,
    kind: FaultKind,
    timeout_s: int | None,
    outcome: tuple[RejectCode, int],
) -> None:
    code, executed = outcome
    net.network.traffic.faults.set(Fault(kind=kind, canister=pair[1], method="run", count=1))
    before = sum(net.balance(each) for each in pair)
    told = called(net, alice, pair, timeout_s)
    assert (puppet.number(told), puppet.number(told, 1)) == (code, SENT)
    assert count(net, alice, pair[1]) == executed
    assert called(net, alice, pair, timeout_s) == b"done"
    assert count(net, alice, pair[1]) == executed + 1
    entries = [e for e in ledger.page(net.network.records.database) if e.canister in pair]
    assert -sum(each.total_cycles for each in entries) == sum(net.balance(each) for each in pair)
    assert sum(net.balance(each) for each in pair) < before
    assert net.network.traffic.calls.are_none_of(pair[0])


@pytest.mark.parametrize("kind", [FaultKind.LOSE_CALL, FaultKind.LOSE_RESPONSE])
def test_a_call_that_waits_for_as_long_as_it_takes_is_never_lost(
    net: Gateway, alice: Identity, pair: tuple[Principal, Principal], kind: FaultKind
) -> None:
    net.network.traffic.faults.set(Fault(kind=kind))
    assert called(net, alice, pair) == b"done"
    ((standing),) = net.network.traffic.faults.standing()
    assert standing["struck_count"] == 0


def test_an_ingress_message_is_no_call_between_canisters(net: Gateway, alice: Identity) -> None:
    canister = net.puppet(alice)
    for kind in (FaultKind.REFUSE_CALL, FaultKind.LOSE_CALL, FaultKind.LOSE_RESPONSE):
        net.network.traffic.faults.set(Fault(kind=kind))
    assert net.call(alice, canister, "run", puppet.reply(b"!")) == b"!"
    with pytest.raises(UsageError, match="concerns call"):
        Fault(kind=FaultKind.REFUSE_CALL, verb=FaultVerb.QUERY)
