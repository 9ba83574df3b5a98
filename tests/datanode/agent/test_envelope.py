"""datanode.agent.envelope: what was signed is what is read, and nobody else signed it."""

import contextlib
import itertools
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from datanode import cbor
from datanode.agent import envelope, identity
from datanode.agent.request_id import request_id
from datanode.errors import DataNodeError, FormatError, UnauthorizedError
from datanode.principal import ANONYMOUS, MANAGEMENT_CANISTER, Principal

CANISTER = Principal(b"\0\0\0\0\0\0\0\x05\x01\x01")
EXPIRY_NS = 1_750_000_000_000_000_000


class Key:
    """A signer of any kind."""

    def __init__(self, kind: str) -> None:
        self.key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
        if kind == "ed25519":
            self.key = ed25519.Ed25519PrivateKey.generate()
        else:
            self.key = ec.generate_private_key(
                ec.SECP256K1() if kind == "secp256k1" else ec.SECP256R1()
            )

    @property
    def public_key_der(self) -> bytes:
        public = self.key.public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def principal(self) -> Principal:
        return Principal.self_authenticating(self.public_key_der)

    def sign(self, message: bytes) -> bytes:
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        r, s = decode_dss_signature(self.key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)


def call(who: Principal, **more: object) -> dict[str, cbor.Encodable]:
    content = envelope.call_content(
        CANISTER, "put", b"argument", sender=who, ingress_expiry_ns=EXPIRY_NS, nonce=b"n"
    )
    return {**content, **more}  # type: ignore[dict-item]


def check(body: bytes, now_ns: int = EXPIRY_NS, canister: Principal = CANISTER) -> None:
    envelope.verify_envelope(envelope.parse(body), now_ns, canister)


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1", "p256"])
def test_a_signed_call_is_read_back_and_verified(kind: str) -> None:
    key = Key(kind)
    identifier, body = envelope.seal(key, call(key.principal))
    parsed = envelope.parse(body)
    assert parsed.request_type is envelope.RequestType.CALL
    assert parsed.request_id == identifier
    assert (parsed.sender, parsed.canister) == (key.principal, CANISTER)
    assert (parsed.method, parsed.arg, parsed.nonce) == ("put", b"argument", b"n")
    assert parsed.ingress_expiry_ns == EXPIRY_NS
    envelope.verify_envelope(parsed, EXPIRY_NS, CANISTER)
    assert envelope.sign(key, call(key.principal))[:3] == cbor.SELF_DESCRIBED


def test_our_own_identities_sign_what_is_accepted(tmp_path: Path) -> None:
    who = identity.generate(tmp_path / "identity.pem")
    check(envelope.sign(who, call(who.principal)))


def test_an_anonymous_request_carries_its_content_alone() -> None:
    nobody = identity.anonymous()
    content = envelope.query_content(
        CANISTER, "models", b"", sender=ANONYMOUS, ingress_expiry_ns=EXPIRY_NS
    )
    body = envelope.sign(nobody, content)
    assert cbor.decode(body) == {"content": content}
    check(body)
    extras: list[dict[str, cbor.Encodable]] = [
        {"sender_pubkey": b"k"},
        {"sender_sig": b"s"},
        {"sender_delegation": [link()]},
    ]
    for extra in extras:
        with pytest.raises(UnauthorizedError, match="anonymous"):
            check(cbor.encode({**extra, "content": content}))


def test_a_read_state_has_paths_and_no_canister() -> None:
    paths = [[b"time"], [b"request_status", b"\x01" * 32]]
    content = envelope.read_state_content(paths, sender=ANONYMOUS, ingress_expiry_ns=EXPIRY_NS)
    parsed = envelope.parse(envelope.sign(identity.anonymous(), content))
    assert parsed.paths == ((b"time",), (b"request_status", b"\x01" * 32))
    assert parsed.canister is None
    assert parsed.request_id == request_id(content)


def test_fields_that_javascript_leaves_undefined_count_as_absent() -> None:
    content = call(ANONYMOUS)
    del content["nonce"]
    plain = envelope.parse(cbor.encode({"content": content}))
    padded = envelope.parse(
        cbor.encode({"content": {**content, "nonce": None}, "sender_delegation": None})
    )
    assert plain == padded


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1", "p256"])
def test_no_changed_byte_of_a_signed_call_is_accepted(kind: str) -> None:
    key = Key(kind)
    body = envelope.sign(key, call(key.principal))
    choose = random.Random(7)
    for at in range(len(body)):
        changed = bytearray(body)
        changed[at] ^= 1 << choose.randrange(8)
        with pytest.raises((FormatError, UnauthorizedError)):
            check(bytes(changed))


def test_unsigned_and_borrowed_senders_are_refused() -> None:
    key, other = Key("ed25519"), Key("ed25519")
    content = call(key.principal)
    with pytest.raises(UnauthorizedError, match="not signed"):
        check(cbor.encode({"content": content}))
    with pytest.raises(UnauthorizedError, match="not the principal"):
        check(envelope.sign(other, content))
    signed: dict[str, cbor.Encodable] = {"content": content, "sender_pubkey": key.public_key_der}
    with pytest.raises(UnauthorizedError, match="64 bytes"):
        check(cbor.encode({**signed, "sender_sig": b"short"}))


def link(
    signer: Key | None = None,
    to: Key | None = None,
    *,
    expires_ns: int = EXPIRY_NS,
    targets: list[Principal] | None = None,
) -> dict[str, cbor.Encodable]:
    signer, to = signer or Key("ed25519"), to or Key("ed25519")
    fields: dict[str, cbor.Encodable] = {"pubkey": to.public_key_der, "expiration": expires_ns}
    if targets is not None:
        fields["targets"] = [target.raw for target in targets]
    message = b"\x1aic-request-auth-delegation" + request_id(fields)
    return {"delegation": fields, "signature": signer.sign(message)}


