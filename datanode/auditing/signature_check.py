"""The check of a model's signature in an audit; its evidence is judged again offline."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from datanode.auditing.outcomes import Outcome
from datanode.errors import CorruptionError, DataNodeError, SignatureError
from datanode.manifest import FileEntry
from datanode.model_signature import (
    Coverage,
    ExpectedSigner,
    PublicKey,
    SignedFiles,
    bundle_paths,
    find_coverage,
    read_bundle,
)
from datanode.reader import VerifiedVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureEvidence:
    """Everything that an outcome follows from, beside the files of the version.

    Attributes:
        public_key: The signer's, DER.
        travels: Whether the bundles are files of the model.
        bundles: Bundles by path or name; those of the model that could not be read are left out.
        detail: The outcome in words.
    """

    public_key: bytes
    travels: bool
    bundles: Mapping[str, bytes]
    detail: str = ""


def check_signature(
    version: VerifiedVersion, signer: ExpectedSigner
) -> tuple[Outcome, SignatureEvidence]:
    """Read the bundles of a version, as far as they can be read, and judge them."""
    evidence = SignatureEvidence(
        public_key=signer.key.der,
        travels=signer.bundle is None,
        bundles=_bundles(version, signer.bundle),
    )
    outcome, detail = judge_signature(version.head.files, evidence)
    return outcome, replace(evidence, detail=detail)


def judge_signature(files: Sequence[FileEntry], evidence: SignatureEvidence) -> tuple[Outcome, str]:
    """Judge evidence; returns the outcome, and in words what it follows from."""
    try:
        return Outcome.OK, str(_coverage(files, evidence))
    except SignatureError as error:
        return Outcome.UNSIGNED, error.what
    except CorruptionError as error:
        return Outcome.UNKNOWN, error.what


def _coverage(files: Sequence[FileEntry], evidence: SignatureEvidence) -> Coverage:
    """Find what the bundles cover.

    Raises:
        SignatureError: No bundle verifies.
        CorruptionError: A bundle could not be read, and none of the others verifies.
    """
    key = PublicKey.parse(evidence.public_key)
    unread = set(bundle_paths(files)) - set(evidence.bundles) if evidence.travels else set()
    bundles = [
        SignedFiles(name=name, content=content, travels=evidence.travels)
        for name, content in evidence.bundles.items()
    ]
    try:
        return find_coverage(files, bundles, key)
    except SignatureError:
        if not unread:
            raise
        raise CorruptionError(f"not read: {', '.join(sorted(unread))}") from None


def _bundles(version: VerifiedVersion, given: SignedFiles | None) -> dict[str, bytes]:
    if given is not None:
        return {given.name: given.content}
    found: dict[str, bytes] = {}
    with suppress(SignatureError):  # judged from the list of files
        for path in bundle_paths(version.head.files):
            with suppress(DataNodeError):  # a finding of its chunks
                found[path] = read_bundle(version, path)
    return found
