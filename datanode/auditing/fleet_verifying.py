"""Verify the report of an audit over a fleet offline, by a root key and trusted auditors.

1. Each report is verified as that of a single node; the first is about a version over a fleet.
2. The index is a file of that version, by SHA-256; each other report is about a part that it names.
3. The head of the whole is a file of that version too; the model's signature is judged again for
   the files that it names.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial

from datanode import frame
from datanode.auditing.fleet_audit import KIND, REPORT_VERSION
from datanode.auditing.outcomes import Outcome
from datanode.auditing.report import AuditReport
from datanode.auditing.report_json import MAX_REPORT_BYTES, JsonFields, parse_signature
from datanode.auditing.signature_check import SignatureEvidence
from datanode.auditing.verifying import (
    ANYTHING,
    Expectation,
    ReportVerdict,
    judge_again,
    require_signer,
    verify_report,
)
from datanode.errors import (
    CertificateError,
    CorruptionError,
    DataNodeError,
    FormatError,
    SignatureError,
    UnsupportedVersionError,
)
from datanode.fleet_index import HEAD_PATH, INDEX_PATH, FleetIndex, parse_fleet_index
from datanode.manifest import ManifestHead, parse_head
from datanode.part_names import is_part_name, part_name
from datanode.principal import Principal
from datanode.reader.fleet_version import is_fleet_version


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetVerdict:
    """Statements that a verified report of a fleet proves.

    Attributes:
        reports: One for each member that was audited, the coordinator's version first.
        outcome: Whether the model's signature verifies; None: the report does not judge it.
        signature: That outcome in words.
    """

    reports: tuple[ReportVerdict, ...]
    outcome: Outcome | None = None
    signature: str | None = None

    def error(self) -> DataNodeError | None:
        """The error that the audit came to, or None."""
        for verdict in self.reports:
            if (error := verdict.error()) is not None:
                error.what = f"member {verdict.report.node}: {error.what}"
                return error
        if self.outcome in (None, Outcome.OK):
            return None
        kind = SignatureError if self.outcome is Outcome.UNSIGNED else CorruptionError
        return kind(self.signature or "the signature of the model does not verify")


def is_fleet_report(text: str) -> bool:
    """Whether a text begins as a report of `FleetReport.to_json` does."""
    return f'"kind": "{KIND}"' in text[:200]


def verify_fleet_report(
    text: str,
    *,
    root_key: bytes,
    auditors: Collection[Principal],
    expected: Expectation = ANYTHING,
) -> FleetVerdict:
    """Verify a report of a fleet offline: each report, that they are about one version, signature.

    Args:
        text: The report, untrusted.
        root_key: The network's root key, DER.
        auditors: Whose word is taken for the outcomes.
        expected: What the version on the coordinator must be.

    Raises:
        FormatError: It is not such a report, or it was altered.
        CertificateError: It does not prove what it says, or leaves a member out.
    """
    if len(text) > MAX_REPORT_BYTES:
        raise FormatError(f"a report of {len(text)} bytes")
    try:
        content = JsonFields(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"the report is not JSON: {error}") from error
    if content.text("kind") != KIND:
        raise FormatError("this is not a report of an audit of a fleet")
    if content.number("v") != REPORT_VERSION:
        raise UnsupportedVersionError(
            f"fleet report version {content.number('v')}, this release reads {REPORT_VERSION}"
        )
    texts = [each for each in content.items("reports") if isinstance(each, str)]
    if not texts:
        raise FormatError("the report of a fleet has no reports")
    of_one = replace(expected, signer=None)
    verify = partial(verify_report, root_key=root_key, auditors=auditors)
    first = verify(texts[0], expected=of_one)
    sha256 = _certified_files(first.report)
    index = _index(content.hex("index"), sha256)
    ages = replace(of_one, model=part_name(first.report.model))
    if len(texts) != 1 + len(index.parts):
        raise CertificateError(
            f"the report has {len(texts) - 1} parts, and the version has {len(index.parts)}"
        )
    verdicts = [first]
    for part, each in zip(index.parts, texts[1:], strict=True):
        verdict = verify(each, expected=replace(ages, node=part.node, version=part.version))
        if verdict.report.manifest != part.manifest:
            raise CertificateError(
                f"member {part.node}: the report is about another part than the index names"
            )
        verdicts.append(verdict)
    evidence = content.optional("signature", lambda name: parse_signature(content.inner(name)))
    require_signer(expected, evidence)
    if evidence is None:
        return FleetVerdict(reports=tuple(verdicts))
    outcome, words = _judged(content.hex("head"), sha256, evidence)
    return FleetVerdict(reports=tuple(verdicts), outcome=outcome, signature=words)


def _certified_files(report: AuditReport) -> dict[str, bytes]:
    """Return the SHA-256 of each file of the version on the coordinator.

    Raises:
        CertificateError: It is no version over a fleet.
    """
    head = parse_head(frame.parse(report.proof.head).open())
    if is_part_name(report.model) or not is_fleet_version(head):
        raise CertificateError("the first report is not about a version over a fleet")
    return {entry.path: entry.sha256 for entry in head.files}


def _index(raw: bytes, sha256: dict[str, bytes]) -> FleetIndex:
    if sha256.get(INDEX_PATH) != hashlib.sha256(raw).digest():
        raise CertificateError("the index in the report is not that of the certified version")
    return parse_fleet_index(raw)


def _judged(
    head_frame: bytes, sha256: dict[str, bytes], evidence: SignatureEvidence
) -> tuple[Outcome, str]:
    if sha256.get(HEAD_PATH) != hashlib.sha256(head_frame).digest():
        raise CertificateError("the head in the report is not that of the certified version")
    head: ManifestHead = parse_head(frame.parse(head_frame).open())
    return judge_again(head, evidence)
