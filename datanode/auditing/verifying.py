"""Verifies a report offline, later, by somebody who trusts nothing but a root key.

1. The JSON is a report, strictly; its digest is that of its content.
2. Where it is signed, the signature is the auditor's.
3. The certificate and the witness prove the version, by the root key that the verifier trusts,
   at the time that the report states (steps 1 to 4 of `datanode/reader/proof.py`).
4. The head and the chunk pages that it carries are those of the certified manifest.
5. Exactly the chunks that the mode calls for are accounted for, each once, and so are the head,
   the placement, all tensor pages, the chunk pages of those chunks and, in a full audit, each file
   whose chunks are good; chunks whose page is not carried are not judged.
6. Every finding names the file and the digests that the manifest has at that place, and every
   outcome but OK has its finding.
7. Module hash and controllers are certified for the same canister.
8. The outcome for the model's signature is the one that its bundles have; those of the model are
   the files that the manifest names.
9. Counts, verdict and sentence are what follows from all that.
10. The auditor is one that the verifier trusts: the outcomes are as good as who signed them. Model,
   node, version and age are what the verifier expects.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from datanode import cbor
from datanode.agent.certificate import open_certificate
from datanode.agent.signature import verify as verify_signature
from datanode.auditing import modes, report_json
from datanode.auditing.outcomes import AuditedPart, Finding, Outcome
from datanode.auditing.report import (
    SIGNATURE_DOMAIN,
    AuditReport,
    CanisterFacts,
    body_digest,
    document,
)
from datanode.auditing.signature_check import SignatureEvidence, judge_signature
from datanode.errors import (
    CertificateError,
    CorruptionError,
    DataNodeError,
    FormatError,
    NotFoundError,
    UsageError,
)
from datanode.limits import MAX_CHUNKS_A_PAGE
from datanode.manifest import ManifestHead
from datanode.model import ChunkRecord
from datanode.node.port import WitnessAnswer
from datanode.principal import Principal
from datanode.reader import proof
from datanode.units import SECOND_NS, format_duration

_SEAL: Final = {"digest", "auditor", "public_key", "signature"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportVerdict:
    """Statements that a verified report proves.

    Attributes:
        report: Its content, all of it consistent.
        auditor: Who signed it, and is trusted.
    """

    report: AuditReport
    auditor: Principal

    def error(self) -> DataNodeError | None:
        """The error that the audit came to, or None."""
        return self.report.error()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """Expected subject of a report; None accepts any.

    Attributes:
        model: Name of the model.
        node: The audited canister.
        version: The audited version.
        oldest_ns: Earliest time at which the subnet may have certified it.
        newest_ns: Latest such time.
        signer: Public key, DER, that the model's signature was checked with.
    """

    model: str | None = None
    node: Principal | None = None
    version: int | None = None
    oldest_ns: int | None = None
    newest_ns: int | None = None
    signer: bytes | None = None


ANYTHING: Final = Expectation()


def verify_report(
    text: str,
    *,
    root_key: bytes,
    auditors: Collection[Principal],
    expected: Expectation = ANYTHING,
) -> ReportVerdict:
    """Verify a report by a root key and by auditors that are trusted.

    Args:
        text: The report, untrusted.
        root_key: The network's root key, DER.
        auditors: Whose word is taken for the outcomes.
        expected: What it must be about.

    Raises:
        FormatError: It is not a report, or it was altered.
        CertificateError: It does not prove what it says, is not signed by one of the auditors, or
            is about something else than expected.
        UnsupportedVersionError: A newer release wrote it.
    """
    report, auditor = open_report(text, root_key=root_key)
    if auditor is None:
        raise CertificateError(
            "the report is not signed, so nothing vouches for its outcomes",
            hint="Ask for a signed one: `datanode audit --report` signs with --identity.",
        )
    if auditor not in auditors:
        raise CertificateError(
            f"the report is signed by {auditor}, which is not a trusted auditor",
            hint="If you trust that auditor, name it with --auditor.",
        )
    _check_expected(report, expected)
    return ReportVerdict(report=report, auditor=auditor)


def open_report(text: str, *, root_key: bytes) -> tuple[AuditReport, Principal | None]:
    """Take steps 1 to 9; returns the report and who signed it, trusted or not.

    Raises:
        FormatError: It is not a report, or it was altered.
        CertificateError: It does not prove what it says.
        UnsupportedVersionError: A newer release wrote it.
    """
    content = report_json.load(text)
    seal = report_json.JsonFields(content.pop("seal", None))
    report = report_json.parse(content)
    digest = body_digest(document(report))
    if document(report) != content or seal.hex("digest") != digest:  # 1
        raise FormatError("the report was altered: its digest is not that of its content")
    auditor = _auditor(seal, digest)  # 2
    if report.root_key != root_key:  # 3
        raise CertificateError("the report is of another network: its root key is not the trusted")
    trusted, head, pages = _proven(report, root_key)
    proven = (trusted.manifest, trusted.placement, trusted.latest, trusted.time_ns)
    if proven != (report.manifest, report.placement, report.latest, report.certified_ns):
        raise CertificateError("the report says something else than its certificate")
    _check_drawn(report, head, pages)  # 5
    _check_findings(report, head, pages)  # 6
    if report.canister is not None:  # 7
        facts = canister_facts(
            report.canister.certificate,
            root_key=root_key,
            node=report.node,
            now_ns=report.made_ns,
        )
        if facts != report.canister:
            raise CertificateError("the report's module or controllers are not the certified ones")
    _check_signature(report, head)  # 8
    return report, auditor


def _check_expected(report: AuditReport, expected: Expectation) -> None:
    pairs = [
        ("model", report.model, expected.model),
        ("node", report.node, expected.node),
        ("version", report.version, expected.version),
    ]
    for name, found, wanted in pairs:
        if wanted is not None and found != wanted:
            raise CertificateError(
                f"the report is about {name} {found}, not {wanted}", hint=_OTHER_REPORT
            )
    require_signer(expected, report.signature)
    if expected.oldest_ns is not None and report.certified_ns < expected.oldest_ns:
        age_s = (expected.oldest_ns - report.certified_ns) // SECOND_NS
        raise CertificateError(
            f"the report is older than allowed, by {format_duration(age_s)}",
            hint="Audit the model again, or allow a greater --max-age.",
        )
    if expected.newest_ns is not None and report.certified_ns > expected.newest_ns:
        raise CertificateError(
            "the report was certified in the future of this clock", hint="Set this clock."
        )


_OTHER_REPORT: Final = "Verify the report of that audit, or audit the model again."


def _proven(
    report: AuditReport, root_key: bytes
) -> tuple[proof.TrustedVersion, ManifestHead, dict[int, tuple[ChunkRecord, ...]]]:
    try:
        trusted = proof.trust_witness(  # 3
            WitnessAnswer(
                certificate=report.proof.certificate,
                witness=report.proof.witness,
                version=report.version,
            ),
            root_key=root_key,
            node=report.node,
            model=report.model,
            version=report.version,
            now_ns=report.made_ns,
        )
        head = proof.trust_head(trusted, report.proof.head)  # 4
        pages = {
            index: _page(head, index, page) for index, page in report.proof.chunk_pages.items()
        }
    except (NotFoundError, CorruptionError) as error:
        # Of a node these are findings; of a report they say that it was put together wrongly.
        raise CertificateError(f"the report does not prove its version: {error.what}") from error
    return trusted, head, pages


def facts_paths(node: Principal) -> list[list[bytes]]:
    """List the paths of the state tree that `canister_facts` reads."""
    return [[b"canister", node.raw, name] for name in (b"module_hash", b"controllers")]


def canister_facts(
    certificate: bytes, *, root_key: bytes, node: Principal, now_ns: int
) -> CanisterFacts:
    """Read module hash and controllers out of a certificate.

    Raises:
        CertificateError: It does not prove them.
    """
    opened = open_certificate(certificate, root_key=root_key, canister=node, now_ns=now_ns)
    try:
        module_hash = opened.tree.lookup([b"canister", node.raw, b"module_hash"])
        controllers = opened.tree.lookup([b"canister", node.raw, b"controllers"])
        if not isinstance(module_hash, bytes) or not isinstance(controllers, bytes):
            raise CertificateError("the certificate does not show module hash and controllers")
        listed = cbor.decode(controllers)
        if not isinstance(listed, list):
            raise CertificateError("the certified controllers are not a list")
        principals = tuple(Principal(raw) for raw in listed if isinstance(raw, bytes))
    except FormatError as error:
        raise CertificateError(f"the certificate is malformed: {error.what}") from error
    return CanisterFacts(module_hash=module_hash, controllers=principals, certificate=certificate)


def _auditor(seal: report_json.JsonFields, digest: bytes) -> Principal | None:
    if set(seal.names()) != _SEAL:
        raise FormatError("the report's seal is not one")
    if all(seal.optional(name, seal.text) is None for name in _SEAL - {"digest"}):
        return None
    key = seal.hex("public_key")
    try:
        verify_signature(key, seal.hex("signature"), SIGNATURE_DOMAIN + digest)
    except DataNodeError as error:
        raise FormatError(f"the report's signature does not hold: {error.what}") from error
    auditor = Principal.self_authenticating(key)
    if seal.text("auditor") != auditor.text:
        raise FormatError("the report names another auditor than its key belongs to")
    return auditor


def _page(head: ManifestHead, index: int, page: bytes) -> tuple[ChunkRecord, ...]:
    if index >= len(head.chunk_pages):
        raise FormatError(f"the report carries chunk page {index}, which the manifest lacks")
    return proof.trust_chunk_page(head, index, report_json.inflate(page))


def _expanded(
    report: AuditReport, head: ManifestHead, part: AuditedPart
) -> Iterator[tuple[int, Outcome]]:
    """Every check of a part, in rising order; never more than the manifest has."""
    there = {
        AuditedPart.HEAD: 1,
        AuditedPart.FILE: len(head.files),
        AuditedPart.CHUNK: head.chunk_count,
        AuditedPart.CHUNK_PAGE: len(head.chunk_pages),
        AuditedPart.TENSOR_PAGE: len(head.tensor_pages),
        AuditedPart.PLACEMENT: 1,
        AuditedPart.SIGNATURE: 1,
    }
    end = 0
    for kind, run in report.checks:
        if kind is part:
            if run.first < end or run.first + run.count > there[part]:
                raise FormatError(f"the report accounts for a {part} that is not there, or twice")
            end = run.first + run.count
            yield from ((run.first + step, run.outcome) for step in range(run.count))


def _check_drawn(
    report: AuditReport,
    head: ManifestHead,
    pages: Mapping[int, tuple[ChunkRecord, ...]],
) -> None:
    """Exactly what the mode calls for is accounted for."""
    mode = report_json.mode_of(report.mode)
    checked = list(_expanded(report, head, AuditedPart.CHUNK))
    indices = [index for index, _ in checked]
    others = [
        len(list(_expanded(report, head, part)))
        for part in (AuditedPart.HEAD, AuditedPart.TENSOR_PAGE, AuditedPart.PLACEMENT)
    ]
    if report.chunk_count != head.chunk_count or others != [1, len(head.tensor_pages), 1]:
        raise FormatError("the report does not account for all parts of its version")
    touched = sorted({index // MAX_CHUNKS_A_PAGE for index in indices})
    if [index for index, _ in _expanded(report, head, AuditedPart.CHUNK_PAGE)] != touched:
        raise FormatError("the report does not account for the pages of its chunks")
    good = {index for index, outcome in checked if outcome is Outcome.OK}
    wanted_files = _whole_files(head, good) if isinstance(mode, modes.Full) else []
    if [index for index, _ in _expanded(report, head, AuditedPart.FILE)] != wanted_files:
        raise FormatError("the report does not account for the files of its version")
    # A sample is whatever was drawn, as long as it has its size: what it lacks is no chunk.
    wanted = modes.draw(mode, head.chunk_count, lambda _, count: (indices + count * [-1])[:count])
    if list(wanted) != indices:
        raise FormatError("the report accounts for other chunks than its mode calls for")
    if any(
        outcome is not Outcome.UNKNOWN and index // MAX_CHUNKS_A_PAGE not in pages
        for index, outcome in checked
    ):
        raise FormatError("the report judges chunks whose page it does not carry")
    if report.sentence != modes.sentence(mode, head.chunk_count, len(indices)):
        raise FormatError("the report's sentence does not follow from its chunks")  # 9


def _check_signature(report: AuditReport, head: ManifestHead) -> None:
    """Judge the model's signature again, from the bundles that the report carries."""
    checked = list(_expanded(report, head, AuditedPart.SIGNATURE))
    if report.signature is None:
        if checked:
            raise FormatError("the report judges a signature that it does not carry")
        return
    outcome, _ = judge_again(head, report.signature)
    if checked != [(0, outcome)]:
        raise FormatError("the report's outcome for the signature is not that of its bundles")


