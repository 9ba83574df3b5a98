"""The audit of one version: certificate first, then the draw, then the walk, then the report."""

import random
import time
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Final, Protocol

from datanode.auditing import modes
from datanode.auditing.outcomes import AuditedPart, Finding, Outcome, runs
from datanode.auditing.report import AuditReport, CanisterFacts, Proof
from datanode.auditing.signature_check import SignatureEvidence, check_signature
from datanode.auditing.verifying import canister_facts, facts_paths
from datanode.auditing.walk import ChunkCheck, Walk
from datanode.errors import CertificateError, DataNodeError, NotFoundError
from datanode.manifest import TensorEntry
from datanode.model_signature import ExpectedSigner
from datanode.node.port import NodeStatus, StorageNode
from datanode.reader import Reader, VerifiedVersion
from datanode.reader.version import JOBS
from datanode.release import VERSION

_RANDOM: Final = random.SystemRandom()
_UNTOLD: Final = NodeStatus(interface_version=0, store_version=0, details=None)


class Prover(Protocol):
    """Fetches what the subnet certifies of a canister."""

    def canister_certificate(self, paths: Sequence[Sequence[bytes]]) -> bytes:
        """Read a certificate over paths of the subnet's state; not verified by the caller."""
        ...


def audit_model(
    reader: Reader,
    model: str,
    mode: modes.Mode | None = None,
    *,
    version: int | None = None,
    prover: Prover | None = None,
    jobs: int = JOBS,
    on_checked: Callable[[Outcome, int], None] = lambda _outcome, _count: None,
    choose: Callable[[Sequence[int], int], Sequence[int]] = _RANDOM.sample,
    clock_ns: Callable[[], int] = time.time_ns,
    opened: VerifiedVersion | None = None,
    signer: ExpectedSigner | None = None,
) -> AuditReport:
    """Audit a version, the latest by default.

    Args:
        reader: Reads and verifies.
        model: Name of the model.
        mode: How much to look at; everything by default.
        version: Which version.
        prover: Where to read module hash and controllers; None: they are left out.
        jobs: Queries in flight.
        on_checked: Called with the outcome of each chunk, and how many are to be checked.
        choose: Draws a sample.
        clock_ns: The time.
        opened: The version, where it was proven just now.
        signer: Check that this signer signed the files; None: signatures are not looked at.

    Raises:
        CertificateError: The node cannot prove what it says; nothing was audited.
        RollbackError: It shows an older state than it has shown before.
        CorruptionError: It has not even the head of the manifest that it certified.
        NotFoundError: There is no such version, or none any more.
    """
    mode = modes.Full() if mode is None else mode
    opened = opened or reader.open_version(model, version)
    made_ns = clock_ns()
    # Before the walk, which may outlast the certificate's freshness.
    facts = None if prover is None else _facts(opened, prover, made_ns)
    drawn = modes.draw(mode, opened.head.chunk_count, choose)
    walk = Walk(
        version=opened,
        node=reader.node,
        jobs=jobs,
        is_certified=partial(_is_certified, reader, opened),
    )
    checks: dict[AuditedPart, list[tuple[int, Outcome]]] = {part: [] for part in AuditedPart}
    bad: list[ChunkCheck] = []
    for check in _noted(_checks(walk, mode, drawn), on_checked, len(drawn)):
        checks[check.part].append((check.index, check.outcome))
        if check.outcome is not Outcome.OK:
            bad.append(check)
    evidence: SignatureEvidence | None = None
    if signer is not None:
        outcome, evidence = check_signature(opened, signer)
        check = ChunkCheck(
            part=AuditedPart.SIGNATURE, index=0, outcome=outcome, detail=evidence.detail
        )
        checks[check.part].append((check.index, check.outcome))
        if outcome is not Outcome.OK:
            bad.append(check)
    status = _status(reader.node)
    return AuditReport(
        datanode=VERSION,
        made_ns=made_ns,
        root_key=reader.root_key,
        node=opened.trusted.node,
        model=model,
        version=opened.version,
        latest=opened.latest,
        manifest=opened.manifest,
        placement=opened.trusted.placement,
        certified_ns=opened.trusted.time_ns,
        mode=modes.describe(mode),
        chunk_count=opened.head.chunk_count,
        checks=tuple((part, run) for part in AuditedPart for run in runs(checks[part])),
        findings=tuple(_located(opened, bad)),
        sentence=modes.sentence(mode, opened.head.chunk_count, len(drawn)),
        canister=facts,
        interface_version=status.interface_version,
        store_version=status.store_version,
        freezing_days=None if status.details is None else status.details.freezing_days,
        proof=Proof(
            certificate=opened.answer.certificate,
            witness=opened.answer.witness,
            head=opened.head_frame,
            chunk_pages={index: zlib.compress(frame) for index, frame in walk.pages.items()},
        ),
        signature=evidence,
    )


