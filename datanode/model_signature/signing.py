"""Signs files by their digests: those of a version from its manifest, so that none is read."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from datanode.errors import UsageError
from datanode.files import disk_errors
from datanode.model_signature.covering import Coverage, DigestedFile, SignedFiles, find_coverage
from datanode.model_signature.public_key import MAX_KEY_BYTES, PublicKey, has_supported_curve
from datanode.model_signature.statement import GIT_PATHS, Statement
from datanode.reader import VerifiedVersion

SIGNATURE_NAME: Final = "model.sig"
"""Name of a bundle, unless told otherwise."""


class WriteBundle(Protocol):
    """Sign files; see `bundle_writer.write_bundle`."""

    def __call__(
        self,
        model: str,
        files: Iterable[DigestedFile],
        *,
        ignored: Sequence[str],
        key: Path,
        password: bytes | None,
    ) -> bytes:
        """Return the bundle."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A private key that can sign, checked.

    Attributes:
        path: PEM file.
        password: Its password; None: it is not encrypted.
        public: The key that verifies.
    """

    path: Path
    password: bytes | None
    public: PublicKey


def open_signing_key(path: Path, password: Callable[[], str | None] = lambda: None) -> SigningKey:
    """Check a key, and that the extra is there, before anything is read for a signature.

    Args:
        path: PEM file of a private key on P-256, P-384 or P-521.
        password: Asked for the password of an encrypted key.

    Raises:
        UsageError: The file holds no such key, the password does not open it, or the extra `sign`
            is not installed.
    """
    _library()
    secret, public = _checked(path, password)
    return SigningKey(path=path, password=secret, public=public)


def sign_version(version: VerifiedVersion, key: SigningKey, *, name: str) -> tuple[bytes, Coverage]:
    """Sign the files of a version.

    Args:
        version: Its manifest has the SHA-256 of each file.
        key: Who signs.
        name: Name that the bundle will have beside the files; a file of this name is left out.

    Returns:
        The bundle, and what it covers.

    Raises:
        UsageError: There is no file to sign.
    """
    return sign_files(version.model, version.head.files, key, name=name)


def sign_files(
    model: str,
    files: Sequence[DigestedFile],
    key: SigningKey,
    *,
    name: str,
    left_out: Sequence[str] = (),
) -> tuple[bytes, Coverage]:
    """Sign files; see `sign_version`.

    Args:
        model: Name of the model, which the statement carries.
        files: The files.
        key: Who signs.
        name: Name that the bundle will have beside the files.
        left_out: Paths beside the files that verifiers are to leave out.
    """
    ignored = (name, *GIT_PATHS, *left_out)
    statement = Statement(digests={}, ignored=ignored)
    covered = [each for each in files if statement.covers(each.path)]
    if not covered:
        raise UsageError(f"{model} has no file that a signature would cover")
    bundle = _library()(model, covered, ignored=ignored, key=key.path, password=key.password)
    # What cannot be verified is not handed out.
    signed = SignedFiles(name=name, content=bundle, travels=False)
    return bundle, find_coverage(files, [signed], key.public)


def _library() -> WriteBundle:
    try:
        from datanode.model_signature.bundle_writer import write_bundle  # noqa: PLC0415 - the extra
    except ImportError as error:
        raise UsageError(
            f"signing needs model_signing, which is not installed ({error.name} is missing)",
            hint='Install it with `pip install "datanode[sign]"`.',
        ) from error
    return write_bundle


def _checked(path: Path, password: Callable[[], str | None]) -> tuple[bytes | None, PublicKey]:
    """Check a key before the library reads it, whose errors may quote it; returns its password."""
    with disk_errors(path), path.open("rb") as file:
        pem = file.read(MAX_KEY_BYTES)
    given = password() if b"ENCRYPTED" in pem else None
    secret = given.encode() if given else None
    try:
        key = load_pem_private_key(pem, secret)
    except Exception:  # noqa: BLE001 - whatever the parser stumbles over
        # Without the cause: a traceback of a PEM parser can show parts of the key.
        if b"ENCRYPTED" in pem:
            what = "the password does not open" if secret else "no password is given for"
            raise UsageError(
                f"{what} the key {path}",
                hint="Run the command in a terminal to be asked, or set DATANODE_KEY_PASSWORD.",
            ) from None
        raise UsageError(f"{path} holds no readable private key") from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and has_supported_curve(key.public_key()):
        return secret, PublicKey(key.public_key())
    raise UsageError(
        f"{path} is not a key on P-256, P-384 or P-521",
        hint="Make one with `openssl ecparam -name prime256v1 -genkey -noout -out key.pem`.",
    )
