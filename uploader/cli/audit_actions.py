"""Actions of `datanode audit`, after its command line is parsed."""

import time
from contextlib import closing
from pathlib import Path
from typing import Final

from datanode.auditing import (
    AuditedPart,
    AuditReport,
    Finding,
    FleetReport,
    Full,
    Mode,
    Outcome,
    Rolling,
    Sample,
    Scrub,
    audit_any,
    audit_model,
)
from datanode.auditing.outcomes import REPAIRABLE
from datanode.errors import CorruptionError, UsageError
from datanode.files import disk_errors, replace_file
from datanode.model_signature import ExpectedSigner
from datanode.progress import Progress
from datanode.reader.proof import trust_witness
from datanode.surface import Connection
from uploader.cli import audit_fleet
from uploader.cli.output import Output
from uploader.cli.reports import show_report
from uploader.command_context import CommandContext
from uploader.session.manifest_repair import repair_manifest
from uploader.session.repair import repair
from uploader.source import open_source

_SEAL_AGAIN: Final = (
    "No repair can help: the version was sealed with other bytes than its manifest says. "
    "`datanode upload` seals a new version from the source."
)


def audit(
    output: Output,
    context: CommandContext,
    model: str,
    mode: Mode,
    *,
    version: int | None,
    jobs: int,
    report: Path | None,
    source: str | None,
    signer: ExpectedSigner | None,
) -> None:
    """Audit a model, write the report, and mend from `source` what is damaged.

    Raises:
        DataNodeError: What the audit found, if it was not mended.
    """
    try:
        result = _audit(output, context, model, mode, version=version, jobs=jobs, signer=signer)
    except CorruptionError:
        if source is None:
            raise
        _repair(output, context, source, model, _thorough(mode), version=version, result=None)
        return
    if isinstance(result, FleetReport):
        audit_fleet.conclude(output, context, result, report=report, source=source)
        return
    if report is not None:
        with disk_errors(report):
            replace_file(report, result.to_json(context.identity).encode(), mode=0o644)
        output.say(f"the report is in {report}")
        if context.identity.public_key_der is None:
            output.say("it is not signed: `datanode audit --verify` refuses it; use --identity")
    if (error := result.error()) is None:
        return
    if any(_is_sealed_wrong(finding) for finding in result.findings):
        raise CorruptionError(error.what, safe=error.safe, hint=_SEAL_AGAIN)
    if source is None:
        raise error
    _repair(output, context, source, model, _thorough(mode), version=result.version, result=result)


def _audit(
    output: Output,
    context: CommandContext,
    model: str,
    mode: Mode,
    *,
    version: int | None,
    jobs: int,
    signer: ExpectedSigner | None,
) -> AuditReport | FleetReport:
    target = context.coordinator()
    with output.progress() as progress:
        progress.stage(f"auditing {model}")
        result = audit_any(
            context.reader(target),
            context.node,
            model,
            mode,
            version=version,
            prover_of=lambda node: Connection(context.agent, context.node(node)),
            jobs=jobs,
            on_checked=_Counter(progress),
            signer=signer,
        )
    if isinstance(result, AuditReport):
        show_report(output, result)
    return result


class _Counter:
    """Counts checked chunks for a progress bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._done = progress, 0

    def __call__(self, _outcome: Outcome, total: int) -> None:
        self._done += 1
        self._progress.count(self._done, total, "chunks")


def _repair(
    output: Output,
    context: CommandContext,
    source: str,
    model: str,
    mode: Mode,
    *,
    version: int | None,
    result: AuditReport | None,
) -> None:
    """Repair what an audit found, and audit again; no result: not even the head was there."""
    target = context.node()
    reader = context.reader(target)
    count = size = 0
    with closing(open_source(source)) as opened, output.working("repairing"):
        if result is None or any(_is_of_manifest(finding) for finding in result.findings):
            trusted = trust_witness(
                target.witness(model, version),
                root_key=context.network.root_key,
                node=target.principal,
                model=model,
                version=version,
                now_ns=time.time_ns(),
            )
            output.say("the manifest is damaged: building it again from the source")
            done = repair_manifest(opened, target, reader, trusted)
            count, size, version = done.repaired_count, done.frame_bytes, trusted.version
            result = audit_model(reader, model, mode, version=version)
        damaged = [
            finding.index
            for finding in result.findings
            if finding.part is AuditedPart.CHUNK and finding.outcome in REPAIRABLE
        ]
        sealed = reader.open_version(model, result.version)
        records = [(index, sealed.record(index)) for index in damaged]
        done = repair(opened, target, model, records)
        count, size = count + done.repaired_count, size + done.frame_bytes
        again = audit_model(reader, model, mode, version=result.version)
    output.summary(
        f"{count} frames were sent again; the audit now says {again.verdict}",
        repaired=count,
        frame_bytes=size,
        verdict=again.verdict,
    )
    if (error := again.error()) is not None:
        raise error


def _thorough(mode: Mode) -> Mode:
    """Choose how a repair is checked: a sample would draw other chunks."""
    return mode if isinstance(mode, Scrub) else Full()


def _is_of_manifest(finding: Finding) -> bool:
    is_manifest = finding.part not in {AuditedPart.CHUNK, AuditedPart.FILE}
    return is_manifest and finding.outcome in REPAIRABLE


def _is_sealed_wrong(finding: Finding) -> bool:
    return finding.part is AuditedPart.FILE and finding.outcome is Outcome.CORRUPT


def read_mode(sample: int | None, rolling: str | None, *, scrub: bool) -> Mode:
    """Read how much is to be audited.

    Raises:
        UsageError: Several ways are chosen, or a part is none.
    """
    if sum((sample is not None, rolling is not None, scrub)) > 1:
        raise UsageError("choose one of --sample, --rolling and --scrub")
    if sample is not None:
        return Sample(sample)
    if scrub:
        return Scrub()
    if rolling is None:
        return Full()
    part, _, parts = rolling.partition("/")
    if not (part.isascii() and part.isdigit() and parts.isascii() and parts.isdigit()):
        raise UsageError(f"--rolling takes N/T such as 3/10, not {rolling!r}")
    return Rolling(int(part), int(parts))
