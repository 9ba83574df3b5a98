"""What `datanode audit` does, once its command line is read."""

import time
from contextlib import closing
from pathlib import Path

from datanode.agent.network import connect
from datanode.auditing import (
    AuditReport,
    Full,
    Mode,
    Outcome,
    Part,
    Rolling,
    Sample,
    Scrub,
    audit_model,
    reading,
    verify_report,
)
from datanode.auditing.outcomes import BROKEN
from datanode.errors import CorruptionError, UsageError
from datanode.files import disk_errors, replace_file
from datanode.reader.proof import trust_witness
from datanode.surface import Connection
from uploader.cli.output import Output
from uploader.config import Settings
from uploader.place import Place, parse_root_key
from uploader.progress import Progress
from uploader.session.manifest_repair import repair_manifest
from uploader.session.repair import repair
from uploader.source import open_source


def audit(
    output: Output,
    place: Place,
    model: str,
    mode: Mode,
    *,
    version: int | None,
    jobs: int,
    report: Path | None,
    source: str | None,
) -> None:
    """Audit a model, write the report, and mend from `source` what is damaged.

    Raises:
        DataNodeError: What the audit found, if it was not mended.
    """
    try:
        result = _audit(output, place, model, mode, version=version, jobs=jobs)
    except CorruptionError:
        if source is None:
            raise
        _repair(output, place, source, model, version=version, result=None)
        return
    if report is not None:
        with disk_errors(report):
            replace_file(report, result.to_json(place.identity).encode(), mode=0o644)
        output.say(f"the report is in {report}")
    if (error := result.error()) is None:
        return
    if source is None:
        raise error
    _repair(output, place, source, model, version=result.version, result=result)


def _audit(
    output: Output, place: Place, model: str, mode: Mode, *, version: int | None, jobs: int
) -> AuditReport:
    target = place.node()
    with output.progress() as progress:
        progress.stage(f"auditing {model}")
        result = audit_model(
            place.reader(target),
            model,
            mode,
            version=version,
            prover=Connection(place.agent, target),
            jobs=jobs,
            on_checked=_Counter(progress),
        )
    _show(output, result)
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
    place: Place,
    source: str,
    model: str,
    *,
    version: int | None,
    result: AuditReport | None,
) -> None:
    """Mend what an audit found; without a result, not even the head of the manifest was there."""
    target = place.node()
    reader = place.reader(target)
    count = size = 0
    with closing(open_source(source)) as opened, output.working("repairing"):
        if result is None or any(finding.part is not Part.CHUNK for finding in result.findings):
            trusted = trust_witness(
                target.witness(model, version),
                root_key=place.network.root_key,
                node=target.principal,
                model=model,
                version=version,
                now_ns=time.time_ns(),
            )
            output.say("the manifest is damaged: making it again from the source")
            done = repair_manifest(opened, target, reader, trusted)
            count, size, version = done.repaired_count, done.frame_bytes, trusted.version
            result = audit_model(reader, model, version=version)
        damaged = [
            finding.index
            for finding in result.findings
            if finding.part is Part.CHUNK and finding.outcome in BROKEN
        ]
        sealed = reader.open_version(model, result.version)
        records = [(index, sealed.record(index)) for index in damaged]
        done = repair(opened, target, model, records)
        count, size = count + done.repaired_count, size + done.frame_bytes
        again = audit_model(reader, model, version=result.version)
    output.summary(
        f"{count} frames were sent again; the audit now says {again.verdict}",
        repaired=count,
        frame_bytes=size,
        verdict=again.verdict,
    )
    if (error := again.error()) is not None:
        raise error


def verify(output: Output, path: Path, settings: Settings) -> None:
    """Verify a report; no node is asked.

    Raises:
        DataNodeError: What the report says that it found.
    """
    trusted = connect(settings.network, root_key=parse_root_key(settings.root_key), say=output.say)
    try:
        with disk_errors(path), path.open("rb") as file:
            # One byte too many is enough to be refused.
            text = file.read(reading.MAX_REPORT_BYTES + 1).decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not a report") from error
    verdict = verify_report(text, root_key=trusted.root_key)
    _show(output, verdict.report)
    auditor = verdict.auditor.text if verdict.auditor else "nobody"
    output.say(f"the report proves what it says; its outcomes are vouched for by {auditor}")
    if (finding := verdict.error()) is not None:
        raise finding


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


def _show(output: Output, result: AuditReport) -> None:
    for finding in result.findings:
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
    if result.findings:
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
                for finding in result.findings
            ],
        )
    counts = {outcome.value: count for outcome, count in result.counts.items() if count}
    output.summary(
        f"{result.model} version {result.version} on {result.node}: {result.verdict}. "
        f"{result.sentence}",
        model=result.model,
        version=result.version,
        node=result.node.text,
        manifest=result.manifest.hex(),
        verdict=result.verdict,
        chunks=result.chunk_count,
        counts=counts,
        sentence=result.sentence,
        freezing_days=result.freezing_days,
        module_hash=result.canister.module_hash.hex() if result.canister else None,
    )
