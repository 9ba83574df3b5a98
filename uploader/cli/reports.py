"""Reports of audits on the command line: shown, and verified offline."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from datanode.agent.network import connect
from datanode.auditing import (
    AuditReport,
    Expectation,
    Finding,
    FleetVerdict,
    ReportVerdict,
    is_fleet_report,
    report_json,
    verify_fleet_report,
    verify_report,
)
from datanode.command_context import IDENTITY_FILE, load_identity, parse_root_key
from datanode.config import Settings
from datanode.errors import UsageError
from datanode.files import disk_errors
from datanode.folders import config_folder
from datanode.limits import CERTIFICATE_MAX_AGE_NS
from datanode.node import registry
from datanode.principal import Principal
from datanode.text import printable
from datanode.units import SECOND_NS
from uploader.cli.amounts import parse_duration, parse_principal
from uploader.cli.output import Output

_MAX_DETAIL: Final = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Expectations of a report, as typed on the command line.

    Attributes:
        model: Name of the model.
        node: A known node's name or a canister id.
        version: The audited version.
        auditors: Principals whose signature is trusted; None: those of the settings, and one's own.
        max_age: How old the report may be.
        signer: Public key, DER, that the model's signature was checked with.
    """

    model: str | None
    node: str | None
    version: int | None
    auditors: Sequence[str] | None
    max_age: str | None
    signer: bytes | None = None


def verify(output: Output, path: Path, settings: Settings, wanted: Wanted) -> None:
    """Verify a report; no node is asked.

    Raises:
        DataNodeError: It does not prove what is wanted, or what it says that it found.
    """
    auditors = _auditors(settings, wanted)
    max_age_s = None if wanted.max_age is None else parse_duration(wanted.max_age)
    trusted = connect(settings.network, root_key=parse_root_key(settings.root_key), say=output.say)
    node = wanted.node
    now_ns = time.time_ns()
    try:
        with disk_errors(path), path.open("rb") as file:
            # One byte too many is enough to be refused.
            text = file.read(report_json.MAX_REPORT_BYTES + 1).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a report") from error
    expected = Expectation(
        model=wanted.model,
        node=None
        if node is None
        else registry.resolve_fleet(config_folder(), node, network=trusted.name)[0],
        version=wanted.version,
        oldest_ns=None if max_age_s is None else now_ns - max_age_s * SECOND_NS,
        newest_ns=None if max_age_s is None else now_ns + CERTIFICATE_MAX_AGE_NS,
        signer=wanted.signer,
    )
    verdict: ReportVerdict | FleetVerdict
    if is_fleet_report(text):
        verdict = verify_fleet_report(
            text, root_key=trusted.root_key, auditors=auditors, expected=expected
        )
        _show_fleet(output, verdict)
    else:
        verdict = verify_report(
            text, root_key=trusted.root_key, auditors=auditors, expected=expected
        )
        show_report(output, verdict.report, auditor=verdict.auditor)
    if (finding := verdict.error()) is not None:
        raise finding


def _show_fleet(output: Output, verdict: FleetVerdict) -> None:
    if verdict.signature is not None and verdict.outcome is not None:
        words = printable(verdict.signature, _MAX_DETAIL)
        output.item(kind="signature", outcome=verdict.outcome.value, detail=words)
        output.say(f"signature: {words}")
    for each in verdict.reports:
        show_report(output, each.report, auditor=each.auditor)


def _auditors(settings: Settings, wanted: Wanted) -> set[Principal]:
    if wanted.auditors:
        return {parse_principal(text) for text in wanted.auditors}
    known = {parse_principal(text) for text in (settings.auditor or "").split()}
    path = Path(settings.identity or config_folder() / IDENTITY_FILE).expanduser()
    if settings.identity != "anonymous" and path.exists():
        known.add(load_identity(path).principal)
    return known


def show_report(output: Output, result: AuditReport, *, auditor: Principal | None = None) -> None:
    """Show what an audit found; with an auditor, whose report it is and how old."""
    show_findings(output, result.findings)
    counts = {outcome.value: count for outcome, count in result.counts.items() if count}
    text = (
        f"{result.model} version {result.version} on {result.node}: {result.verdict}. "
        f"{result.sentence}"
    )
    signature = result.signature
    if signature is not None:
        text += f"\nsignature: {printable(signature.detail, _MAX_DETAIL)}"
    if auditor is not None:
        text += (
            f"\naudited by {auditor} on {_date(result.made_ns)}, "
            f"by a certificate of {_date(result.certified_ns)}"
        )
    output.summary(
        text,
        model=result.model,
        version=result.version,
        latest=result.latest,
        node=result.node.text,
        manifest=result.manifest.hex(),
        verdict=result.verdict,
        mode=result.mode,
        chunks=result.chunk_count,
        counts=counts,
        sentence=result.sentence,
        auditor=None if auditor is None else auditor.text,
        made=_date(result.made_ns),
        made_ns=result.made_ns,
        certified=_date(result.certified_ns),
        certified_ns=result.certified_ns,
        freezing_days=result.freezing_days,
        signature=None if signature is None else signature.detail,
        module_hash=result.canister.module_hash.hex() if result.canister else None,
    )


def show_findings(output: Output, findings: Sequence[Finding]) -> None:
    """Show findings, one row each."""
    for finding in findings:
        output.item(
            kind="finding",
            part=finding.part.value,
            index=finding.index,
            outcome=finding.outcome.value,
            detail=finding.detail,
            file=finding.file,
            tensor=finding.tensor,
            offset_bytes=finding.offset_bytes,
            content=finding.content,
            frame=finding.frame,
        )
    if findings:
        output.table(
            ["part", "> index", "outcome", "file", "tensor", "> offset"],
            [
                [
                    finding.part.value,
                    str(finding.index),
                    finding.outcome.value,
                    finding.file or "-",
                    finding.tensor or "-",
                    "-" if finding.offset_bytes is None else f"{finding.offset_bytes:,}",
                ]
                for finding in findings
            ],
        )


def _date(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / SECOND_NS, UTC).isoformat(timespec="seconds")
