"""datanode.agent.certificate: only what the root key vouches for is believed."""

import random
from pathlib import Path

import pytest

from datanode import cbor
from datanode.agent import bls, certificate
from datanode.agent.hash_tree import HashTree, Plan
from datanode.agent.network import MAINNET_ROOT_KEY
from datanode.agent.request_id import leb128
from datanode.errors import CertificateError
from datanode.principal import Principal
from tests.datanode.agent.subnet import APP, HIGH, LOW, ROOT, TIME_NS, Subnet, delegation
from tests.repetitions import repeated

MAINNET_REPLY = (Path(__file__).parent / "vectors" / "mainnet_reply.cbor").read_bytes()
MAINNET_TIME_NS = 1_753_272_354_975_173_830
MAINNET_CANISTER = Principal(bytes.fromhex("0000000000600b730101"))
CANISTER = Principal(bytes(7) + b"\x05\x01\x01")
MINUTE_NS = 60 * 10**9
PLAN: Plan = {
    b"time": leb128(TIME_NS),
    b"request_status": {b"\x01" * 32: {b"status": b"replied", b"reply": b"DIDL\0\0"}},
}


def opened(
    data: bytes,
    *,
    root_key: bytes = ROOT.public_key_der,
    canister: Principal | None = CANISTER,
    now_ns: int | None = TIME_NS,
) -> certificate.Certificate:
    return certificate.open_certificate(data, root_key=root_key, canister=canister, now_ns=now_ns)


def test_a_certificate_of_the_mainnet_is_verified_with_the_pinned_root_key() -> None:
    found = opened(
        MAINNET_REPLY,
        root_key=MAINNET_ROOT_KEY,
        canister=MAINNET_CANISTER,
        now_ns=MAINNET_TIME_NS,
    )
    assert found.time_ns == MAINNET_TIME_NS
    assert str(found.subnet).startswith("io67a-2jmkw-")
    [request] = found.tree.list_labels([b"request_status"])
    assert found.tree.lookup([b"request_status", request, b"status"]) == b"replied"


def test_no_flipped_bit_of_a_mainnet_certificate_is_accepted() -> None:
    accepted, bits = [], range(len(MAINNET_REPLY) * 8)
    assert len(bits) >= 10_000
    for bit in random.Random(9).sample(bits, repeated(2_500, len(bits))):
        flipped = bytearray(MAINNET_REPLY)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            opened(
                bytes(flipped), root_key=MAINNET_ROOT_KEY, canister=MAINNET_CANISTER, now_ns=None
            )
        except CertificateError:
            continue
        accepted.append(bit)
    assert accepted == []


def test_no_flipped_bit_of_a_certificate_with_sharded_ranges_is_accepted() -> None:
    data = APP.certify(PLAN, delegation=delegation(sharded=True))
    for bit in range(0, len(data) * 8, 5):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CertificateError):
            opened(bytes(flipped))


@pytest.mark.parametrize("sharded", [True, False])
def test_a_delegated_subnet_speaks_for_the_canisters_of_its_ranges(sharded: object) -> None:
    for canister in (LOW, CANISTER, HIGH, None):
        data = APP.certify(PLAN, delegation=delegation(sharded=bool(sharded)))
        found = opened(data, canister=canister)
        assert found.subnet == APP.principal
        assert found.tree.lookup([b"request_status", b"\x01" * 32, b"status"]) == b"replied"


@pytest.mark.parametrize("sharded", [True, False])
def test_a_canister_outside_the_ranges_is_refused(sharded: object) -> None:
    data = APP.certify(PLAN, delegation=delegation(high=LOW, sharded=bool(sharded)))
    assert opened(data, canister=LOW).time_ns == TIME_NS
    for canister in (CANISTER, Principal(b"")):
        with pytest.raises(CertificateError, match="does not host"):
            opened(data, canister=canister)


