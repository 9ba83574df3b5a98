"""Who signs: a key from a PEM file, or nobody.

The one door to ic-py. Its identities print their private key when they are shown, so they never
leave this file; its secp256k1 signatures come in both forms of s, so they are normalised here.
"""

import os
from pathlib import Path
from typing import Final

from ic.identity import Identity as IcIdentity

from datanode.cleanup import finishing
from datanode.errors import IdentityError
from datanode.files import sync_folder
from datanode.principal import Principal

MAX_PEM_BYTES: Final = 65_536
"""Largest file that is read as a key. Ours."""

_SECP256K1_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_SCALAR_BYTES: Final = 32
_PRIVATE: Final = 0o600


class Identity:
    """A principal that can sign; neither `repr` nor pickling shows its key."""

    __slots__ = ("_key", "principal", "public_key_der")

    principal: Principal
    """The sender of this identity's requests."""
    public_key_der: bytes | None
    """The public key in DER; None for the anonymous identity, which signs nothing."""

    def __init__(self, key: IcIdentity) -> None:
        self._key = key
        self.principal = Principal(bytes(key.sender().bytes))
        self.public_key_der = None if key.anonymous else bytes(key.der_pubkey)

    def __repr__(self) -> str:
        return f"Identity({self.principal})"

    def __reduce__(self) -> str:
        raise TypeError("an identity is not written anywhere")

    def sign(self, message: bytes) -> bytes:
        """Sign a message: 64 bytes, with low s where the curve has a choice.

        Raises:
            IdentityError: The anonymous identity has no key.
        """
        if self.public_key_der is None:
            raise IdentityError("the anonymous identity cannot sign")
        signature = bytes(self._key.sign(message)[1])
        return _low_s(signature) if self._key.key_type == "secp256k1" else signature


def _low_s(signature: bytes) -> bytes:
    s = int.from_bytes(signature[_SCALAR_BYTES:])
    return signature[:_SCALAR_BYTES] + min(s, _SECP256K1_ORDER - s).to_bytes(_SCALAR_BYTES)


def anonymous() -> Identity:
    """The identity that signs nothing; anybody's."""
    return Identity(IcIdentity(anonymous=True))


def of_seed(seed: bytes) -> Identity:
    """Make the Ed25519 identity of a secret of 32 bytes; the same seed is the same principal."""
    return Identity(IcIdentity(privkey=seed.hex()))


def load(path: Path) -> Identity:
    """Read an Ed25519 or secp256k1 private key from a PEM file (PKCS#8, or SEC1).

    Raises:
        IdentityError: The file is missing, encrypted, of another curve or not a key. The message
            never contains what was in it.
    """
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_PEM_BYTES)
    except OSError as error:
        raise IdentityError(f"cannot read the identity {path}: {error.strerror}") from error
    if b"ENCRYPTED" in pem:
        raise IdentityError(
            f"the identity {path} is encrypted",
            hint="Export it without a password: `icp identity export`, `dfx identity export` or "
            "`openssl pkcs8 -topk8 -nocrypt`.",
        )
    if b"PRIVATE KEY-----" not in pem:
        raise IdentityError(f"the identity {path} holds no private key in PEM form")
    try:
        key = IcIdentity.from_pem(pem.decode())
    except TypeError:
        # ic-py raises a plain string for any curve that it does not know.
        raise IdentityError(
            f"the identity {path} is a key of another kind than Ed25519 and secp256k1"
        ) from None
    except Exception:  # noqa: BLE001 - its parsers raise whatever they stumble over
        # Without the cause: a traceback of a PEM parser can show parts of the key.
        raise IdentityError(f"the identity {path} is not a readable private key") from None
    return Identity(key)


def generate(path: Path) -> Identity:
    """Make a new Ed25519 key and store it, readable by its owner alone.

    Raises:
        IdentityError: The file exists already, or cannot be written.
    """
    key = IcIdentity()
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE)
        with finishing(aside.unlink):
            with os.fdopen(handle, "wb") as file:
                file.write(key.to_pem())
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
