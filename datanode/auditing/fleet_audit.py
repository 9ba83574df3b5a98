"""The audit of a version over a fleet: its index, and the part of each member.

1. The version on the coordinator is audited in full: it is small, and it names the parts.
2. Each member proves the part that the index names, and the part is audited there in its own mode.
3. Every chunk of the manifest of the whole is the chunk of the part where the index places it.
4. In a full audit the files of the whole are read once more, for their SHA-256.

A member that fails is a problem of its own, with its name; the others are audited all the same.
The report is JSON; `head` and `signature` are there where a signature was looked at::

    {"v": 1, "kind": "datanode-fleet-audit", "index": <as stored, hex>,
     "head": <frame of the head of the whole, hex>, "signature": {as in a report of one node},
     "reports": [<report of the index, as text>, <of each part, in the order of the index>, ...]}
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from datanode.agent.envelope import Signer
from datanode.auditing import modes
from datanode.auditing.auditor import Prover, audit_model
from datanode.auditing.outcomes import Finding, Outcome
from datanode.auditing.report import AuditReport, Json, signature_fields
from datanode.auditing.signature_check import SignatureEvidence, check_signature
from datanode.errors import (
    CorruptionError,
    DataNodeError,
    FormatError,
    SignatureError,
)
from datanode.fleet_index import INDEX_PATH, FleetIndex, FleetPart
from datanode.model_signature import ExpectedSigner
from datanode.part_names import part_name
from datanode.principal import Principal
from datanode.reader import Reader, VerifiedVersion
from datanode.reader.fleet_version import (
    MAX_INDEX_BYTES,
    NodeOf,
    is_fleet_version,
    open_fleet_version,
    open_index,
    open_part,
    read_file,
    read_index,
    whole_version,
)
from datanode.reader.version import JOBS

KIND: Final = "datanode-fleet-audit"
REPORT_VERSION: Final = 1
_MEMBERS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSignature:
    """Everything that the outcome for the model's signature follows from.

    Attributes:
        head: Frame of the head of the manifest of the whole, which names the files.
        evidence: The key and the bundles.
    """

    head: bytes
    evidence: SignatureEvidence


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetReport:
    """Result of an audit over a fleet.

    Attributes:
        model: Name of the model.
        version: The audited version.
        index: The index, as it is stored.
        index_report: Audit of the version on the coordinator.
        part_reports: Audits of the parts, in the order of the index; None: it could not be audited.
        problems: What is wrong beyond the findings of the reports; members are named.
        sentence: What this proves, in words.
        signature: What the model's signature covers, or why it does not verify; None: not asked
            for.
        signed: What that follows from; None: not asked for, or it could not be judged.
    """

    model: str
    version: int
    index: bytes
    index_report: AuditReport
    part_reports: tuple[AuditReport | None, ...]
    problems: tuple[DataNodeError, ...]
    sentence: str
    signature: str | None = None
    signed: FleetSignature | None = None

    @property
    def reports(self) -> tuple[AuditReport, ...]:
        """The audits that were made, the coordinator's version first."""
        return (self.index_report, *(each for each in self.part_reports if each is not None))

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings of all reports."""
        return tuple(finding for report in self.reports for finding in report.findings)

    @property
    def verdict(self) -> str:
        """In one word: `ok`, `corrupt`, `unsigned` or `incomplete`."""
        verdicts = {report.verdict for report in self.reports}
        if "corrupt" in verdicts or any(
            isinstance(each, CorruptionError) for each in self.problems
        ):
            return "corrupt"
        if any(isinstance(each, SignatureError) for each in self.problems):
            return "unsigned"
        return "incomplete" if self.problems or verdicts != {"ok"} else "ok"

    def error(self) -> DataNodeError | None:
        """The error that says what is wrong, or None; it is returned, not raised."""
        problems = sorted(self.problems, key=lambda each: isinstance(each, SignatureError))
        if problems and not isinstance(problems[0], SignatureError):
            return problems[0]
        for report in self.reports:
            if (error := report.error()) is not None:
                error.what = f"member {report.node}: {error.what}"
                return error
        return problems[0] if problems else None

    def to_json(self, signer: Signer | None = None) -> str:
        """Write the reports down, each signed where a signer can sign.

        Raises:
            FormatError: A member could not be audited.
        """
        if None in self.part_reports:
            raise FormatError("a member could not be audited: there is no report of the whole")
        signed: dict[str, Json] = {}
        if self.signed is not None:
            evidence = signature_fields(self.signed.evidence)
            signed = {"head": self.signed.head.hex(), "signature": evidence}
        return json.dumps(
            {
                "v": REPORT_VERSION,
                "kind": KIND,
                "index": self.index.hex(),
                **signed,
                "reports": [report.to_json(signer) for report in self.reports],
            },
            indent=1,
        )


def audit_fleet(
    reader: Reader,
    opened: VerifiedVersion,
    node_of: NodeOf,
    mode: modes.Mode,
    *,
    prover_of: Callable[[Principal], Prover | None] = lambda _: None,
    jobs: int = JOBS,
    on_checked: Callable[[Outcome, int], None] = lambda _outcome, _count: None,
) -> FleetReport:
    """Audit a version over a fleet.

    Args:
        reader: Reads the coordinator.
        opened: The coordinator's version that holds the index.
        node_of: Opens a member.
        mode: How much of the parts to look at.
        prover_of: Where to read module hash and controllers of a member.
        jobs: Queries in flight, of each member.
        on_checked: Called with the outcome of each chunk, and how many are to be checked.

    Raises:
        CorruptionError: There is no index to go by.
        DataNodeError: The coordinator cannot be asked, or proves nothing.
    """
    index, head_frame, head = read_index(opened)
    index_report = audit_model(
        reader,
        opened.model,
        prover=prover_of(reader.node.principal),
        jobs=jobs,
        opened=opened,
    )

    def audit(at: int, part: FleetPart) -> AuditReport | DataNodeError:
        mine = reader.on(node_of(part.node))
        try:
            open_part(mine, opened.model, part)
            return audit_model(
                mine,
                part_name(opened.model),
                _share(mode, index, at),
                version=part.version,
                prover=prover_of(part.node),
                jobs=jobs,
                on_checked=on_checked,
            )
        except DataNodeError as error:
            if part.node.text not in error.what:
                error.what = f"member {part.node}: {error.what}"
            return error

    with ThreadPoolExecutor(_MEMBERS_AT_ONCE, thread_name_prefix="member") as pool:
        results = list(pool.map(audit, range(len(index.parts)), index.parts))
    problems = [each for each in results if isinstance(each, DataNodeError)]
    reports = tuple(each if isinstance(each, AuditReport) else None for each in results)
    if not problems:
        parts = [
            open_part(reader.on(node_of(part.node)), opened.model, part) for part in index.parts
        ]
        problems += _misplaced(whole_version(opened, index, head_frame, head, parts), index, parts)
        if isinstance(mode, modes.Full) and all(each and not each.findings for each in reports):
            whole = whole_version(opened, index, head_frame, head, parts)
            problems += _bad_files(whole, jobs)
    return FleetReport(
        model=opened.model,
        version=opened.version,
        index=read_file(opened, INDEX_PATH, MAX_INDEX_BYTES),
        index_report=index_report,
        part_reports=reports,
        problems=tuple(problems),
        sentence=_sentence(mode, index, reports, is_whole=not problems),
    )


def audit_any(
    reader: Reader,
    node_of: NodeOf,
    model: str,
    mode: modes.Mode,
    *,
    version: int | None = None,
    prover_of: Callable[[Principal], Prover | None] = lambda _: None,
    jobs: int = JOBS,
    on_checked: Callable[[Outcome, int], None] = lambda _outcome, _count: None,
    signer: ExpectedSigner | None = None,
) -> AuditReport | FleetReport:
    """Audit a version, the latest by default, whether one node holds it or a fleet.

    Raises:
        DataNodeError: As `audit_model` and `audit_fleet`.
    """
    opened = open_index(reader, model, version)
    if is_fleet_version(opened.head):
        report = audit_fleet(
            reader, opened, node_of, mode, prover_of=prover_of, jobs=jobs, on_checked=on_checked
        )
        if signer is None:
            return report
        return _with_signature(
            report, lambda: open_fleet_version(reader, node_of, opened).whole, signer
        )
    return audit_model(
        reader,
        model,
        mode,
        prover=prover_of(reader.node.principal),
        jobs=jobs,
        on_checked=on_checked,
        opened=opened,
        signer=signer,
    )


def _with_signature(
    report: FleetReport, whole: Callable[[], VerifiedVersion], signer: ExpectedSigner
) -> FleetReport:
    """Check the signature over the files of the whole."""
    try:
        version = whole()
    except DataNodeError as error:
        # A member that fails has been told of.
        told = report.problems or (error,)
        return replace(report, problems=told, signature=f"not checked: {error.what}")
    outcome, evidence = check_signature(version, signer)
    problems = report.problems
    if outcome is Outcome.UNSIGNED:
        problems = (*problems, SignatureError(evidence.detail))
    elif outcome is not Outcome.OK and not problems:
        problems = (CorruptionError(evidence.detail),)
    return replace(
        report,
        problems=problems,
        signature=evidence.detail,
        signed=FleetSignature(head=version.head_frame, evidence=evidence),
    )


def _share(mode: modes.Mode, index: FleetIndex, at: int) -> modes.Mode:
    """Divide a sample among the members by the chunks that they hold, at least one each."""
    if not isinstance(mode, modes.Sample):
        return mode
    mine = sum(count for part, _, count in index.segments if part == at)
    return modes.Sample(max(1, -(-mode.count * mine // index.chunk_count)))


def _sentence(
    mode: modes.Mode,
    index: FleetIndex,
    reports: Sequence[AuditReport | None],
    *,
    is_whole: bool,
) -> str:
    audited = sum(report is not None for report in reports)
    text = f"audited {audited} of {len(index.parts)} members, {index.chunk_count} chunks in all"
    if isinstance(mode, modes.Full) and is_whole:
        return f"{text}, every one of them, and the SHA-256 of each file of the whole"
    return text


def _misplaced(
    whole: VerifiedVersion, index: FleetIndex, parts: Sequence[VerifiedVersion]
) -> Iterator[DataNodeError]:
    """Compare the manifest of the whole with those of the parts; report the first difference."""
    chunk = 0
    try:
        for at, first, count in index.segments:
            for position in range(first, first + count):
                if whole.record(chunk) != parts[at].record(position):
                    yield CorruptionError(
                        f"member {index.parts[at].node}: its part of {whole.model} does not have "
                        f"chunk {chunk} where the index places it: the version was sealed wrong",
                        hint="`datanode upload` seals a new version from the source.",
                    )
                    return
                chunk += 1
    except DataNodeError as error:
        yield error


def _bad_files(whole: VerifiedVersion, jobs: int) -> Iterator[DataNodeError]:
    for entry in whole.head.files:
        sha256 = hashlib.sha256()
        try:
            chunks = range(entry.first_chunk, entry.first_chunk + entry.chunk_count)
            for raw in whole.chunks(chunks, jobs=jobs):
                sha256.update(raw)
        except DataNodeError as error:
            yield error
            continue
        if sha256.digest() != entry.sha256:
            yield CorruptionError(
                f"{entry.path}: its chunks are what the manifest names, and their SHA-256 is not "
                "the file's: the version was sealed wrong",
                hint="`datanode upload` seals a new version from the source.",
            )
