"""A signer of bundles, written from the specifications, that also signs what nobody should."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from datanode.model_signature import PublicKey

TYPE: Final = "application/vnd.in-toto+json"
Json: TypeAlias = Any
"""Parsed JSON, to be bent."""
Bend: TypeAlias = Callable[[Json], object]


def statement(files: Mapping[str, bytes], ignored: tuple[str, ...] = ("model.sig",)) -> Json:
    """Make a statement over files of these contents."""
    digests = {path: hashlib.sha256(raw) for path, raw in sorted(files.items())}
    joined = hashlib.sha256(b"".join(each.digest() for each in digests.values()))
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": joined.hexdigest()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(ignored),
            },
            "resources": [
                {"name": path, "algorithm": "sha256", "digest": each.hexdigest()}
                for path, each in digests.items()
            ],
        },
    }


@dataclass(frozen=True)
class ModelSigner:
    """A key and its bundles."""

    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def public_key(self) -> PublicKey:
        return PublicKey(self.key.public_key())

    @property
    def public_pem(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def write(self, folder: Path, password: bytes | None = None) -> tuple[Path, Path]:
        """Write the key pair; returns the private key's file, and the public key's."""
        private, public = folder / "key.pem", folder / "key.pub"
        protection = BestAvailableEncryption(password) if password else NoEncryption()
        private.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection))
        public.write_bytes(self.public_pem)
        return private, public

    def sign(self, payload: Json, bend: Bend = lambda _: None) -> bytes:
        """Sign a statement, or bytes; then bend the bundle."""
        raw = payload if isinstance(payload, bytes) else json.dumps(payload, indent=2).encode()
        message = f"DSSEv1 {len(TYPE)} {TYPE} {len(raw)} ".encode() + raw
        hint = hashlib.sha256(self.public_pem).hexdigest()
        bundle = {
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": base64.b64encode(raw).decode(),
                "payloadType": TYPE,
                "signatures": [
                    {"sig": base64.b64encode(self._ecdsa(message)).decode(), "keyid": ""}
                ],
            },
        }
        bend(bundle)
        return json.dumps(bundle).encode()

    def sign_files(self, files: Mapping[str, bytes], bend: Bend = lambda _: None) -> bytes:
        """Sign a statement over files; the statement is bent before it is signed."""
        made = statement(files)
        bend(made)
        return self.sign(made)

    def _ecdsa(self, message: bytes) -> bytes:
        kind = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
        return self.key.sign(message, ec.ECDSA(kind[self.key.curve.key_size]))
