"""The statement inside a bundle: which files a signer vouches for, by SHA-256.

An in-toto statement v1 with the predicate of Model Signing 1.0::

    {"_type": "https://in-toto.io/Statement/v1",
     "subject": [{"name": text, "digest": {"sha256": <SHA-256 of all digests, joined, hex>}}],
     "predicateType": "https://model_signing/signature/v1.0",
     "predicate": {
       "serialization": {"method": "files", "hash_type": "sha256", "ignore_paths": [path, ...]},
       "resources": [{"name": path, "algorithm": "sha256", "digest": <hex>}, ...]}}

Files that `ignore_paths` names, and all files below a folder that it names, are not covered.
Neither are `.git`, `.gitattributes`, `.github` and `.gitignore` at the top. Source: model-signing
1.1.1.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from datanode.digest import DIGEST_BYTES
from datanode.errors import SignatureError
from datanode.strict_json import StrictJson
from datanode.text import printable

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
GIT_PATHS: Final = (".git", ".gitattributes", ".github", ".gitignore")
"""Left out of every signature. Source: model-signing 1.1.1."""

_JSON: Final = StrictJson(refused=SignatureError, max_entries=500_000, numbers_matter=False)
"""A file takes three entries. Ours; a bundle's length bounds it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement that its signer made.

    Attributes:
        digests: SHA-256 of each file, by path.
        ignored: Paths, of files or folders, that the signer left out.
    """

    digests: Mapping[str, bytes]
    ignored: tuple[str, ...]

    def covers(self, path: str) -> bool:
        """Whether a file of this path has to be signed."""
        parts = PurePosixPath(path)
        return not any(parts.is_relative_to(each) for each in (*self.ignored, *GIT_PATHS))


def parse_statement(payload: bytes) -> Statement:
    """Parse a statement whose signature was verified.

    Raises:
        SignatureError: It is not one, or is one of a kind that is not compared with a manifest.
    """
    content = _JSON.read_object(payload, "its statement")
    if content.get("_type") != STATEMENT_TYPE:
        raise SignatureError("its statement is not an in-toto statement of version 1")
    if content.get("predicateType") != PREDICATE_TYPE:
        raise SignatureError(
            "its statement is not one of Model Signing 1.0: it is "
            f"{printable(str(content.get('predicateType')), 100)}"
        )
    match content:
        case {
            "subject": [{"digest": {"sha256": str(root)}}],
            "predicate": {"serialization": {**serialization}, "resources": list(resources)},
        }:
            pass
        case _:
            raise SignatureError("its statement lacks a subject, a serialization or resources")
    _check_method(serialization)
    digests: dict[str, bytes] = {}
    joined = hashlib.sha256()
    for resource in resources:
        path, digest = _resource(resource)
        if path in digests:
            raise SignatureError(f"it names {printable(path)} twice")
        digests[path] = digest
        joined.update(digest)
    if joined.hexdigest() != root:
        raise SignatureError("its subject is not the digest of the files that it names")
    return Statement(digests=digests, ignored=_ignored(serialization))


def _check_method(serialization: Mapping[object, object]) -> None:
    method, algorithm = serialization.get("method"), serialization.get("hash_type")
    if method != "files":
        raise SignatureError(
            f"it signs {printable(str(method), 40)}, not whole files; a manifest has the SHA-256 "
            "of whole files",
            hint="Ask the signer for a signature with the default serialization.",
        )
    if algorithm != "sha256":
        raise _other_algorithm(algorithm)


def _ignored(serialization: Mapping[object, object]) -> tuple[str, ...]:
    match serialization.get("ignore_paths", []):
        case [*paths] if all(isinstance(path, str) for path in paths):
            return tuple(map(str, paths))
    raise SignatureError("its ignored paths are not texts")


def _resource(resource: object) -> tuple[str, bytes]:
    match resource:
        case {"name": str(path), "algorithm": "sha256", "digest": str(text)}:
            pass
        case {"name": str(_), "algorithm": algorithm, "digest": str(_)}:
            raise _other_algorithm(algorithm)
        case _:
            raise SignatureError("it names a file without path, algorithm or digest")
    if path.startswith("/") or not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise SignatureError(f"it names {printable(path)}, which is no path inside of a model")
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != DIGEST_BYTES:
        raise SignatureError(f"its digest of {printable(path)} is not a SHA-256")
    return path, digest


def _other_algorithm(algorithm: object) -> SignatureError:
    return SignatureError(
        f"it signs {printable(str(algorithm), 40)} digests; a manifest has SHA-256",
        hint="Ask the signer for a signature with SHA-256, which is the default.",
    )
