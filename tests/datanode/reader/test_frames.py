"""Batches fill a reply, stay in order, and ask for each frame once."""

import threading
from collections.abc import Generator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.digest import ContentDigest, FrameDigest
from datanode.errors import NetworkError
from datanode.limits import FRAME_HEADER_BYTES, MAX_CHUNK_BYTES, MAX_FRAME_BYTES
from datanode.model import ChunkRecord, ElementType
from datanode.node.port import FrameAbsence
from datanode.reader.frames import (
    BATCH_FRAME_BYTES,
    BATCH_FRAMES,
    BATCH_RAW_BYTES,
    FrameReply,
    batches,
    read_frames,
)

MANIFEST = FrameDigest(bytes(32))
SIZES = st.tuples(st.integers(1, MAX_CHUNK_BYTES), st.integers(FRAME_HEADER_BYTES, MAX_FRAME_BYTES))


def record(raw_bytes: int, frame_bytes: int) -> ChunkRecord:
    return ChunkRecord(
        content=ContentDigest(bytes(32)),
        frame=MANIFEST,
        raw_bytes=raw_bytes,
        frame_bytes=frame_bytes,
        codec_id=0,
        element=ElementType.BYTES,
    )


@given(st.lists(SIZES, max_size=40))
def test_batches_keep_the_order_and_the_bounds(sizes: list[tuple[int, int]]) -> None:
    wanted = list(enumerate(record(*size) for size in sizes))
    cut = list(batches(wanted))
    assert [wish for batch in cut for wish in batch] == wanted
    for batch in cut:
        assert sum(wish.frame_bytes for _, wish in batch) <= BATCH_FRAME_BYTES
        assert sum(wish.raw_bytes for _, wish in batch) <= BATCH_RAW_BYTES


def test_many_small_frames_are_cut_by_number() -> None:
    wanted = [(index, record(1, 65)) for index in range(2 * BATCH_FRAMES + 1)]
    assert [len(batch) for batch in batches(wanted)] == [BATCH_FRAMES, BATCH_FRAMES, 1]


class Source:
    """Answers with the index; drops what a script says, fails where it says."""

    def __init__(self, room: int = 10**9, failing: frozenset[int] = frozenset()) -> None:
        self.room = room
        self.failing = failing
        self.asked: list[int] = []

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        self.asked += chunks
        if self.failing & set(chunks):
            raise NetworkError("gone")
        fitting = [str(index).encode() for index in chunks[: self.room]]
        return [*fitting, *[FrameAbsence.DID_NOT_FIT] * (len(chunks) - len(fitting))]


@given(st.integers(0, 60), st.integers(1, 7), st.integers(1, 5))
def test_every_frame_comes_once_and_in_order(count: int, room: int, jobs: int) -> None:
    wanted = [(index, record(1_000_000, 500_000)) for index in range(count)]
    source = Source(room)
    found = list(
        read_frames(source, "llama", MANIFEST, wanted, lambda answer: answer.frame, jobs=jobs)
    )
    assert found == [str(index).encode() for index in range(count)]


def test_a_failed_batch_fails_its_frames_and_no_others() -> None:
    wanted = [(index, record(2_000_000, 1_500_000)) for index in range(9)]
    source = Source(failing=frozenset({3}))

    def failed(answer: FrameReply) -> bool:
        return isinstance(answer.frame, NetworkError)

    found = list(read_frames(source, "llama", MANIFEST, wanted, failed, jobs=2))
    assert found == [index in (2, 3) for index in range(9)]


def test_no_more_is_read_ahead_than_the_window() -> None:
    wanted = ((index, record(2_000_000, 2_000_000)) for index in range(1_000))
    source = Source()
    frames = read_frames(source, "llama", MANIFEST, wanted, lambda answer: answer.index, jobs=3)
    assert next(frames) == 0
    frames.close()  # type: ignore[attr-defined]
    assert max(source.asked) <= 4


def test_an_error_of_the_check_ends_the_reading() -> None:
    wanted = [(index, record(2_000_000, 2_000_000)) for index in range(9)]

    def check(answer: FrameReply) -> int:
        if answer.index == 4:
            raise ValueError("stop")
        return answer.index

    frames = read_frames(Source(), "llama", MANIFEST, wanted, check, jobs=2)
    with pytest.raises(ValueError, match="stop"):
        list(frames)


def test_whoever_stops_reading_does_not_wait_for_answers_that_do_not_come() -> None:
    is_over = threading.Event()

    class Silent:
        def get_frames(
            self, model: str, manifest: FrameDigest, chunks: Sequence[int]
        ) -> list[bytes | FrameAbsence]:
            if chunks[0]:
                is_over.wait()
            return [FrameAbsence.MISSING for _ in chunks]

    wanted = [(index, record(MAX_CHUNK_BYTES, MAX_FRAME_BYTES)) for index in range(10)]
    results = read_frames(Silent(), "m", MANIFEST, wanted, lambda answer: answer.index, jobs=2)
    assert next(results) == 0
    assert isinstance(results, Generator)
    results.close()
    is_over.set()
