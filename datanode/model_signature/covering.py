"""Holds what a signer vouches for against the files that a manifest names."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from datanode.errors import SignatureError
from datanode.manifest import FileEntry
from datanode.model_signature.bundle import MAX_BUNDLE_BYTES, open_bundle
from datanode.model_signature.public_key import PublicKey
from datanode.model_signature.statement import parse_statement
from datanode.text import printable

BUNDLE_SUFFIX: Final = ".sig"
MAX_BUNDLES: Final = 8
"""Most bundles of a model that are looked at. Ours."""
_SHOWN: Final = 5
_NAME_IT: Final = "If you have the bundle in a file, name it with --signature."


class DigestedFile(Protocol):
    """A file by its digest: of a manifest, or of a folder."""

    @property
    def path(self) -> str:
        """Return its path below the model's folder."""
        ...

    @property
    def sha256(self) -> bytes:
        """Return the digest of its bytes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedFiles:
    """A bundle, and where it was found.

    Attributes:
        name: Its path among the model's files, or the name of a file elsewhere.
        content: Its bytes, untrusted.
        travels: Whether it is one of the model's files.
    """

    name: str
    content: bytes
    travels: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Files of a version that a signature covers; each has the SHA-256 that the key signed.

    Attributes:
        name: The bundle.
        key: How bundles name the key, see `PublicKey.hint`.
        covered_count: How many files it covers.
        left_out: Paths of the files that it does not cover.
    """

    name: str
    key: str
    covered_count: int
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        text = f"{self.name} covers {self.covered_count} files, signed with key {self.key}"
        return f"{text}; not covered: {_listed(self.left_out)}" if self.left_out else text


def bundle_paths(files: Iterable[FileEntry]) -> list[str]:
    """List the files that may be bundles: `*.sig` at the top of a model.

    Raises:
        SignatureError: There is none, there are too many, or one is too large.
    """
    found = [each for each in files if each.path.endswith(BUNDLE_SUFFIX) and "/" not in each.path]
    paths = [each.path for each in found]
    if not paths:
        raise SignatureError(
            f"the model has no bundle: no file at its top is named *{BUNDLE_SUFFIX}",
            hint=_NAME_IT,
        )
    if len(paths) > MAX_BUNDLES:
        raise SignatureError(
            f"the model has {len(paths)} files named *{BUNDLE_SUFFIX}; at most {MAX_BUNDLES} are "
            "looked at",
            hint=_NAME_IT,
        )
    for each in found:
        if each.length_bytes > MAX_BUNDLE_BYTES:
            raise SignatureError(
                f"{each.path} has {each.length_bytes:,} bytes; a bundle has at most "
                f"{MAX_BUNDLE_BYTES:,}",
                hint=_NAME_IT,
            )
    return paths


def find_coverage(
    files: Sequence[DigestedFile], bundles: Iterable[SignedFiles], key: PublicKey
) -> Coverage:
    """Find a bundle that the key signed and that covers the files as the manifest names them.

    Args:
        files: Files of a version, from its verified manifest; or of a folder.
        bundles: At least one.
        key: The signer's.

    Raises:
        SignatureError: No bundle is one; the message says why, for each.
    """
    errors: list[SignatureError] = []
    for each in bundles:
        try:
            return _coverage(files, each, key)
        except SignatureError as error:
            what = f"the bundle {printable(each.name)} does not verify: {error.what}"
            errors.append(SignatureError(what, hint=error.hint))
    if len(errors) == 1:
        raise errors[0]
    raise SignatureError("; ".join(error.what for error in errors))


def _coverage(files: Sequence[DigestedFile], bundle: SignedFiles, key: PublicKey) -> Coverage:
    statement = parse_statement(open_bundle(bundle.content, key))
    own = bundle.name if bundle.travels else None
    held = {
        each.path: each.sha256 for each in files if each.path != own and statement.covers(each.path)
    }
    if wrong := list(_differences(held, statement.digests)):
        raise SignatureError("; ".join(wrong))
    if not held:
        raise SignatureError("it covers no file")
    return Coverage(
        name=bundle.name,
        key=key.hint,
        covered_count=len(held),
        left_out=tuple(each.path for each in files if each.path not in held),
    )


def _differences(held: Mapping[str, bytes], signed: Mapping[str, bytes]) -> Iterator[str]:
    differing = [path for path in held if path in signed and held[path] != signed[path]]
    if differing:
        yield f"differs from what was signed: {_listed(differing)}"
    if missing := [path for path in signed if path not in held]:
        yield f"signed, and not in the model: {_listed(missing)}"
    if added := [path for path in held if path not in signed]:
        yield f"in the model, and not signed: {_listed(added)}"


def _listed(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(printable(path, 100) for path in paths[:_SHOWN]) + more
