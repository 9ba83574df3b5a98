"""Hostile bytes at the door: refused with a line of text, never an exception of another kind."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datanode import cbor
from datanode.agent import envelope
from datanode.agent.identity import Identity, anonymous
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.message import NotAdmittedError
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import SECOND_NS
from tests.fakes.counter import argument
from tests.fakes.gateway import EMPTY, Gateway

METHODS = (
    "provisional_create_canister_with_cycles",
    "install_code",
    "install_chunked_code",
    "upload_chunk",
    "update_settings",
    "canister_status",
    "fetch_canister_logs",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, alice: Identity) -> tuple[Gateway, Principal]:
    gateway = Gateway(tmp_path_factory.mktemp("hostile") / "localnet")
    return gateway, gateway.counter(alice)


def knock(net: Gateway, canister: Principal, body: bytes) -> None:
    """Send bytes to every endpoint."""
    for ask in (
        lambda: net.interface.query(body, canister),
        lambda: net.interface.read_state(body, canister, RangesForm.SHARDS),
        lambda: net.interface.read_subnet_state(
            body, net.network.topology.subnet_id, RangesForm.LEAF
        ),
        lambda: net.interface.admit(body, canister),
        lambda: net.interface.admit(body, MANAGEMENT_CANISTER),
    ):
        refused = refusal(ask)
        assert refused is None or (400 <= refused.status < 500 and refused.text)


def refusal(ask: Callable[[], object]) -> NotAdmittedError | None:
    try:
        ask()
    except NotAdmittedError as refused:
        return refused
    return None


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_noise_is_refused(world: tuple[Gateway, Principal], noise: bytes) -> None:
    net, canister = world
    knock(net, canister, noise)


@given(st.data())
@settings(max_examples=150)
def test_a_changed_envelope_is_refused_or_harmless(
    world: tuple[Gateway, Principal], alice: Identity, data: st.DataObject
) -> None:
    net, canister = world
    contents = (
        envelope.call_content(
            canister,
            "add",
            argument(1),
            sender=alice.principal,
            ingress_expiry_ns=net.wall() + SECOND_NS,
        ),
        envelope.query_content(
            canister,
            "get",
            EMPTY,
            sender=alice.principal,
            ingress_expiry_ns=net.wall() + SECOND_NS,
        ),
        envelope.read_state_content(
            [[b"canister", canister.raw, b"metadata", b"candid:service"]],
            sender=alice.principal,
            ingress_expiry_ns=net.wall() + SECOND_NS,
        ),
    )
    body = bytearray(envelope.sign(alice, data.draw(st.sampled_from(contents))))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    knock(net, canister, bytes(body))


@given(st.sampled_from(METHODS), st.binary(max_size=80))
@settings(max_examples=150)
def test_arguments_of_the_management_canister_may_be_anything(
    world: tuple[Gateway, Principal], method: str, noise: bytes
) -> None:
    net, canister = world
    content = envelope.call_content(
        MANAGEMENT_CANISTER,
        method,
        b"DIDL" + noise,
        sender=anonymous().principal,
        ingress_expiry_ns=net.wall() + SECOND_NS,
    )
    knock(net, canister, envelope.sign(anonymous(), content))


def test_paths_may_be_anything(world: tuple[Gateway, Principal]) -> None:
    net, canister = world
    odd: list[list[list[bytes]]] = [
        [[]],
        [[b""]],
        [[b"time", b"x"]],
        [[b"subnet", b"", b"node", b"\xff" * 40]],
    ]
    for paths in odd:
        content = envelope.read_state_content(
            paths, sender=anonymous().principal, ingress_expiry_ns=0
        )
        knock(net, canister, cbor.encode({"content": content}))