def test_verify_returns_the_tree_alone() -> None:
    data = ROOT.certify(PLAN)
    key = ROOT.public_key_der
    tree = certificate.verify(data, root_key=key, canister=CANISTER, now_ns=TIME_NS)
    assert tree == HashTree.from_dict(PLAN)
    with pytest.raises(CertificateError, match="old"):
        certificate.verify(
            data, root_key=key, canister=None, now_ns=TIME_NS + MINUTE_NS, max_age_ns=MINUTE_NS - 1
        )


def test_the_root_subnet_needs_no_delegation() -> None:
    assert opened(ROOT.certify(PLAN)).subnet == ROOT.principal


def test_another_root_key_is_refused() -> None:
    other = Subnet("another root")
    for data in (ROOT.certify(PLAN), APP.certify(PLAN, delegation=delegation())):
        with pytest.raises(CertificateError, match="does not belong"):
            opened(data, root_key=other.public_key_der)
    with pytest.raises(CertificateError, match="does not belong"):
        opened(APP.certify(PLAN, delegation=delegation(signer=other)))


def test_a_subnet_cannot_sign_for_another() -> None:
    with pytest.raises(CertificateError, match="does not belong"):
        opened(Subnet("imposter").certify(PLAN, delegation=delegation()))


def test_a_delegation_for_another_subnet_is_refused() -> None:
    wrong = delegation(to=Subnet("another")) | {"subnet_id": APP.principal.raw}
    with pytest.raises(CertificateError, match="missing"):
        opened(APP.certify(PLAN, delegation=wrong))


def test_nested_delegations_are_refused() -> None:
    middle = delegation(signer=APP, nested=delegation())
    with pytest.raises(CertificateError, match="inside a delegation"):
        opened(APP.certify(PLAN, delegation=middle))


@pytest.mark.parametrize(("off_ns", "words"), [(1, "old"), (-1, "in the future")])
def test_times_further_than_five_minutes_are_refused(off_ns: int, words: str) -> None:
    data = ROOT.certify(PLAN)
    assert opened(data, now_ns=TIME_NS + off_ns * 5 * MINUTE_NS).time_ns == TIME_NS
    with pytest.raises(CertificateError, match=words):
        opened(data, now_ns=TIME_NS + off_ns * (5 * MINUTE_NS + 1))
    assert opened(data, now_ns=None).time_ns == TIME_NS


@pytest.mark.parametrize("path", [b"time", b"request_status"])
def test_a_pruned_leaf_is_not_a_value(path: bytes) -> None:
    pruned = HashTree.from_dict(PLAN).prune([[path]])
    data = ROOT.certify(pruned)
    if path == b"time":
        found = opened(data).tree.lookup([b"request_status", b"\x01" * 32, b"status"])
        assert not isinstance(found, bytes)
    else:
        with pytest.raises(CertificateError, match="/time is missing"):
            opened(data)


def test_a_pruned_key_or_range_in_the_delegation_is_refused() -> None:
    whole = delegation()
    inner = cbor.decode(bytes(whole["certificate"]), max_depth=200)  # type: ignore[arg-type]
    assert isinstance(inner, dict)
    tree = HashTree.from_cbor(inner["tree"])
    subnet = APP.principal.raw
    kept = {
        "missing": tree.prune([[b"canister_ranges"], [b"time"]]),
        "does not host": tree.prune([[b"subnet", subnet, b"public_key"], [b"time"]]),
    }
    for words, pruned in kept.items():
        proof = {"subnet_id": subnet, "certificate": ROOT.certify(pruned)}
        with pytest.raises(CertificateError, match=words):
            opened(APP.certify(PLAN, delegation=proof))


def _g1(x: int, flags: int) -> bytes:
    return bytes([flags | x >> 376, *(x & (1 << 376) - 1).to_bytes(47)])


FIELD = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
    16,
)