def _checks(walk: Walk, mode: modes.Mode, drawn: Sequence[int]) -> Iterator[ChunkCheck]:
    if isinstance(mode, modes.Scrub):
        return walk.scrub()
    chunks = walk.chunks(drawn)
    return chain(walk.parts(), walk.files(chunks) if isinstance(mode, modes.Full) else chunks)


def _is_certified(reader: Reader, version: VerifiedVersion) -> bool:
    """Ask whether the node still certifies the version.

    Raises:
        NetworkError: It cannot be asked.
    """
    try:
        return reader.prove(version.model, version.version).manifest == version.manifest
    except NotFoundError:
        return False


def _noted(
    checks: Iterable[ChunkCheck], on_checked: Callable[[Outcome, int], None], total: int
) -> Iterator[ChunkCheck]:
    for check in checks:
        if check.part is AuditedPart.CHUNK:
            on_checked(check.outcome, total)
        yield check


def _status(node: StorageNode) -> NodeStatus:
    """The node's own word on itself; an audit does not fail for want of it."""
    try:
        return node.status()
    except DataNodeError:
        return _UNTOLD


def _facts(version: VerifiedVersion, prover: Prover, now_ns: int) -> CanisterFacts | None:
    node = version.trusted.node
    try:
        certificate = prover.canister_certificate(facts_paths(node))
    except CertificateError:
        raise
    except DataNodeError:
        return None  # not told, which the report shows; lied about would be another matter
    return canister_facts(certificate, root_key=version.root_key, node=node, now_ns=now_ns)


def _located(version: VerifiedVersion, bad: Sequence[ChunkCheck]) -> Iterator[Finding]:
    """Name what is not OK by file, tensor and offset, reading tensor pages only if needed."""
    chunks = sorted(check.index for check in bad if check.part is AuditedPart.CHUNK)
    tensors = _tensors_of(version, chunks) if chunks else {}
    for check in bad:
        if check.part is not AuditedPart.CHUNK:
            is_file = check.part is AuditedPart.FILE
            yield Finding(
                part=check.part,
                index=check.index,
                outcome=check.outcome,
                detail=check.detail,
                file=version.head.files[check.index].path if is_file else None,
            )
            continue
        tensor = tensors.get(check.index)
        record = check.record
        yield Finding(
            part=check.part,
            index=check.index,
            outcome=check.outcome,
            detail=check.detail,
            file=version.file_of(check.index).path,
            tensor=None if tensor is None else tensor.name,
            offset_bytes=_offset(version, check.index, tensor),
            content=None if record is None else record.content.hex(),
            frame=None if record is None else record.frame.hex(),
        )


def _tensors_of(version: VerifiedVersion, chunks: Sequence[int]) -> dict[int, TensorEntry]:
    """Find the first tensor of each of some chunks; small neighbours share one."""
    found: dict[int, TensorEntry] = {}
    try:
        for tensor in version.tensors():
            end = tensor.first_chunk + tensor.chunk_count
            at = bisect_right(chunks, tensor.first_chunk - 1)
            while at < len(chunks) and chunks[at] < end:
                found.setdefault(chunks[at], tensor)
                at += 1
    except DataNodeError:
        pass  # a tensor page is bad: it has a finding of its own
    return found


def _offset(version: VerifiedVersion, chunk: int, tensor: TensorEntry | None) -> int | None:
    """Where a chunk begins in its file: at its tensor's offset, or counted from the start."""
    first, offset = version.file_of(chunk).first_chunk, 0
    if tensor is not None:
        first, offset = tensor.first_chunk, tensor.offset_bytes
    try:
        return offset + version.chunks_bytes(first, chunk)
    except DataNodeError:
        return None
