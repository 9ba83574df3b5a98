"""Verifies a report offline, later, by somebody who trusts nothing but a root key.

1. The JSON is a report, strictly; its digest is that of its content.
2. Where it is signed, the signature is the auditor's: the outcomes are that person's word.
3. The certificate and the witness prove the version, by the root key that the verifier trusts,
   at the time that the report states (steps 1 to 4 of `datanode/reader/proof.py`).
4. The head and the chunk pages that it carries are those of the certified manifest.
5. Exactly the chunks that the mode calls for are accounted for, each once, and all tensor pages
   and the placement; chunks whose page is not carried are not judged.
6. Every finding names the file and the digests that the manifest has at that place, and every
   outcome but OK has its finding.
7. Module hash and controllers are certified for the same canister.
8. Counts, verdict and sentence are what follows from all that.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from datanode.agent import cbor
from datanode.agent.certificate import open_certificate
from datanode.agent.signature import verify as verify_signature
from datanode.auditing import modes, reading
from datanode.auditing.outcomes import Finding, Outcome, Part
from datanode.auditing.report import (
    SIGNATURE_DOMAIN,
    AuditReport,
    CanisterFacts,
    body_digest,
    document,
)
from datanode.errors import (
    CertificateError,
    CorruptionError,
    DataNodeError,
    FormatError,
    NotFoundError,
)
from datanode.limits import MAX_CHUNKS_A_PAGE
from datanode.manifest import ManifestHead
from datanode.model import ChunkRecord
from datanode.node.port import WitnessAnswer
from datanode.principal import Principal
from datanode.reader import proof

_SEAL: Final = {"digest", "auditor", "public_key", "signature"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportVerdict:
    """What a report proves.

    Attributes:
        report: Its content, all of it consistent.
        auditor: Whose signature it carries; None: nobody vouches for the outcomes.
    """

    report: AuditReport
    auditor: Principal | None

    def error(self) -> DataNodeError | None:
        """The error that the audit came to, or None."""
        return self.report.error()


def verify_report(text: str, *, root_key: bytes) -> ReportVerdict:
    """Verify a report by a root key that is trusted.

    Raises:
        FormatError: It is not a report, or it was altered.
        CertificateError: It does not prove what it says.
        UnsupportedVersionError: A newer release wrote it.
    """
    content = reading.load(text)
    seal = reading.Fields(content.pop("seal", None))
    report = reading.parse(content)
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
    return ReportVerdict(report=report, auditor=auditor)


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


def _auditor(seal: reading.Fields, digest: bytes) -> Principal | None:
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
    return proof.trust_chunk_page(head, index, reading.inflate(page))


def _expanded(report: AuditReport, head: ManifestHead, part: Part) -> Iterator[tuple[int, Outcome]]:
    """Every check of a part, in rising order; never more than the manifest has."""
    there = {
        Part.CHUNK: head.chunk_count,
        Part.CHUNK_PAGE: len(head.chunk_pages),
        Part.TENSOR_PAGE: len(head.tensor_pages),
        Part.PLACEMENT: 1,
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
    mode = reading.mode_of(report.mode)
    checked = list(_expanded(report, head, Part.CHUNK))
    indices = [index for index, _ in checked]
    others = [
        len(list(_expanded(report, head, part))) for part in (Part.TENSOR_PAGE, Part.PLACEMENT)
    ]
    if report.chunk_count != head.chunk_count or others != [len(head.tensor_pages), 1]:
        raise FormatError("the report does not account for all parts of its version")
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
        raise FormatError("the report's sentence does not follow from its chunks")  # 8


def _check_findings(
    report: AuditReport,
    head: ManifestHead,
    pages: Mapping[int, tuple[ChunkRecord, ...]],
) -> None:
    """What is not OK has its finding, and a finding says what the manifest says."""
    expected = {
        (part, index): outcome
        for part in Part
        for index, outcome in _expanded(report, head, part)
        if outcome is not Outcome.OK
    }
    found = {(finding.part, finding.index): finding.outcome for finding in report.findings}
    if expected != found or len(found) != len(report.findings):
        raise FormatError("the report's findings are not those of its checks")
    for finding in report.findings:
        if finding.part is Part.CHUNK:
            _check_finding(finding, head, pages)


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
