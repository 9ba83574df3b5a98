"""What an audit says of each thing it looked at."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from datanode.errors import AuditIncompleteError, CorruptionError, DataNodeError


class Outcome(StrEnum):
    """What became of one check."""

    OK = "ok"
    CORRUPT = "corrupt"
    """The node gave other bytes than it certifies, twice."""
    MISSING = "missing"
    """The node says that it does not have what it certifies."""
    CONTAINED = "contained"
    """The node answers, and not with this: it timed out twice. It is asked again next time."""
    UNREACHABLE = "unreachable"
    """The network gave up."""
    UNKNOWN = "unknown"
    """It could not be judged; the detail says why."""


BROKEN = frozenset({Outcome.CORRUPT, Outcome.MISSING})
"""The outcomes that say something about the node's integrity."""


class Part(StrEnum):
    """What was looked at."""

    CHUNK = "chunk"
    CHUNK_PAGE = "chunk_page"
    TENSOR_PAGE = "tensor_page"
    PLACEMENT = "placement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not OK.

    Attributes:
        part: What it is.
        index: Its position in the manifest.
        outcome: What became of the check.
        detail: In words.
        file: Path of the file that a chunk belongs to.
        tensor: Name of the tensor, where a chunk is one's.
        offset_bytes: Where a chunk begins in its file, if that could be told.
        content: Content digest of a chunk, hex.
        frame: Frame digest, hex.
    """

    part: Part
    index: int
    outcome: Outcome
    detail: str
    file: str | None = None
    tensor: str | None = None
    offset_bytes: int | None = None
    content: str | None = None
    frame: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """Consecutive drawn chunks with one outcome."""

    first: int
    count: int
    outcome: Outcome


def runs(results: Iterable[tuple[int, Outcome]]) -> Iterator[Run]:
    """Join rising chunk indices with equal outcomes."""
    numbered = enumerate(results)
    # Consecutive indices keep their distance to the position.
    for (_, outcome), group in groupby(numbered, lambda item: (item[1][0] - item[0], item[1][1])):
        members = list(group)
        yield Run(members[0][1][0], len(members), outcome)


def verdict(outcomes: Iterable[Outcome]) -> DataNodeError | None:
    """What an audit with these outcomes comes to; None: all is well."""
    found = set(outcomes) - {Outcome.OK}
    if found & BROKEN:
        return CorruptionError("the node does not hold what it certifies")
    if found:
        return AuditIncompleteError("some of it could not be checked; nothing wrong was found")
    return None