def judge_again(head: ManifestHead, evidence: SignatureEvidence) -> tuple[Outcome, str]:
    """Judge a model's signature from a report's evidence, for the files of a certified head.

    Raises:
        FormatError: The evidence is not about these files, or its key is none.
    """
    sha256 = {entry.path: entry.sha256 for entry in head.files}
    for path, content in evidence.bundles.items():
        if evidence.travels and sha256.get(path) != hashlib.sha256(content).digest():
            raise FormatError("the report carries a bundle that is not a file of its version")
    try:
        return judge_signature(head.files, evidence)
    except UsageError as error:
        raise FormatError(f"the report's signature: {error.what}") from error


def require_signer(expected: Expectation, evidence: SignatureEvidence | None) -> None:
    """Make sure that a report judges the signature of the expected signer, if there is one.

    Raises:
        CertificateError: It does not.
    """
    found = None if evidence is None else evidence.public_key
    if expected.signer is not None and expected.signer != found:
        raise CertificateError(
            "the report does not say whether the given key signed the model",
            hint="Audit the model again with --verify-signature and this --public-key.",
        )


def _whole_files(head: ManifestHead, good: AbstractSet[int]) -> list[int]:
    """List the files of which every chunk is good."""
    return [
        index
        for index, entry in enumerate(head.files)
        if all(
            chunk in good
            for chunk in range(entry.first_chunk, entry.first_chunk + entry.chunk_count)
        )
    ]