def delegated(first: Key, last: Key, chain: list[dict[str, cbor.Encodable]]) -> bytes:
    content = call(first.principal)
    return cbor.encode(
        {
            "content": content,
            "sender_pubkey": first.public_key_der,
            "sender_sig": last.sign(b"\x0aic-request" + request_id(content)),
            "sender_delegation": chain,
        }
    )


def test_chains_of_delegations_are_followed() -> None:
    keys = [Key(kind) for kind in ("p256", "ed25519", "secp256k1", "ed25519")]
    chain = [link(a, b, targets=[CANISTER]) for a, b in itertools.pairwise(keys)]
    check(delegated(keys[0], keys[-1], chain))
    check(delegated(keys[0], keys[1], chain[:1]))


def test_twenty_delegations_are_the_most() -> None:
    keys = [Key("ed25519") for _ in range(22)]
    chain = [link(a, b) for a, b in itertools.pairwise(keys)]
    check(delegated(keys[0], keys[20], chain[:20]))
    with pytest.raises(FormatError, match="more than 20"):
        check(delegated(keys[0], keys[21], chain))


def test_delegations_that_do_not_hold_are_refused() -> None:
    first, last, other = Key("ed25519"), Key("ed25519"), Key("ed25519")
    cases = {
        "does not belong": [link(other, last)],
        "expired": [link(first, last, expires_ns=EXPIRY_NS - 1)],
        "does not allow": [link(first, last, targets=[MANAGEMENT_CANISTER])],
        "circle": [link(first, other), link(other, first), link(first, last)],
    }
    for words, chain in cases.items():
        with pytest.raises(UnauthorizedError, match=words):
            check(delegated(first, last, chain))
    with pytest.raises(UnauthorizedError, match="does not allow"):
        check(delegated(first, last, [link(first, last, targets=[])]))
    with pytest.raises(UnauthorizedError, match="does not belong"):
        check(delegated(first, first, [link(first, last)]))


@pytest.mark.parametrize("oid", ["060a2b0601040183b8430101", "060a2b0601040183b8430102"])
def test_webauthn_and_canister_signatures_are_refused_by_name(oid: str) -> None:
    key = b"\x30\x20" + bytes.fromhex(oid) + b"rest"
    content = call(Principal.self_authenticating(key))
    body = cbor.encode({"content": content, "sender_pubkey": key, "sender_sig": bytes(64)})
    with pytest.raises(FormatError, match=r"WebAuthn|canister signature"):
        check(body)


def test_keys_of_other_kinds_are_refused() -> None:
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key()
    der = p384.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for key in (der, b"no key", b""):
        content = call(Principal.self_authenticating(key))
        body = cbor.encode({"content": content, "sender_pubkey": key, "sender_sig": bytes(64)})
        with pytest.raises(FormatError):
            check(body)


MALFORMED: dict[str, cbor.Encodable] = {
    "not a map": [],
    "no content": {},
    "an unknown field": {"content": call(ANONYMOUS), "more": 1},
    "content: not a map": {"content": b""},
    "content: an unknown field": {"content": call(ANONYMOUS, more=1)},
    "unknown request_type": {"content": call(ANONYMOUS, request_type="delete")},
    "request_type is not text": {"content": call(ANONYMOUS, request_type=1)},
    "at most 29": {"content": call(ANONYMOUS, sender=bytes(30))},
    "ingress_expiry is not a number": {"content": call(ANONYMOUS, ingress_expiry=True)},
    "nonce has more than 32": {"content": call(ANONYMOUS, nonce=bytes(33))},
    "arg is not a byte string": {"content": call(ANONYMOUS, arg="text")},
    "no method_name": {"content": call(ANONYMOUS, method_name=None)},
    "sender_pubkey has more": {"content": call(ANONYMOUS), "sender_pubkey": bytes(1025)},
    "sender_sig has more": {"content": call(ANONYMOUS), "sender_sig": bytes(4097)},
    "delegation: not an array": {"content": call(ANONYMOUS), "sender_delegation": {}},
    "signed delegation: not a map": {"content": call(ANONYMOUS), "sender_delegation": [1]},
    "more than 1000": {
        "content": call(ANONYMOUS),
        "sender_delegation": [
            {
                "delegation": {"pubkey": b"", "expiration": 1, "targets": [b""] * 1001},
                "signature": b"",
            }
        ],
    },
}


@pytest.mark.parametrize("words", sorted(MALFORMED))
def test_malformed_envelopes_are_refused_with_their_reason(words: str) -> None:
    with pytest.raises(FormatError, match=words):
        envelope.parse(cbor.encode(MALFORMED[words]))


def test_paths_are_bounded() -> None:
    cases: list[cbor.Encodable] = [[[b""]] * 1001, [[b""] * 128], [b"time"], [["time"]]]
    for paths in cases:
        content: dict[str, cbor.Encodable] = {
            "request_type": "read_state",
            "sender": b"\x04",
            "ingress_expiry": 1,
            "paths": paths,
        }
        with pytest.raises(FormatError):
            envelope.parse(cbor.encode({"content": content}))


@given(st.binary(max_size=60), st.integers(0, 10_000), st.integers(0, 40))
def test_hostile_bytes_give_an_envelope_or_a_typed_error(noise: bytes, at: int, cut: int) -> None:
    start = at % len(SIGNED)
    with contextlib.suppress(DataNodeError):
        check(SIGNED[:start] + noise + SIGNED[start + cut :])


SIGNER = Key("ed25519")
SIGNED = envelope.sign(SIGNER, call(SIGNER.principal))
