"""Options of the commands that verify a model's signature."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from datanode.errors import UsageError
from uploader.cli.output import Json

if TYPE_CHECKING:
    from datanode.model_signature import Coverage, ExpectedSigner

VerifySignature = Annotated[
    bool,
    typer.Option(
        "--verify-signature",
        help="Check that --public-key signed the files (OpenSSF Model Signing).",
    ),
]
PublicKeyFile = Annotated[
    Path | None,
    typer.Option("--public-key", metavar="PEM", help="Public key of the signer, in a PEM file."),
]
Signature = Annotated[
    Path | None,
    typer.Option(
        "--signature",
        metavar="FILE",
        help="Bundle on this machine.",
        show_default="the model's own *.sig files",
    ),
]


def read_signer(
    public_key: Path | None, signature: Path | None, *, verify: bool
) -> "ExpectedSigner | None":
    """Read the key and the bundle that options name; None: no signature is to be verified.

    Raises:
        UsageError: The options do not go together, or a file cannot be read.
        SignatureError: The bundle is too large.
    """
    if not verify:
        if public_key or signature:
            raise UsageError("--public-key and --signature go with --verify-signature")
        return None
    if public_key is None:
        raise UsageError("--verify-signature needs the signer's key: name it with --public-key")
    from datanode.model_signature import (  # noqa: PLC0415 - see `upload`
        ExpectedSigner,
        load_public_key,
        read_bundle_file,
    )

    return ExpectedSigner(
        key=load_public_key(public_key),
        bundle=None if signature is None else read_bundle_file(signature),
    )


def coverage_fields(coverage: "Coverage") -> dict[str, Json]:
    """Describe what a signature covers, for --json."""
    return {
        "signature": {
            "bundle": coverage.name,
            "key": coverage.key,
            "covered": coverage.covered_count,
            "not_covered": list(coverage.left_out),
        }
    }
