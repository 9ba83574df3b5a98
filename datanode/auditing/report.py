"""The report of an audit: a JSON file that proves later what was proven now.

::

    {"v": 2, "kind": "datanode-audit", "datanode": <release>, "made_ns": number,
     "root_key": <DER, hex>, "node": text, "model": text, "version": number, "latest": number,
     "manifest": <digest, hex>, "placement": <digest, hex>, "certified_ns": number,
     "mode": {"kind": "full" | "sample" | "rolling" | "scrub", ...}, "chunk_count": number,
     "checks": [[part, first index, count, outcome], ...], "findings": [{...}, ...],
     "counts": {outcome: number}, "sentence": text,
     "verdict": "ok" | "corrupt" | "unsigned" | "incomplete",
     "canister": {"module_hash": hex, "controllers": [text, ...], "certificate": base64} or null,
     "status": {"interface_version": number, "store_version": number, "freezing_days": or null},
     "proof": {"certificate": base64, "witness": base64, "head": <frame, base64>,
               "chunk_pages": {index: <frame, zlib, base64>}},
     "signature": absent, or {"public_key": <DER, hex>, "source": "model" | "file",
                              "bundles": {path: base64}, "detail": text},
     "seal": {"digest": <SHA-256, hex>, "auditor": text or null, "public_key": hex or null,
              "signature": hex or null}}

The digest is over the canonical JSON (sorted keys, no spaces) of everything but the seal. What the
subnet certified (manifest, module hash, controllers) proves itself; what the auditor saw of the
bytes is the auditor's word, and the signature says whose. Without the signature of an auditor that
the verifier trusts, the outcomes prove nothing.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, TypeAlias

from datanode.agent.envelope import Signer
from datanode.auditing.outcomes import BROKEN, AuditedPart, Finding, FindingRun, Outcome, verdict
from datanode.auditing.signature_check import SignatureEvidence
from datanode.errors import DataNodeError, SignatureError
from datanode.principal import Principal

REPORT_VERSION: Final = 2
"""1 accounted for neither head nor files."""
KIND: Final = "datanode-audit"
SIGNATURE_DOMAIN: Final = b"\x0edatanode-audit"

Json: TypeAlias = "str | int | Sequence[Json] | Mapping[str, Json] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterFacts:
    """Facts about the canister that the subnet certifies.

    Attributes:
        module_hash: SHA-256 of the installed module.
        controllers: Who may change it.
        certificate: The certificate that says so, CBOR.
    """

    module_hash: bytes
    controllers: tuple[Principal, ...]
    certificate: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Proof material for offline verification; untrusted until verified.

    Attributes:
        certificate: Over the canister's certified data, CBOR.
        witness: Hash tree, CBOR.
        head: Frame of the manifest's head.
        chunk_pages: Frames of the pages that hold the drawn chunks, by index, compressed by zlib:
            a page that is not the manifest's is never held inflated.
    """

    certificate: bytes
    witness: bytes
    head: bytes
    chunk_pages: Mapping[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """Result of an audit, with its proof.

    Attributes:
        datanode: Release that made it.
        made_ns: When, by the auditor's clock.
        root_key: The network's root key, DER.
        node: The audited canister.
        model: Name of the model.
        version: The audited version.
        latest: The highest version at that time.
        manifest: Manifest digest.
        placement: Digest of the placement record.
        certified_ns: When the subnet certified it.
        mode: How much was looked at; see `modes.describe`.
        chunk_count: Chunks of the version.
        checks: All outcomes, as runs, by part.
        findings: What is not OK.
        sentence: What this proves, in words.
        canister: Module and controllers, where they could be read.
        interface_version: Of the node.
        store_version: Of the node.
        freezing_days: How long the node's cycles last; None where it does not tell.
        proof: For verification offline.
        signature: What the outcome for the model's signature follows from; None: not asked for.
    """

    datanode: str
    made_ns: int
    root_key: bytes
    node: Principal
    model: str
    version: int
    latest: int
    manifest: bytes
    placement: bytes
    certified_ns: int
    mode: Mapping[str, str | int]
    chunk_count: int
    checks: tuple[tuple[AuditedPart, FindingRun], ...]
    findings: tuple[Finding, ...]
    sentence: str
    canister: CanisterFacts | None
    interface_version: int
    store_version: int
    freezing_days: int | None
    proof: Proof
    signature: SignatureEvidence | None = None

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many chunks had each outcome."""
        counts: dict[Outcome, int] = {
            outcome: 0 for outcome in Outcome if outcome is not Outcome.UNSIGNED
        }
        for part, run in self.checks:
            if part is AuditedPart.CHUNK:
                counts[run.outcome] += run.count
        return counts

    @property
    def outcomes(self) -> set[Outcome]:
        """Every outcome of every check."""
        return {run.outcome for _, run in self.checks}

    @property
    def verdict(self) -> str:
        """In one word: `ok`, `corrupt`, `unsigned` or `incomplete`."""
        if self.outcomes & BROKEN:
            return "corrupt"
        if Outcome.UNSIGNED in self.outcomes:
            return "unsigned"
        return "incomplete" if self.outcomes - {Outcome.OK} else "ok"

    def error(self) -> DataNodeError | None:
        """The error that says what is wrong, or None; it is returned, not raised."""
        error = verdict(self.outcomes)
        if isinstance(error, SignatureError) and self.signature is not None:
            return SignatureError(self.signature.detail)
        return error

    def to_json(self, signer: Signer | None = None) -> str:
        """Write the report down, signed where a signer can sign."""
        body = document(self)
        digest = body_digest(body)
        seal: dict[str, Json] = {
            "digest": digest.hex(),
            "auditor": None,
            "public_key": None,
            "signature": None,
        }
        if signer is not None and signer.public_key_der is not None:
            seal["auditor"] = signer.principal.text
            seal["public_key"] = signer.public_key_der.hex()
            seal["signature"] = signer.sign(SIGNATURE_DOMAIN + digest).hex()
        return json.dumps({**body, "seal": seal}, indent=1) + "\n"


def body_digest(body: Mapping[str, Json]) -> bytes:
    """Digest everything but the seal."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def document(report: AuditReport) -> dict[str, Json]:
    """Write a report as JSON values, without the seal."""
    canister, signature = report.canister, report.signature
    asked: dict[str, Json] = {} if signature is None else {"signature": signature_fields(signature)}
    return {
        "v": REPORT_VERSION,
        "kind": KIND,
        "datanode": report.datanode,
        "made_ns": report.made_ns,
        "root_key": report.root_key.hex(),
        "node": report.node.text,
        "model": report.model,
        "version": report.version,
        "latest": report.latest,
        "manifest": report.manifest.hex(),
        "placement": report.placement.hex(),
        "certified_ns": report.certified_ns,
        "mode": dict(report.mode),
        "chunk_count": report.chunk_count,
        "checks": [
            [part.value, run.first, run.count, run.outcome.value] for part, run in report.checks
        ],
        "findings": [asdict(finding) for finding in report.findings],
        "counts": {outcome.value: count for outcome, count in report.counts.items()},
        "sentence": report.sentence,
        "verdict": report.verdict,
        "canister": None
        if canister is None
        else {
            "module_hash": canister.module_hash.hex(),
            "controllers": [controller.text for controller in canister.controllers],
            "certificate": _base64(canister.certificate),
        },
        "status": {
            "interface_version": report.interface_version,
            "store_version": report.store_version,
            "freezing_days": report.freezing_days,
        },
        "proof": {
            "certificate": _base64(report.proof.certificate),
            "witness": _base64(report.proof.witness),
            "head": _base64(report.proof.head),
            "chunk_pages": {
                str(index): _base64(page)
                for index, page in sorted(report.proof.chunk_pages.items())
            },
        },
        **asked,
    }


def signature_fields(signature: SignatureEvidence) -> Json:
    """Return evidence for a model's signature as fields of a JSON object."""
    return {
        "public_key": signature.public_key.hex(),
        "source": "model" if signature.travels else "file",
        "bundles": {name: _base64(content) for name, content in signature.bundles.items()},
        "detail": signature.detail,
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
