"""What every storage node must do with a message of many frames: each is itself, whatever stands
beside it.

The real canister digests them together, in vectors that frames share; Python digests each alone.
"""

import random
from collections.abc import Iterator, Sequence

import pytest

from datanode import frame
from datanode.digest import frame_digest
from datanode.limits import FRAME_HEADER_BYTES
from datanode.node.port import PutStatus
from tests.contract.conftest import World
from tests.fakes.checkpoints import put, some_bytes

_BLOCK, _CHUNK = 64, 1_024
_EDGES = (*(_BLOCK * n for n in (1, 2, 15, 16)), *(_CHUNK * n for n in (2, 3, 4, 5, 7, 8, 16, 61)))
"""Lengths of frames where a block, a chunk, or a row of chunks ends."""


def frame_of(length_bytes: int, seed: int) -> bytes:
    """Make a raw frame that is so long."""
    return frame.seal_raw(some_bytes(length_bytes - FRAME_HEADER_BYTES, seed))


def lengths(rng: random.Random) -> Iterator[int]:
    """All edges, one less and one more, and others."""
    for edge in _EDGES:
        yield from (max(edge + step, FRAME_HEADER_BYTES + 1) for step in (-1, 0, 1))
        yield from (rng.randrange(FRAME_HEADER_BYTES + 1, 40_000) for _ in range(2))


def message(seed: int) -> list[bytes]:
    """Frames of all lengths in any order, some twice, among what is none."""
    rng = random.Random(seed)
    whole = [frame_of(length, rng.randrange(3)) for length in lengths(rng)]
    again = rng.sample(whole, 8)
    cut = [data[: rng.randrange(len(data))] for data in rng.sample(whole, 8)]
    longer = [data + b"\0" for data in rng.sample(whole, 8)]
    frames = [*whole, *again, *cut, *longer, b"", b"D"]
    rng.shuffle(frames)
    return frames


def expected(frames: Sequence[bytes]) -> Iterator[PutStatus]:
    """What becomes of each on an empty node."""
    seen = set[bytes]()
    for data in frames:
        stated = FRAME_HEADER_BYTES + int.from_bytes(data[12:16], "little")
        if len(data) < FRAME_HEADER_BYTES or len(data) != stated:
            yield PutStatus.BAD
        else:
            yield PutStatus.ALREADY_STORED if data in seen else PutStatus.STORED
            seen.add(data)


@pytest.mark.parametrize("seed", range(4))
def test_each_of_many_frames_of_any_length_is_found_by_its_own_digest(
    world: World, seed: int
) -> None:
    frames = message(seed)
    lease = world.node.begin_upload("many", frames_count=len(frames), frame_bytes=1).id
    statuses = list(expected(frames))
    assert put(world.node, lease, frames) == statuses
    kept = {
        frame_digest(data)
        for data, status in zip(frames, statuses, strict=True)
        if status is not PutStatus.BAD
    }
    assert len(kept) == statuses.count(PutStatus.STORED)
    assert {record.frame for record in world.node.lease_frames(lease)} == kept
