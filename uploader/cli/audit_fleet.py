"""`datanode audit` over a fleet: one row a member; damage repaired from the whole checkpoint."""

from contextlib import closing
from pathlib import Path

from datanode.auditing import AuditedPart, AuditReport, FleetReport, verify_fleet_report
from datanode.auditing.outcomes import REPAIRABLE
from datanode.errors import DataNodeError, UsageError
from datanode.files import disk_errors, replace_file
from datanode.fleet_index import FleetIndex, parse_fleet_index
from uploader.chunker import Layout
from uploader.cli.output import Output
from uploader.cli.reports import show_findings
from uploader.command_context import CommandContext
from uploader.session.fleet_parts import member_parts
from uploader.session.repair import repair
from uploader.source import Source, open_source

__all__ = ["conclude", "repair_parts", "show_fleet_report", "verify_fleet_report"]


def show_fleet_report(output: Output, result: FleetReport) -> None:
    """Show what an audit over a fleet found: findings, then one row a member."""
    show_findings(output, result.findings)
    index = parse_fleet_index(result.index)
    rows = [_row("index", result.index_report)]
    for part, report in zip(index.parts, result.part_reports, strict=True):
        rows.append([part.node.text, "-", "-", "failed"] if report is None else _row("", report))
    for at, row in enumerate(rows):
        output.item(kind="member", part=at, node=row[0], verdict=row[3])
    for problem in result.problems:
        output.item(kind="problem", exit_code=problem.exit_code, what=problem.what)
        output.say(problem.what)
    output.table(["node", "holds", "> chunks", "verdict"], rows)
    output.summary(
        f"{result.model} version {result.version} over {len(index.parts)} members: "
        f"{result.verdict}. {result.sentence}"
        + ("" if result.signature is None else f"\nsignature: {result.signature}"),
        model=result.model,
        version=result.version,
        verdict=result.verdict,
        members=[part.node.text for part in index.parts],
        chunks=index.chunk_count,
        sentence=result.sentence,
        signature=result.signature,
    )


def _row(holds: str, report: AuditReport) -> list[str]:
    return [report.node.text, holds or "part", f"{report.chunk_count:,}", report.verdict]


def conclude(
    output: Output,
    context: CommandContext,
    result: FleetReport,
    *,
    report: Path | None,
    source: str | None,
) -> None:
    """Show the result, write the report, and repair from `source` what is damaged.

    Raises:
        DataNodeError: What the audit found, if it was not repaired.
    """
    show_fleet_report(output, result)
    if report is not None and None not in result.part_reports:
        with disk_errors(report):
            replace_file(report, result.to_json(context.identity).encode(), mode=0o644)
        output.say(f"the report is in {report}")
    error = result.error()
    if error is None:
        return
    if source is None or result.problems:
        raise error
    with closing(open_source(source)) as opened, output.working("repairing"):
        count = repair_parts(context, opened, result)
    output.say(f"{count} frames were sent again; run the audit again to see that all is well")


def repair_parts(context: CommandContext, source: Source, result: FleetReport) -> int:
    """Send the damaged frames of all parts again; returns how many.

    Raises:
        UsageError: Something else than chunks is damaged.
        DataNodeError: The source does not have the bytes, or a member refuses them.
    """
    index = parse_fleet_index(result.index)
    layout = Layout(source.files(), source.tensors())
    parts = member_parts(source, layout, _members(index, layout))
    count = 0
    for part, named, report in zip(parts, index.parts, result.part_reports, strict=True):
        if report is None or report.error() is None:
            continue
        node = context.node(named.node)
        wrong = [each for each in report.findings if each.part is not AuditedPart.CHUNK]
        if wrong or any(each.outcome not in REPAIRABLE for each in report.findings):
            raise UsageError(
                f"member {named.node}: its part is damaged beyond its chunks",
                hint=f"Repair it alone: `datanode audit {report.model} --node {named.node} "
                "--repair SOURCE` with the part fetched from a copy.",
            )
        sealed = context.reader(node).open_version(report.model, report.version)
        damaged = [(each.index, sealed.record(each.index)) for each in report.findings]
        try:
            count += repair(part.source, node, report.model, damaged).repaired_count
        except DataNodeError as error:
            error.what = f"member {named.node}: {error.what}"
            raise
    return count


def _members(index: FleetIndex, layout: Layout) -> list[int]:
    """Return the part of each chunk, as the index has it.

    Raises:
        UsageError: The source has another number of chunks: it is another checkpoint.
    """
    members = [part for part, _, count in index.segments for _ in range(count)]
    if len(members) != layout.chunk_count:
        raise UsageError("the source is not the checkpoint that was sealed: it has other chunks")
    return members
