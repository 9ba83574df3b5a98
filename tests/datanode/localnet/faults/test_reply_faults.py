"""Lies: what a node can claim and what certificates, signatures and ranges catch."""

from typing import Any

import pytest

from datanode.agent import certificate
from datanode.agent.signed_message import Unsettled
from datanode.errors import CertificateError
from datanode.localnet.api import LocalNetwork
from datanode.principal import Principal
from datanode.units import SECOND_NS
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.counter import argument, number


def proven(client: Client, net: LocalNetwork, canister: Principal, *, age_s: int = 300) -> int:
    """The counter's value as its data certificate proves it."""
    raw = client.query(canister, "certified")
    proof = certificate.open_certificate(
        raw,
        root_key=net.root_key,
        canister=canister,
        now_ns=client.agent.time_ns(),
        max_age_ns=age_s * SECOND_NS,
    )
    value = proof.tree.lookup([b"canister", canister.raw, b"certified_data"])
    assert isinstance(value, bytes)
    return int.from_bytes(value, "little")


def test_a_lie_is_believed_by_whoever_asks_no_certificate(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    """The node signs it: this is why the product reads with witnesses."""
    client.call(canister, "add", argument(5))
    net.faults.set("lie", canister=canister, method="get", at=7, xor=2)
    assert number(client.query(canister, "get")) == 7
    assert proven(client, net, canister) == 5


def test_a_lie_in_a_certificate_is_caught(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    client.call(canister, "add", argument(5))
    net.faults.set("lie", canister=canister, method="certified", at=100, xor=2)
    with pytest.raises(CertificateError):
        proven(client, net, canister)


def test_a_broken_signature_of_the_node_is_caught(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    net.faults.set("bad-signature", canister=canister)
    with pytest.raises(CertificateError) as caught:
        client.query(canister, "get")
    assert caught.value.exit_code == 23


def test_a_stale_answer_comes_with_the_certificate_of_its_time(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    client.call(canister, "add", argument(5))
    net.faults.mark(canister, "early")
    client.call(canister, "add", argument(1))
    net.faults.set("stale-query", canister=canister, mark="early")
    assert number(client.query(canister, "get")) == 5
    assert proven(client, net, canister) == 5
    assert number(client.call(canister, "add", argument(1))) == 7, "updates are not stale"
    net.faults.clear()
    assert proven(client, net, canister) == 7


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [("foreign-certificate", {}), ("old-certificate", {"age_s": 600}), ("pruned-certificate", {})],
)
class TestSpoiltCertificates:
    def test_a_data_certificate_is_not_believed(
        self,
        net: LocalNetwork,
        client: Client,
        canister: Principal,
        kind: str,
        parameters: dict[str, Any],
    ) -> None:
        net.faults.set(kind, canister=canister, verb="query", **parameters)
        client.call(canister, "add", argument(5))
        with pytest.raises((CertificateError, AssertionError)):
            proven(client, net, canister)

    def test_a_read_of_the_state_is_not_believed(
        self,
        net: LocalNetwork,
        client: Client,
        canister: Principal,
        kind: str,
        parameters: dict[str, Any],
    ) -> None:
        client.query(canister, "get")
        path = [b"canister", canister.raw, b"controllers"]
        net.faults.set(kind, canister=canister, verb="read_state", **parameters)
        if kind == "pruned-certificate":
            assert not isinstance(client.agent.read_state(canister, [path]).lookup(path), bytes)
            return
        with pytest.raises(CertificateError) as caught:
            client.agent.read_state(canister, [path])
        assert caught.value.exit_code == 23

    def test_the_answer_to_a_call_leaves_the_message_open(
        self,
        net: LocalNetwork,
        client: Client,
        canister: Principal,
        kind: str,
        parameters: dict[str, Any],
    ) -> None:
        message = client.agent.prepare(canister, "add", argument(5))
        net.faults.set(kind, canister=canister, verb="call", **parameters)
        if kind == "pruned-certificate":
            assert client.agent.send(message) is Unsettled.UNKNOWN
        else:
            # What a certificate says of a message stays true, however old it is.
            assert number(client.agent.send(message).data) == 5  # type: ignore[union-attr]
        net.faults.clear()
        assert number(client.settled(canister, message.request_id)) == 5
        assert number(client.query(canister, "get")) == 5
