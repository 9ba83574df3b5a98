"""Audits: what a node certifies, compared with what it gives, and a report that proves it."""

from datanode.agent.envelope import Signer
from datanode.auditing.auditor import Prover, audit_model
from datanode.auditing.modes import Full, Mode, Rolling, Sample, Scrub
from datanode.auditing.outcomes import Finding, Outcome, Part
from datanode.auditing.report import AuditReport
from datanode.auditing.verifying import ReportVerdict, verify_report

__all__ = [
    "AuditReport",
    "Finding",
    "Full",
    "Mode",
    "Outcome",
    "Part",
    "Prover",
    "ReportVerdict",
    "Rolling",
    "Sample",
    "Scrub",
    "Signer",
    "audit_model",
    "verify_report",
]
