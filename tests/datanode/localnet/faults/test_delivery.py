"""Faults of delivery over HTTP, and what our agent makes of them: every message runs once."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from datanode.agent import envelope
from datanode.agent.identity import Identity
from datanode.agent.message_outcome import OPEN
from datanode.agent.network import Network
from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.agent.transport import TransportError
from datanode.errors import NetworkError
from datanode.localnet.api import LocalNetwork
from datanode.principal import Principal
from datanode.units import SECOND_NS
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.counter import argument, number
from tests.fakes.gateway import EMPTY


@contextmanager
def impatient(net: LocalNetwork, who: Identity) -> Iterator[Client]:
    """A client that does not wait between two attempts, and does not tire either."""
    with Client(Network(url=net.url, root_key=net.root_key, name="test"), who) as made:
        made.agent._sleep = lambda _: time.sleep(0.01)
        yield made


def added(net: LocalNetwork, canister: Principal) -> int:
    """How many `add` messages of a canister the ledger has."""
    mine = [entry for entry in net.ledger() if entry.canister == canister]
    return sum(entry.method == "add" for entry in mine)


def signed(client: Client, canister: Principal, life_s: float) -> SignedMessage:
    """A message that lives so long."""
    expiry_ns = client.agent.time_ns() + int(life_s * SECOND_NS)
    content = envelope.call_content(
        canister,
        "add",
        argument(1),
        sender=client.agent.identity.principal,
        ingress_expiry_ns=expiry_ns,
        nonce=time.time_ns().to_bytes(8),
    )
    request_id, body = envelope.seal(client.agent.identity, content)
    return SignedMessage(
        request_id=request_id,
        canister=canister,
        sender=client.agent.identity.principal,
        expiry_ns=expiry_ns,
        body=body,
    )


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("latency", {"ms": 50}),
        ("lose-request", {}),
        ("lose-answer", {}),
        ("busy", {"status": 429, "retry_after_s": 0}),
        ("busy", {"status": 503}),
        ("late", {"ms": 100}),
        ("duplicate", {"copies": 5}),
        ("duplicate", {"copies": 2, "ms": 50}),
        ("blocks", {"interval_ms": 50}),
    ],
)
def test_a_call_through_a_fault_of_delivery_runs_once_and_is_answered(
    net: LocalNetwork, alice: Identity, canister: Principal, kind: str, parameters: dict[str, Any]
) -> None:
    net.faults.set(kind, verb="call", method="add", every=2, **parameters)
    net.faults.set(kind, verb="call", method="add", count=1, **parameters)
    with impatient(net, alice) as client:
        for expected in range(1, 5):
            assert number(client.call(canister, "add", argument(1))) == expected
    assert net.faults.struck_count() >= 3
    assert added(net, canister) == 4


@pytest.mark.parametrize("verb", ["query", "read_state"])
@pytest.mark.parametrize("kind", ["lose-request", "lose-answer", "busy"])
def test_questions_are_asked_again(
    net: LocalNetwork, alice: Identity, canister: Principal, verb: str, kind: str
) -> None:
    with impatient(net, alice) as client:
        net.faults.set(kind, verb="query" if verb == "query" else "read_state", count=2)
        assert number(client.query(canister, "get")) == 0
        client.agent.read_state(canister, [[b"canister", canister.raw, b"controllers"]])
        assert net.faults.struck_count() == 2


def test_a_network_that_stays_busy_is_given_up_and_the_wish_to_wait_is_heard(
    net: LocalNetwork, alice: Identity, canister: Principal
) -> None:
    with impatient(net, alice) as client:
        client.query(canister, "get")
        net.faults.set("busy", verb="query", status=429, retry_after_s=7)
        waits: list[float] = []
        client.agent._sleep = waits.append
        with pytest.raises(TransportError, match="429") as caught:
            client.query(canister, "get")
    assert caught.value.exit_code == NetworkError.exit_code == 30
    assert set(waits) == {7.0}


def test_a_late_message_is_absent_until_it_runs(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    net.faults.set("late", ms=700, method="add")
    message = client.agent.prepare(canister, "add", argument(1))
    assert client.agent.send(message) is Unsettled.ACCEPTED
    found = client.agent.recover(message.request_id, canister, message.expiry_ns)
    assert found is Unsettled.UNKNOWN
    assert added(net, canister) == 0
    assert number(client.settled(canister, message.request_id)) == 1


def test_messages_that_wait_hold_no_thread(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    """More than the server has threads for; each would wait for an hour."""
    net.faults.set("late", ms=3_600_000, method="add", count=40)
    for _ in range(40):
        message = client.agent.prepare(canister, "add", argument(1))
        assert client.agent.send(message) is Unsettled.ACCEPTED
    assert number(client.call(canister, "add", argument(1))) == 1


def test_a_message_that_comes_just_before_its_expiry_runs(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    net.faults.set("late", before_expiry_ms=1_500, method="add")
    message = signed(client, canister, 2.0)
    assert client.agent.send(message) is Unsettled.ACCEPTED
    assert number(client.settled(canister, message.request_id)) == 1


def test_a_message_that_comes_just_after_its_expiry_is_proven_never_to_have_run(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    net.faults.set("late", before_expiry_ms=-300, method="add")
    message = signed(client, canister, 0.5)
    found = client.agent.send(message)
    while found in OPEN:
        time.sleep(0.05)
        found = client.agent.recover(message.request_id, canister, message.expiry_ns)
    assert found is Unsettled.EXPIRED
    time.sleep(0.4)
    assert added(net, canister) == 0


def test_blocks_hold_updates_back_and_leave_queries_alone(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    """Three messages, one a block: none is done while the first block is still open."""
    net.faults.set("blocks", interval_ms=400, messages=1, method="add")
    messages = [client.agent.prepare(canister, "add", argument(1)) for _ in range(3)]
    net.faults.set("late", method="add")  # so that sending does not wait
    for message in messages:
        client.agent.send(message)
        client.query(canister, "get")
    for message in messages:
        client.settled(canister, message.request_id)
    entries = [entry for entry in net.ledger() if entry.canister == canister]
    times = [entry.time_ns for entry in entries if entry.method == "add"]
    assert len(times) == 3
    assert times[2] - times[0] >= 400_000_000


def test_probability_with_a_seed_strikes_the_same_requests_again(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    def struck() -> list[bool]:
        net.faults.clear()
        net.faults.set("busy", verb="query", probability=0.5, seed=7)
        found = []
        for _ in range(20):
            before = net.faults.struck_count()
            with suppress(TransportError):
                client.agent._queries.ask(canister, "get", EMPTY)
            found.append(net.faults.struck_count() > before)
        return found

    client.query(canister, "get")
    first = struck()
    assert 0 < sum(first) < 20
    assert struck() == first


def test_a_network_that_was_killed_comes_back_without_faults(
    running: LocalNetwork, net: LocalNetwork, alice: Identity, canister: Principal
) -> None:
    net.faults.set("lose-answer")
    net.faults.set("skew", s=3600)
    running.kill()
    running.start()
    assert net.faults.standing() == []
    with impatient(net, alice) as client:
        assert number(client.call(canister, "add", argument(1))) == 1
        assert abs(client.agent.skew_ns) < 5 * SECOND_NS
