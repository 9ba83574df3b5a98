"""Signatures of people and nodes: Ed25519, and ECDSA on secp256k1 and P-256.

A public key is a DER SubjectPublicKeyInfo. An Ed25519 signature has 64 bytes; an ECDSA signature
is r and s, 32 bytes each, over SHA-256 (interface specification, "Signatures"). Both values of s
are accepted, as the Internet Computer does: only signers must normalise.
"""

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from datanode.errors import CertificateError, FormatError, UnauthorizedError

SIGNATURE_BYTES: Final = 64
MAX_PUBLIC_KEY_BYTES: Final = 1024
"""Longest key that is looked at. Ours: a P-256 key in DER has 91 bytes."""

_SCALAR_BYTES: Final = 32
_COSE_OID: Final = bytes.fromhex("060a2b0601040183b8430101")
_CANISTER_SIGNATURE_OID: Final = bytes.fromhex("060a2b0601040183b8430102")


def verify(public_key_der: bytes, signature: bytes, message: bytes) -> None:
    """Check a signature.

    Raises:
        FormatError: The key is not a DER key of a supported kind.
        UnauthorizedError: The signature is not one of this key over this message.
    """
    key = _load(public_key_der)
    if len(signature) != SIGNATURE_BYTES:
        raise UnauthorizedError(f"a signature has 64 bytes, not {len(signature)}")
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, message)
        else:
            r = int.from_bytes(signature[:_SCALAR_BYTES])
            s = int.from_bytes(signature[_SCALAR_BYTES:])
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise UnauthorizedError("the signature does not belong to the key and message") from None


def verify_signature(public_key_der: bytes, message: bytes, signature: bytes) -> None:
    """Check a signature where a bad one means that a document proves nothing.

    Raises:
        CertificateError: The key is unusable, or the signature is not its own.
    """
    try:
        verify(public_key_der, signature, message)
    except (FormatError, UnauthorizedError) as error:
        raise CertificateError(f"a signature does not hold: {error.what}") from error


def _load(public_key_der: bytes) -> Ed25519PublicKey | ec.EllipticCurvePublicKey:
    if len(public_key_der) > MAX_PUBLIC_KEY_BYTES:
        raise FormatError("a public key of more than 1,024 bytes")
    if _COSE_OID in public_key_der:
        raise FormatError("a WebAuthn key; only Ed25519, secp256k1 and P-256 keys are supported")
    if _CANISTER_SIGNATURE_OID in public_key_der:
        raise FormatError("a canister signature; only Ed25519, secp256k1 and P-256 are supported")
    try:
        key = load_der_public_key(public_key_der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise FormatError("not a public key in DER") from None
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
        key.curve, ec.SECP256K1 | ec.SECP256R1
    ):
        return key
    raise FormatError("a key of a kind that the Internet Computer does not know")
