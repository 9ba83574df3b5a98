"""Reads bundles: those that travel with a version, or one in a file of this machine."""

from dataclasses import dataclass
from pathlib import Path

from datanode.errors import SignatureError
from datanode.files import disk_errors
from datanode.model_signature.bundle import MAX_BUNDLE_BYTES
from datanode.model_signature.covering import Coverage, SignedFiles, bundle_paths, find_coverage
from datanode.model_signature.public_key import PublicKey
from datanode.reader import VerifiedVersion
from datanode.reader.fleet_version import read_file


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedSigner:
    """The signer that a model is to have.

    Attributes:
        key: The signer's key.
        bundle: A bundle that does not travel with the model; None: those among its files.
    """

    key: PublicKey
    bundle: SignedFiles | None = None


def check_model_signature(version: VerifiedVersion, signer: ExpectedSigner) -> Coverage:
    """Check that a signer signed the files of a version, before any of them is fetched.

    Raises:
        SignatureError: The key signed other files, or none.
        CorruptionError: The node does not have the bundle that it certifies.
    """
    files = version.head.files
    try:
        if signer.bundle is not None:
            return find_coverage(files, [signer.bundle], signer.key)
        travelling = (
            SignedFiles(name=path, content=read_bundle(version, path), travels=True)
            for path in bundle_paths(files)
        )
        return find_coverage(files, travelling, signer.key)
    except SignatureError as error:
        error.safe = "No file was fetched."
        raise


def read_bundle(version: VerifiedVersion, path: str) -> bytes:
    """Read one bundle among the files of a version.

    Raises:
        CorruptionError: The node does not have what it certifies.
    """
    return read_file(version, path, MAX_BUNDLE_BYTES)


def read_bundle_file(path: Path) -> SignedFiles:
    """Read a bundle of this machine.

    Raises:
        SignatureError: It is too large.
        UsageError: The file cannot be read.
    """
    with disk_errors(path), path.open("rb") as file:
        content = file.read(MAX_BUNDLE_BYTES + 1)
    if len(content) > MAX_BUNDLE_BYTES:
        raise SignatureError(f"{path} has more than {MAX_BUNDLE_BYTES:,} bytes")
    return SignedFiles(name=path.name, content=content, travels=False)
