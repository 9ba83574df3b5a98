"""Contract of storage nodes: frames of one message are independent, whatever stands
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
    """Return the expected result of each frame on an empty node."""
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


def test_a_frame_that_is_known_to_be_damaged_is_not_pinned(world: World) -> None:
    """So that asking by pinning is as good as asking what is missing."""
    whole, damaged = frame_of(3_000, 7), frame_of(3_000, 8)
    lease = world.node.begin_upload("damaged", frames_count=2, frame_bytes=1).id
    put(world.node, lease, [whole, damaged])
    digests = [frame_digest(whole), frame_digest(damaged), frame_digest(b"never came")]
    world.corrupt(damaged)
    cursor: bytes | None = b""
    while cursor is not None:
        cursor = world.node.scrub(cursor, 1 << 20).next_cursor
    assert world.node.pin_frames(lease, digests) == [True, False, False]
    assert world.node.missing_frames(lease, digests) == [False, True, True]
