"""Writes bundles through the library `model_signing`; needs the extra `sign`.

The library is given the SHA-256 of each file and hashes nothing.
"""

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from model_signing import hashing, manifest, signing
from model_signing._hashing.hashing import Digest

from datanode.model_signature.covering import DigestedFile

_ALGORITHM: Final = "sha256"


class _HeldDigests(hashing.Config):
    """Stands where the library hashes a folder, and gives the digests that are known."""

    def __init__(self, held: manifest.Manifest) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._held = held

    def hash(
        self,
        model_path: hashing.PathLike,  # noqa: ARG002 - the library's signature
        *,
        files_to_hash: Iterable[hashing.PathLike] | None = None,  # noqa: ARG002 - the same
    ) -> manifest.Manifest:
        """Give the digests, whatever folder is asked for."""
        return self._held


def write_bundle(
    model: str,
    files: Iterable[DigestedFile],
    *,
    ignored: Sequence[str],
    key: Path,
    password: bytes | None,
) -> bytes:
    """Sign files.

    Args:
        model: Name of the model, which the statement carries.
        files: The files to sign.
        ignored: Paths that verifiers are to leave out.
        key: PEM file of a private key that the library takes.
        password: Password of the key.
    """
    kind = manifest.SerializationType.from_args(
        {
            "method": "files",
            "hash_type": _ALGORITHM,
            "allow_symlinks": False,
            "ignore_paths": ignored,
        }
    )
    items = [kind.new_item(each.path, Digest(_ALGORITHM, each.sha256)) for each in files]
    config = signing.Config()  # type: ignore[no-untyped-call]
    config.use_elliptic_key_signer(
        private_key=key,
        # Declared as text; what the library hands it to takes bytes.
        password=password,  # type: ignore[arg-type]
    )
    config.set_hashing_config(_HeldDigests(manifest.Manifest(model, items, kind)))
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "bundle"
        config.sign(folder, written)
        return written.read_bytes()
