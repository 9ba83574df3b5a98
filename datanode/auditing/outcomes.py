"""Outcomes and findings of an audit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from datanode.errors import (
    AuditIncompleteError,
    CorruptionError,
    DataNodeError,
    SignatureError,
)


class Outcome(StrEnum):
    """Outcome of one check."""

    OK = "ok"
    CORRUPT = "corrupt"
    """The node gave other bytes than it certifies, twice."""
    UNPROTECTED = "unprotected"
    """A reference was missing, so that garbage collection could free the frame; it is restored."""
    MISSING = "missing"
    """The node says that it does not have what it certifies."""
    CONTAINED = "contained"
    """The node answers, and not with this: it timed out twice. It is asked again next time."""
    UNREACHABLE = "unreachable"
    """The network gave up."""
    UNKNOWN = "unknown"
    """It could not be judged; the detail says why."""
    UNSIGNED = "unsigned"
    """The model's signature does not verify, or does not cover the files; of no other part."""


BROKEN = frozenset({Outcome.CORRUPT, Outcome.MISSING, Outcome.UNPROTECTED})
"""The outcomes that say something about the node's integrity."""
REPAIRABLE = frozenset({Outcome.CORRUPT, Outcome.MISSING})
"""Of those, the ones that sending the bytes again repairs."""


class AuditedPart(StrEnum):
    """Kind of object that was checked."""

    HEAD = "head"
    FILE = "file"
    CHUNK = "chunk"
    CHUNK_PAGE = "chunk_page"
    TENSOR_PAGE = "tensor_page"
    PLACEMENT = "placement"
    SIGNATURE = "signature"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not OK.

    Attributes:
        part: What it is.
        index: Its position in the manifest.
        outcome: What became of the check.
        detail: In words.
        file: Path of the file, or of the file that a chunk belongs to.
        tensor: Name of the tensor, where a chunk is one's.
        offset_bytes: Where a chunk begins in its file, if that could be told.
        content: Content digest of a chunk, hex.
        frame: Frame digest, hex.
    """

    part: AuditedPart
    index: int
    outcome: Outcome
    detail: str
    file: str | None = None
    tensor: str | None = None
    offset_bytes: int | None = None
    content: str | None = None
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class FindingRun:
    """Consecutive drawn chunks with one outcome."""

    first: int
    count: int
    outcome: Outcome


def runs(results: Iterable[tuple[int, Outcome]]) -> Iterator[FindingRun]:
    """Join rising chunk indices with equal outcomes."""
    numbered = enumerate(results)
    # Consecutive indices keep their distance to the position.
    for (_, outcome), group in groupby(numbered, lambda item: (item[1][0] - item[0], item[1][1])):
        members = list(group)
        yield FindingRun(members[0][1][0], len(members), outcome)


def verdict(outcomes: Iterable[Outcome]) -> DataNodeError | None:
    """Summarize outcomes as the error to raise; None if all are OK."""
    found = set(outcomes) - {Outcome.OK}
    if found & BROKEN:
        return CorruptionError("the node does not hold what it certifies")
    if Outcome.UNSIGNED in found:
        return SignatureError("the signature of the model does not verify")
    if found:
        return AuditIncompleteError("some of it could not be checked; nothing wrong was found")
    return None
