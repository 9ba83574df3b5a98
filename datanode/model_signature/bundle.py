"""A bundle: a signed statement in the form of Sigstore, as far as keys sign it.

JSON of at most 16 MiB; what else it holds is ignored, as the Sigstore bundle specification asks::

    {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
     "verificationMaterial": {"publicKey": {"hint": <SHA-256 of the key's PEM form, hex>}},
     "dsseEnvelope": {"payload": <statement, base64>,
                      "payloadType": "application/vnd.in-toto+json",
                      "signatures": [{"sig": <ECDSA in DER, base64>}]}}

The hint is not signed, and signers differ in how they make it, so it decides nothing: it says why a
signature does not verify. The signature is over
`DSSEv1 <length of type> <type> <length of payload> <payload>`. Nothing of the statement is parsed
before it is verified. Sources: Sigstore bundle 0.3, DSSE 1.0.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from datanode.errors import SignatureError
from datanode.model_signature.public_key import PublicKey
from datanode.strict_json import StrictJson
from datanode.text import printable
from datanode.units import MIB

MAX_BUNDLE_BYTES: Final = 16 * MIB
"""Largest bundle that is read, bytes. Ours: 600 bytes for each file that a head can name."""

MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
_JSON: Final = StrictJson(refused=SignatureError, max_entries=1_000, numbers_matter=False)
"""A bundle has some twenty entries. Ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle that was parsed and not yet verified.

    Attributes:
        hint: How it names its key; None in bundles of old signers.
        payload: The statement.
        signature: ECDSA signature, DER.
    """

    hint: str | None
    payload: bytes
    signature: bytes


def parse_bundle(raw: bytes) -> Bundle:
    """Parse an untrusted bundle.

    Raises:
        SignatureError: It is not a bundle that a key signed.
    """
    if len(raw) > MAX_BUNDLE_BYTES:
        raise SignatureError(f"it has more than {MAX_BUNDLE_BYTES:,} bytes")
    content = _JSON.read_object(raw, "it")
    media_type = content.get("mediaType")
    if media_type != MEDIA_TYPE:
        raise SignatureError(
            f"it is not a Sigstore bundle of version 0.3: its media type is {_shown(media_type)}"
        )
    match content.get("verificationMaterial"):
        case {"certificate": _} | {"x509CertificateChain": _}:
            raise SignatureError(
                "it is signed with a certificate, not with a key",
                hint="Fetch the model, and verify it with `model_signing verify`.",
            )
        case {"publicKey": {"hint": str(hint)}}:
            pass
        case {"publicKey": {**others}} if others.get("hint") is None:
            hint = ""
        case _:
            raise SignatureError("it does not name a public key")
    match content.get("dsseEnvelope"):
        case {"payload": str(payload), "payloadType": str(kind), "signatures": [{"sig": str(sig)}]}:
            pass
        case {"signatures": list(signatures)} if len(signatures) != 1:
            raise SignatureError(f"it has {len(signatures)} signatures in place of one")
        case _:
            raise SignatureError("it has no DSSE envelope with one signature")
    if kind != PAYLOAD_TYPE:
        raise SignatureError(f"its payload is {_shown(kind)}, not an in-toto statement")
    return Bundle(
        hint=hint or None,
        payload=_base64(payload, "payload"),
        signature=_base64(sig, "signature"),
    )


def open_bundle(raw: bytes, key: PublicKey) -> bytes:
    """Verify an untrusted bundle and return the statement that the key signed.

    Raises:
        SignatureError: The key did not sign it.
    """
    bundle = parse_bundle(raw)
    head = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} {len(bundle.payload)} "
    try:
        key.check(bundle.signature, head.encode() + bundle.payload)
    except SignatureError:
        if bundle.hint in {None, key.hint}:
            raise
        raise SignatureError(
            f"it is signed with another key: it names {_shown(bundle.hint)}, "
            f"and the given key is {key.hint}"
        ) from None
    return bundle.payload


def _base64(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError(f"its {what} is not base64") from None


def _shown(value: object) -> str:
    return printable(value, 100) if isinstance(value, str) else "missing"
