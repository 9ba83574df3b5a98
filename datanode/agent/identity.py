"""Identities: a private key from a PEM file, or anonymous.

Ed25519, secp256k1 and P-256, in PKCS#8 or SEC1, with or without a password. The keys never leave
this file: nothing shows them, and no error quotes what was read.
"""

import base64
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from datanode.cleanup import always_after
from datanode.errors import IdentityError
from datanode.files import PRIVATE_FILE, PRIVATE_FOLDER, sync_folder
from datanode.principal import ANONYMOUS, Principal

MAX_PEM_BYTES: Final = 65_536
"""Largest file that is read as a key. Ours."""

PASSWORD_VARIABLE: Final = "DATANODE_IDENTITY_PASSWORD"  # noqa: S105 - a name, no password
"""Environment variable with the password of an encrypted PEM file."""

_SECP256K1_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_BEGIN: Final = b"-----BEGIN PRIVATE KEY-----"
_VERSION_2: Final = bytes.fromhex("020101300506032b657004220420")
"""Version, algorithm and the heads of the seed, behind the two bytes of the sequence."""
_SCALAR_BYTES: Final = 32

_Key: TypeAlias = Ed25519PrivateKey | ec.EllipticCurvePrivateKey


class Identity:
    """A principal that can sign; neither `repr` nor pickling shows its key."""

    __slots__ = ("_key", "principal", "public_key_der")

    principal: Principal
    """The sender of this identity's requests."""
    public_key_der: bytes | None
    """The public key in DER; None for the anonymous identity, which signs nothing."""

    def __init__(self, key: _Key | None) -> None:
        self._key = key
        self.public_key_der = None
        self.principal = ANONYMOUS
        if key is not None:
            self.public_key_der = key.public_key().public_bytes(
                Encoding.DER, PublicFormat.SubjectPublicKeyInfo
            )
            self.principal = Principal.self_authenticating(self.public_key_der)

    def __repr__(self) -> str:
        return f"Identity({self.principal})"

    def __reduce__(self) -> str:
        raise TypeError("an identity is not written anywhere")

    def sign(self, message: bytes) -> bytes:
        """Sign a message: 64 bytes, on secp256k1 with low s.

        Raises:
            IdentityError: The anonymous identity has no key.
        """
        if self._key is None:
            raise IdentityError("the anonymous identity cannot sign")
        if isinstance(self._key, Ed25519PrivateKey):
            return self._key.sign(message)
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        if isinstance(self._key.curve, ec.SECP256K1):
            s = min(s, _SECP256K1_ORDER - s)
        return r.to_bytes(_SCALAR_BYTES) + s.to_bytes(_SCALAR_BYTES)


def anonymous() -> Identity:
    """Return the anonymous identity, which has no key."""
    return Identity(None)


def of_seed(seed: bytes) -> Identity:
    """Make the Ed25519 identity of a secret of 32 bytes; the same seed is the same principal."""
    return Identity(Ed25519PrivateKey.from_private_bytes(seed))


def password_from_environment(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the password of an encrypted key, if the environment names one."""
    return environment.get(PASSWORD_VARIABLE)


def load(path: Path, *, password: Callable[[], str | None] = password_from_environment) -> Identity:
    """Read an Ed25519, secp256k1 or P-256 private key from a PEM file (PKCS#8, or SEC1).

    Args:
        path: The file.
        password: Asked for the password of an encrypted file, once; None: there is none.

    Raises:
        IdentityError: The file is missing, of another curve or not a key, or the password is
            missing or wrong. The message never contains what was in the file, nor the password.
    """
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_PEM_BYTES)
    except OSError as error:
        raise IdentityError(f"cannot read the identity {path}: {error.strerror}") from error
    if b"PRIVATE KEY-----" not in pem:
        raise IdentityError(f"the identity {path} holds no private key in PEM form")
    secret = _password(path, password) if b"ENCRYPTED" in pem else None
    try:
        key = _with_public_half(pem) or load_pem_private_key(pem, secret)
    except UnsupportedAlgorithm:
        raise _unknown_kind(path) from None
    except Exception:  # noqa: BLE001 - whatever the parser stumbles over
        # Without the cause: a traceback of a PEM parser can show parts of the key.
        if secret is not None:
            raise IdentityError(
                f"the password does not open the identity {path}",
                hint=f"Type it again, or correct {PASSWORD_VARIABLE}.",
            ) from None
        raise IdentityError(f"the identity {path} is not a readable private key") from None
    if isinstance(key, Ed25519PrivateKey):
        return Identity(key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(
        key.curve, ec.SECP256K1 | ec.SECP256R1
    ):
        return Identity(key)
    raise _unknown_kind(path)


def _with_public_half(pem: bytes) -> Ed25519PrivateKey | None:
    """Read an Ed25519 key in the form that also holds the public key (RFC 5958), as `ring` writes.

    Raises:
        ValueError: It is one, and its halves do not belong together.
    """
    body = pem.partition(_BEGIN)[2].partition(b"-----END")[0]
    der = base64.b64decode(body)
    if der[2 : 2 + len(_VERSION_2)] != _VERSION_2:
        return None
    at = 2 + len(_VERSION_2)
    key = Ed25519PrivateKey.from_private_bytes(der[at : at + _SCALAR_BYTES])
    if der[-_SCALAR_BYTES:] != key.public_key().public_bytes_raw():
        raise ValueError("the public half is another key's")
    return key


def _password(path: Path, ask: Callable[[], str | None]) -> bytes:
    given = ask()
    if not given:
        raise IdentityError(
            f"the identity {path} is encrypted, and no password is given",
            hint=f"Run the command in a terminal to be asked for it, or set {PASSWORD_VARIABLE}.",
        )
    return given.encode()


def _unknown_kind(path: Path) -> IdentityError:
    return IdentityError(
        f"the identity {path} is a key of another kind than Ed25519, secp256k1 and P-256"
    )


def generate(path: Path) -> Identity:
    """Make a new Ed25519 key and store it, readable by its owner alone.

    Raises:
        IdentityError: The file exists already, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
        with always_after(aside.unlink):
            with os.fdopen(handle, "wb") as file:
                file.write(pem)
                file.flush()
                os.fsync(file.fileno())
            _link(aside, path)
        # Canisters may be controlled by nobody else: the name must survive a power cut too.
        sync_folder(path.parent)
    except OSError as error:
        raise IdentityError(f"cannot write the identity {path}: {error.strerror}") from error
    return Identity(key)


def _link(aside: Path, path: Path) -> None:
    """Give a file its name: it is there whole or not at all, and never in the place of another."""
    try:
        os.link(aside, path)
    except FileExistsError as error:
        raise IdentityError(
            f"{path} exists already", hint="Nothing was changed. Name another file."
        ) from error
