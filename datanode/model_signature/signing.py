"""Signs files by their digests: those of a version from its manifest, so that none is read."""

from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from datanode.errors import UsageError
from datanode.files import disk_errors
from datanode.model_signature.covering import Coverage, DigestedFile, SignedFiles, find_coverage
from datanode.model_signature.public_key import MAX_KEY_BYTES, PublicKey, has_supported_curve
from datanode.model_signature.statement import GIT_PATHS, Statement
from datanode.reader import VerifiedVersion


def sign_version(
    version: VerifiedVersion,
    key: Path,
    *,
    name: str,
    password: Callable[[], str | None] = lambda: None,
) -> tuple[bytes, Coverage]:
    """Sign the files of a version.

    Args:
        version: Its manifest has the SHA-256 of each file.
        key: PEM file of a private key on P-256, P-384 or P-521.
        name: Name that the bundle will have beside the files; a file of this name is left out.
        password: Asked for the password of an encrypted key.

    Returns:
        The bundle, and what it covers.

    Raises:
        UsageError: The file holds no such key, the password does not open it, there is no file to
            sign, or the extra `sign` is not installed.
    """
    return sign_files(version.model, version.head.files, key, name=name, password=password)


def sign_files(
    model: str,
    files: Sequence[DigestedFile],
    key: Path,
    *,
    name: str,
    left_out: Sequence[str] = (),
    password: Callable[[], str | None] = lambda: None,
) -> tuple[bytes, Coverage]:
    """Sign files; see `sign_version`.

    Args:
        model: Name of the model, which the statement carries.
        files: The files.
        key: PEM file of a private key on P-256, P-384 or P-521.
        name: Name that the bundle will have beside the files.
        left_out: Paths beside the files that verifiers are to leave out.
        password: Asked for the password of an encrypted key.
    """
    try:
        from datanode.model_signature.bundle_writer import write_bundle  # noqa: PLC0415 - the extra
    except ImportError as error:
        raise UsageError(
            f"signing needs model_signing, which is not installed ({error.name} is missing)",
            hint='Install it with `pip install "datanode[sign]"`.',
        ) from error
    secret, public_key = _open_key(key, password)
    ignored = (name, *GIT_PATHS, *left_out)
    statement = Statement(digests={}, ignored=ignored)
    covered = [each for each in files if statement.covers(each.path)]
    if not covered:
        raise UsageError(f"{model} has no file that a signature would cover")
    bundle = write_bundle(model, covered, ignored=ignored, key=key, password=secret)
    # What cannot be verified is not handed out.
    signed = SignedFiles(name=name, content=bundle, travels=False)
    return bundle, find_coverage(files, [signed], public_key)


def _open_key(path: Path, password: Callable[[], str | None]) -> tuple[bytes | None, PublicKey]:
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
