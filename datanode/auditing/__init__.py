"""Audits: what a node certifies, compared with what it gives, and a report that proves it."""

from datanode.agent.envelope import Signer
from datanode.auditing.auditor import Prover, audit_model
from datanode.auditing.fleet_audit import FleetReport, audit_any
from datanode.auditing.fleet_verifying import FleetVerdict, is_fleet_report, verify_fleet_report
from datanode.auditing.modes import Full, Mode, Rolling, Sample, Scrub
from datanode.auditing.outcomes import AuditedPart, Finding, Outcome
from datanode.auditing.report import AuditReport
from datanode.auditing.verifying import Expectation, ReportVerdict, verify_report

__all__ = [
    "AuditReport",
    "AuditedPart",
    "Expectation",
    "Finding",
    "FleetReport",
    "FleetVerdict",
    "Full",
    "Mode",
    "Outcome",
    "Prover",
    "ReportVerdict",
    "Rolling",
    "Sample",
    "Scrub",
    "Signer",
    "audit_any",
    "audit_model",
    "is_fleet_report",
    "verify_fleet_report",
    "verify_report",
]