def _check_findings(
    report: AuditReport,
    head: ManifestHead,
    pages: Mapping[int, tuple[ChunkRecord, ...]],
) -> None:
    """Check that every failure has a finding that agrees with the manifest."""
    expected = {
        (part, index): outcome
        for part in AuditedPart
        for index, outcome in _expanded(report, head, part)
        if outcome is not Outcome.OK
    }
    found = {(finding.part, finding.index): finding.outcome for finding in report.findings}
    if expected != found or len(found) != len(report.findings):
        raise FormatError("the report's findings are not those of its checks")
    for finding in report.findings:
        if finding.part is AuditedPart.CHUNK:
            _check_finding(finding, head, pages)
        elif finding.file != _file_of(finding, head):
            raise FormatError(f"the report says something wrong of {finding.part} {finding.index}")


def _file_of(finding: Finding, head: ManifestHead) -> str | None:
    return head.files[finding.index].path if finding.part is AuditedPart.FILE else None


def _check_finding(
    finding: Finding, head: ManifestHead, pages: Mapping[int, tuple[ChunkRecord, ...]]
) -> None:
    path = next(
        entry.path
        for entry in head.files
        if entry.first_chunk <= finding.index < entry.first_chunk + entry.chunk_count
    )
    page, place = divmod(finding.index, MAX_CHUNKS_A_PAGE)
    digests: tuple[str | None, str | None] = (None, None)
    if page in pages:
        record = pages[page][place]
        digests = (record.content.hex(), record.frame.hex())
    if finding.file != path or (finding.content, finding.frame) != digests:
        raise FormatError(f"the report says something wrong of chunk {finding.index}")
