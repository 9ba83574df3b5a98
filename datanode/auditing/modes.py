"""How much an audit looks at, and what that proves.

A sample is drawn from the operating system's randomness after the certificate was fetched: by then
the node is bound to its manifest and cannot know which chunks will be asked for. Drawn without
replacement, `k` of `n` chunks miss `b` bad ones with probability C(n-b, k) / C(n, k).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from datanode.errors import UsageError

BAD_PERCENT: Final = 1
"""The loss that the sentence speaks of, in percent of the chunks."""


@dataclass(frozen=True, slots=True)
class Full:
    """Every chunk and every file."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some chunks, drawn at random.

    Attributes:
        count: How many, at least 1.
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError("a sample has at least one chunk")


@dataclass(frozen=True, slots=True)
class Rolling:
    """Every `parts`-th chunk, beginning with chunk `part - 1`: `parts` audits cover them all.

    Attributes:
        part: Which part, from 1.
        parts: How many parts.
    """

    part: int
    parts: int

    def __post_init__(self) -> None:
        if not 1 <= self.part <= self.parts:
            raise UsageError(f"there is no part {self.part} of {self.parts}")


@dataclass(frozen=True, slots=True)
class Scrub:
    """Every frame, re-hashed by the node itself, by consensus: costs cycles, moves no bytes."""


Mode: TypeAlias = Full | Sample | Rolling | Scrub


def draw(
    mode: Mode, chunk_count: int, choose: Callable[[Sequence[int], int], Sequence[int]]
) -> Sequence[int]:
    """Choose the chunks to look at, rising.

    Args:
        mode: How much.
        chunk_count: Chunks of the version.
        choose: Draws so many of a sequence without replacement, e.g. `SystemRandom().sample`.
    """
    everything = range(chunk_count)
    match mode:
        case Sample(count) if count < chunk_count:
            return sorted(choose(everything, count))
        case Rolling(part, parts):
            return everything[part - 1 :: parts]
    return everything


def miss_probability(chunk_count: int, sampled_count: int, bad_count: int) -> float:
    """Probability that a sample without replacement holds none of the bad chunks."""
    if sampled_count > chunk_count - bad_count:
        return 0.0
    logarithm = sum(
        math.log1p(-bad_count / (chunk_count - drawn)) for drawn in range(sampled_count)
    )
    return math.exp(logarithm)


def sentence(mode: Mode, chunk_count: int, drawn_count: int) -> str:
    """Say what looking at so many chunks proves."""
    match mode:
        case Full():
            return (
                f"checked all {chunk_count} chunks, "
                "and the SHA-256 of each file whose chunks are good"
            )
        case Scrub():
            return (
                f"compared all {chunk_count} chunks with the frames that the node re-hashed by "
                "consensus; no chunk was read"
            )
        case Rolling(part, parts):
            return (
                f"checked {drawn_count} of {chunk_count} chunks, part {part} of {parts}; "
                "the node can know which"
            )
    bad_count = math.ceil(chunk_count * BAD_PERCENT / 100)
    missed = miss_probability(chunk_count, drawn_count, bad_count)
    return (
        f"sampled {drawn_count} of {chunk_count} chunks; had {BAD_PERCENT} % been bad "
        f"({bad_count}), this would have missed it with probability {missed:.2g}"
    )


def describe(mode: Mode) -> dict[str, str | int]:
    """Write a mode down for a report."""
    match mode:
        case Sample(count):
            return {"kind": "sample", "count": count}
        case Rolling(part, parts):
            return {"kind": "rolling", "part": part, "parts": parts}
        case Full():
            return {"kind": "full"}
    return {"kind": "scrub"}
