"""The certified state: who may read what, what is proved, and by whom it is signed."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datanode import cbor
from datanode.agent import certificate, envelope
from datanode.agent.fields import CborFields
from datanode.agent.hash_tree import ABSENT, UNKNOWN
from datanode.agent.identity import Identity, anonymous
from datanode.agent.request_id import parse_leb128
from datanode.errors import CertificateError
from datanode.localnet.state import state_tree
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.message import NotAdmittedError
from datanode.localnet.state.state_tree import Collection
from datanode.localnet.state.topology import RANGES, canister_id
from datanode.units import DAY_S, SECOND_NS
from tests.fakes.counter import CANDID, argument, counter_wasm
from tests.fakes.gateway import Gateway


def request_of(body: bytes) -> bytes:
    return envelope.parse(body).request_id


def test_module_hash_controllers_and_metadata_are_certified(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    of = [b"canister", canister.raw]
    paths = [[*of, b"module_hash"], [*of, b"controllers"], [*of, b"metadata", b"candid:service"]]
    tree = net.read(anonymous(), canister, paths)
    assert tree.lookup(paths[0]) == hashlib.sha256(counter_wasm()).digest()
    assert tree.lookup(paths[1]) == cbor.encode([alice.principal.raw], tagged=True)
    assert tree.lookup(paths[2]) == CANDID.encode()
    assert tree.lookup([*of, b"certified_data"]) is UNKNOWN


def test_private_metadata_is_for_controllers(net: Gateway, alice: Identity, bob: Identity) -> None:
    canister = net.counter(alice)
    path = [b"canister", canister.raw, b"metadata", b"secret"]
    assert net.read(alice, canister, [path]).lookup(path) == b"for controllers"
    with pytest.raises(NotAdmittedError) as refused:
        net.read(bob, canister, [path])
    assert refused.value.status == 403


def test_a_section_that_is_not_there_is_proved_absent(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    path = [b"canister", canister.raw, b"metadata", b"nothing"]
    assert net.read(alice, canister, [path]).lookup(path) is ABSENT


def test_a_canister_without_code_has_no_module_hash(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice)
    path = [b"canister", canister.raw, b"module_hash"]
    assert net.read(alice, canister, [path]).lookup(path) is ABSENT
    other = canister_id(0x8000_0000_0010_1234)
    path = [b"canister", other.raw, b"controllers"]
    assert net.read(alice, other, [path]).lookup(path) is ABSENT


def test_only_its_sender_may_ask_for_a_request(
    net: Gateway, alice: Identity, bob: Identity
) -> None:
    canister, other = net.counter(alice), net.create(alice)
    body = net.signed_call(alice, canister, "add", argument(1))
    net.post_call(body, canister)
    path = [b"request_status", request_of(body)]
    assert net.read(alice, canister, [path]).lookup([*path, b"status"]) == b"replied"
    for who, where in ((bob, canister), (anonymous(), canister), (alice, other)):
        with pytest.raises(NotAdmittedError) as refused:
            net.read(who, where, [path])
        assert refused.value.status == 403


def test_an_unknown_request_is_proved_absent_among_others(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    for _ in range(5):
        net.call(alice, canister, "add", argument(1))
    for unknown in (bytes(32), b"\x80" * 32, b"\xff" * 32):
        path = [b"request_status", unknown, b"status"]
        assert net.read(alice, canister, [path]).lookup(path) is ABSENT


@pytest.mark.parametrize(
    ("paths", "status"),
    [
        ([[b"canister"]], 404),
        ([[b"request_status"]], 404),
        ([[b"streams"]], 404),
        ([[b"request_status", b"short"]], 400),
        ([[b"request_status", bytes(32)], [b"request_status", b"\1" * 32]], 400),
        ([[b"canister", b"\0" * 10, b"module_hash"]], 400),
        ([[b"time"]] * 1001, 400),
    ],
)
def test_paths_that_are_not_for_the_reader_are_refused(
    net: Gateway, alice: Identity, paths: list[list[bytes]], status: int
) -> None:
    canister = net.create(alice)
    with pytest.raises(NotAdmittedError) as refused:
        net.read(alice, canister, paths)
    assert refused.value.status == status


def test_an_anonymous_reader_may_set_any_expiry(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice)
    tree = net.read(anonymous(), canister, [[b"time"]], expires_s=-10_000)
    assert isinstance(tree.lookup([b"time"]), bytes)
    with pytest.raises(NotAdmittedError, match="Invalid request expiry: "):
        net.read(alice, canister, [[b"time"]], expires_s=-10_000)


def test_time_never_stands_still_or_goes_back(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice)
    times = []
    for step_s in (0, 0, -30, 5):
        net.wall.pass_s(step_s)
        value = net.read(anonymous(), canister, [[b"time"]]).lookup([b"time"])
        assert isinstance(value, bytes)
        times.append(parse_leb128(value))
    assert times == sorted(set(times))


def test_time_does_not_go_back_over_a_restart(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    before = net.network.traffic.clock.now_ns()
    net.call(alice, canister, "add", argument(1))
    net.wall.pass_s(-20)
    net.reopen()
    assert net.network.traffic.clock.now_ns() > before


def test_the_delegation_stays_the_same_for_a_day(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice)

    def delegation() -> bytes:
        content = envelope.read_state_content(
            [[b"time"]], sender=anonymous().principal, ingress_expiry_ns=0
        )
        body = envelope.sign(anonymous(), content)
        answer = net.interface.read_state(body, canister, RangesForm.SHARDS)
        raw = CborFields(cbor.decode(answer), "answer").data("certificate")
        inner = CborFields(
            CborFields(cbor.decode(raw, max_depth=99), "certificate").take("delegation"), ""
        )
        return inner.data("certificate")

    first = delegation()
    net.wall.pass_s(DAY_S - 10)
    assert delegation() == first
    net.wall.pass_s(20)
    assert delegation() != first


def test_a_certificate_does_not_speak_for_canisters_out_of_range(net: Gateway) -> None:
    raw = net.network.certification.certifier.certificate(net.network.certification.state(), [])
    for low, high in RANGES:
        for inside in (low, high):
            certificate.verify(raw, root_key=net.root_key, canister=inside, now_ns=net.wall())
    outside = canister_id(0x0200_0000)
    with pytest.raises(CertificateError, match="does not host"):
        certificate.verify(raw, root_key=net.root_key, canister=outside, now_ns=net.wall())


def test_the_root_subnet_speaks_without_a_delegation(net: Gateway) -> None:
    topology = net.network.topology
    for subnet in (topology.root_id, topology.subnet_id):
        content = envelope.read_state_content(
            [[b"subnet"], [b"canister_ranges", topology.subnet_id.raw]],
            sender=anonymous().principal,
            ingress_expiry_ns=net.wall() + SECOND_NS,
        )
        answer = net.interface.read_subnet_state(
            envelope.sign(anonymous(), content), subnet, RangesForm.SHARDS
        )
        raw = CborFields(cbor.decode(answer), "answer").data("certificate")
        opened = certificate.open_certificate(
            raw, root_key=net.root_key, canister=None, now_ns=net.wall()
        )
        assert opened.subnet == subnet
        keys = certificate.node_keys(opened.tree, topology.subnet_id)
        assert keys == {topology.node_id: topology.node_key}


def test_a_query_is_signed_by_the_node(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    for method in ("get", "nothing"):
        request, answer = net.query_answer(alice, canister, method)
        (signed,) = answer.list("signatures", 1)
        proof = CborFields(signed, "signature")
        fields = {
            name: answer.take(name)
            for name in ("status", "reply", "reject_code", "reject_message", "error_code")
            if name in answer
        }
        assert proof.principal("identity") == net.network.topology.node_id
        certificate.verify_query_signature(
            fields,
            request=request,
            timestamp_ns=proof.number("timestamp"),
            signature=proof.data("signature"),
            node_key=net.network.topology.node_key,
        )


def test_a_query_sees_a_certificate_for_its_certified_data(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(9))
    path = [b"canister", canister.raw, b"certified_data"]
    for _ in range(2):
        raw = net.query(alice, canister, "certified")
        assert net.verified(raw, canister).lookup(path) == (9).to_bytes(8, "little")
    net.call(alice, canister, "add", argument(1))
    raw = net.query(alice, canister, "certified")
    assert net.verified(raw, canister).lookup(path) == (10).to_bytes(8, "little")


def test_keys_and_names_outlive_a_restart_and_show_no_secret(net: Gateway) -> None:
    before = net.network.topology
    net.reopen()
    assert net.network.topology.root_key == before.root_key
    assert net.network.topology.node_id == before.node_id
    assert str(before.root_secret) not in repr(before)
    assert Path(net.folder / "seed").stat().st_mode & 0o777 == 0o600


labels = st.binary(min_size=1, max_size=2)


@given(st.dictionaries(labels, st.binary(max_size=3), max_size=12), st.lists(labels, max_size=6))
@settings(max_examples=200)
def test_a_sparse_tree_proves_what_is_asked_and_nothing_else(
    content: dict[bytes, bytes], asked: list[bytes]
) -> None:
    order = sorted(content)
    collection = Collection(
        lambda label: {b"v": content[label]} if label in content else None,
        lambda label: max((each for each in order if each < label), default=None),
        lambda label: min((each for each in order if each > label), default=None),
    )
    state: dict[bytes, state_tree.Branch] = {b"many": collection, b"other": {b"x": b"y"}}
    tree = state_tree.build(state, [(b"many", label) for label in asked])
    for label in {*asked, *order}:
        found = tree.lookup([b"many", label, b"v"])
        if label in asked:
            assert found == content.get(label, ABSENT)
        else:
            assert found is UNKNOWN
    assert tree.lookup([b"other", b"x"]) is UNKNOWN
    assert tree.lookup([b"nowhere"]) in (ABSENT, UNKNOWN)
