"""Signatures of OpenSSF Model Signing v1 over the files of a manifest or a folder."""

from datanode.model_signature.covering import Coverage, SignedFiles, bundle_paths, find_coverage
from datanode.model_signature.public_key import PublicKey, load_public_key
from datanode.model_signature.reading import (
    ExpectedSigner,
    check_model_signature,
    read_bundle,
    read_bundle_file,
)
from datanode.model_signature.signing import (
    SIGNATURE_NAME,
    SigningKey,
    open_signing_key,
    sign_files,
    sign_version,
)

__all__ = [
    "SIGNATURE_NAME",
    "Coverage",
    "ExpectedSigner",
    "PublicKey",
    "SignedFiles",
    "SigningKey",
    "bundle_paths",
    "check_model_signature",
    "find_coverage",
    "load_public_key",
    "open_signing_key",
    "read_bundle",
    "read_bundle_file",
    "sign_files",
    "sign_version",
]
