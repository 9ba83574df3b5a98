"""The signer's public key: a PEM file with a point on P-256, P-384 or P-521.

Bundles of model-signing 1.1.1 name their key by the SHA-256 of its PEM form.
"""

import hashlib
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from datanode.errors import SignatureError, UsageError
from datanode.files import disk_errors

MAX_KEY_BYTES: Final = 65_536
"""Largest file that is read as a key. Ours."""

_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
"""Hash of each curve. Source: model-signing 1.1.1, after Sigstore's registry of algorithms."""


class PublicKey:
    """A key that verifies bundles."""

    __slots__ = ("_key", "der", "hint")

    der: bytes
    """SubjectPublicKeyInfo, DER."""
    hint: str
    """How bundles of `model_signing` name the key: SHA-256 of its PEM form, hexadecimal."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        self._key = key
        self.der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.hint = hashlib.sha256(pem).hexdigest()

    @classmethod
    def parse(cls, der: bytes) -> "PublicKey":
        """Read a key from DER.

        Raises:
            UsageError: It is none that Model Signing uses.
        """
        try:
            return cls(_supported(load_der_public_key(der)))
        except Exception:  # noqa: BLE001 - whatever the parser stumbles over
            raise UsageError("the public key is not one on P-256, P-384 or P-521") from None

    def check(self, signature: bytes, message: bytes) -> None:
        """Verify an ECDSA signature in DER.

        Raises:
            SignatureError: It is not one of this key over this message.
        """
        try:
            self._key.verify(signature, message, ec.ECDSA(_HASHES[self._key.curve.name]))
        except InvalidSignature:
            raise SignatureError(
                "it is not a signature by the given key over its content"
            ) from None


def load_public_key(path: Path) -> PublicKey:
    """Read a key from a PEM file.

    Raises:
        UsageError: The file cannot be read, or holds no such key.
    """
    with disk_errors(path), path.open("rb") as file:
        pem = file.read(MAX_KEY_BYTES)
    try:
        return PublicKey(_supported(load_pem_public_key(pem)))
    except Exception:  # noqa: BLE001 - whatever the parser stumbles over
        hint = "Write it with `openssl ec -in KEY -pubout`, or `cosign public-key`."
        raise UsageError(
            f"{path} holds no public key on P-256, P-384 or P-521 in PEM form", hint=hint
        ) from None


def has_supported_curve(key: ec.EllipticCurvePublicKey) -> bool:
    """Whether Model Signing uses the curve of a key."""
    return key.curve.name in _HASHES


def _supported(key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not has_supported_curve(key):
        raise ValueError("another kind of key")
    return key