@pytest.mark.parametrize(
    "signature",
    [
        b"\xff" * 48,
        bytes(48),
        _g1(4, 0x80),  # on the curve, outside the group of prime order
        _g1(1, 0x80),  # not on the curve
        _g1(FIELD, 0x80),
        _g1(FIELD + 4, 0x80),
        b"",
        bytes(96),
    ],
)
def test_rejects_signatures_that_are_no_canonical_point_of_the_group(signature: bytes) -> None:
    with pytest.raises(CertificateError):
        bls.verify(ROOT.public_key_der, signature, b"message")


def test_rejects_negated_and_non_canonical_signature() -> None:
    signature = ROOT.sign(b"message")
    bls.verify(ROOT.public_key_der, signature, b"message")
    negated = bytes([signature[0] ^ 0x20]) + signature[1:]
    x = int.from_bytes(signature) & (1 << 381) - 1
    for other in (negated, _g1(x + FIELD, signature[0] & 0xE0) if x + FIELD < 1 << 381 else b""):
        with pytest.raises(CertificateError):
            bls.verify(ROOT.public_key_der, other, b"message")


def test_the_point_at_infinity_is_refused_as_signature_and_as_key() -> None:
    infinity_g1, infinity_g2 = b"\xc0" + bytes(47), b"\xc0" + bytes(95)
    tree = HashTree.from_dict(PLAN)
    unsigned = cbor.encode({"tree": tree.to_cbor(), "signature": infinity_g1})
    for root_key in (ROOT.public_key_der, bls.DER_PREFIX + infinity_g2):
        with pytest.raises(CertificateError, match="infinity"):
            opened(unsigned, root_key=root_key)


def test_points_outside_the_group_and_odd_encodings_are_refused() -> None:
    good = ROOT.sign(b"message")
    key = ROOT.public_key_der
    bls.verify(key, good, b"message")
    on_curve_outside_group = b"\x80" + bytes(46) + b"\x04"
    for bad_key, bad_signature in (
        (key, good[:-1]),
        (key, good + b"\0"),
        (key, bytes([good[0] & 0x7F]) + good[1:]),
        (key, on_curve_outside_group),
        (key, b"\x9f" + b"\xff" * 47),
        (key[:-1], good),
        (key + b"\0", good),
        (b"\0" + key[1:], good),
        (key[:40] + bytes(93), good),
    ):
        with pytest.raises(CertificateError):
            bls.verify(bad_key, bad_signature, b"message")


def test_unknown_fields_and_trailing_bytes_are_refused() -> None:
    data = cbor.decode(ROOT.certify(PLAN), max_depth=200)
    assert isinstance(data, dict)
    for bad in (
        cbor.encode({**data, "more": 1}),
        cbor.encode({**data, "delegation": {**delegation(), "more": 1}}),
        cbor.encode(data) + b"\0",
        cbor.encode([]),
        b"",
    ):
        with pytest.raises(CertificateError, match="malformed"):
            opened(bad)


def test_the_canister_ranges_are_read_strictly() -> None:
    for ranges in ([[LOW.raw]], [[LOW.raw, bytes(30)]], [LOW.raw], [[LOW.raw, HIGH.raw, b""]]):
        leaf = cbor.encode(ranges)
        subnet = {b"public_key": APP.public_key_der, b"canister_ranges": leaf}
        proof = {
            "subnet_id": APP.principal.raw,
            "certificate": ROOT.certify({b"subnet": {APP.principal.raw: subnet}}),
        }
        with pytest.raises(CertificateError, match="malformed"):
            opened(APP.certify(PLAN, delegation=proof))


def test_node_keys_are_collected_from_the_tree() -> None:
    node = Principal(b"node")
    plan: Plan = {b"subnet": {APP.principal.raw: {b"node": {node.raw: {b"public_key": b"key"}}}}}
    tree = HashTree.from_dict(plan)
    assert certificate.node_keys(tree, APP.principal) == {node: b"key"}
    assert certificate.node_keys(tree, ROOT.principal) == {}
    assert certificate.node_keys(tree.prune([[b"time"]]), APP.principal) == {}
