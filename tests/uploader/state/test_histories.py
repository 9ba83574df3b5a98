"""uploader.state.store: whatever happens, in whatever order, nothing that is stored is forgotten.

A model in plain dictionaries lives through the same random history; the database is closed and
opened again at random moments.
"""

import shutil
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from datanode.digest import ContentDigest
from datanode.errors import StateDamagedError
from datanode.model import ChunkRecord
from datanode.node.port import PutResult, PutStatus
from tests.repetitions import repeated
from tests.uploader.state.facts import (
    ALREADY,
    BAD,
    FILES,
    NO_ROOM,
    NODE,
    SENDER,
    STORED,
    message,
    record,
)
from uploader.state.database import open_database
from uploader.state.store import OutgoingFrame, StateStore

CHUNKS_COUNT = 12
indices = st.lists(st.integers(0, CHUNKS_COUNT - 1), min_size=1, max_size=5, unique=True)
results = st.sampled_from([STORED, STORED, ALREADY, BAD, NO_ROOM])


class Histories(RuleBasedStateMachine):
    """The store beside a model of it."""

    ready_made: Path
    messages = Bundle("messages")

    def __init__(self) -> None:
        super().__init__()
        self.path = self.ready_made.with_name("history.db")
        for leftover in self.path.parent.glob("history.db*"):
            leftover.unlink()
        shutil.copy(self.ready_made, self.path)
        self.open()
        self.upload = self.store.begin_upload(NODE, "m", FILES).id
        self.restarts_count = self.sent_count = 0
        self.held = dict[int, ChunkRecord]()
        self.known = dict[ContentDigest, ChunkRecord]()
        self.doubtful = dict[bytes, list[OutgoingFrame]]()

    def open(self) -> None:
        self.database = open_database(f"sqlite:///{self.path}")
        self.store = StateStore(self.database, me=SENDER, clock_ns=lambda: 1)

    def in_doubt(self) -> set[int | None]:
        return {frame.chunk_index for frames in self.doubtful.values() for frame in frames}

    @rule(target=messages, chunks=indices, encoder=st.integers(1, 3), part=st.booleans())
    def send(self, chunks: list[int], encoder: int, part: bool) -> bytes:  # noqa: FBT001
        self.sent_count += 1
        out = message((id(self), self.sent_count))
        frames = [OutgoingFrame(index, record(index, encoder)) for index in chunks]
        if part:
            frames.append(OutgoingFrame(None, record("head", self.sent_count)))
        if set(chunks) & self.in_doubt():
            with pytest.raises(StateDamagedError):
                self.store.record_intent(self.upload, out, 1, frames, 5)
        else:
            self.store.record_intent(self.upload, out, 1, frames, 5)
            self.doubtful[out.request_id] = frames
            self.held = {i: r for i, r in self.held.items() if i not in chunks}
        return out.request_id

    @rule(request=messages, choices=st.lists(results, min_size=6, max_size=6))
    def settle(self, request: bytes, choices: list[PutResult]) -> None:
        if request not in self.doubtful:
            return
        frames = self.doubtful.pop(request)
        self.store.settle(request, choices[: len(frames)], b"receipt")
        for frame, result in zip(frames, choices, strict=False):
            if result.status in {PutStatus.STORED, PutStatus.ALREADY_STORED}:
                self.known[frame.record.content] = frame.record
                if frame.chunk_index is not None:
                    self.held[frame.chunk_index] = frame.record

    @rule(request=messages, refused=st.booleans())
    def give_up(self, request: bytes, refused: bool) -> None:  # noqa: FBT001
        if self.doubtful.pop(request, None) is not None:
            (self.store.refuse if refused else self.store.expire)(request)

    @rule(chunks=indices, encoder=st.integers(1, 3))
    def know(self, chunks: list[int], encoder: int) -> None:
        rows = [(index, record(index, encoder)) for index in chunks if index not in self.in_doubt()]
        self.store.record_known(self.upload, rows)
        self.held |= dict(rows)

    @rule(chunks=indices, encoder=st.integers(1, 3))
    def learn(self, chunks: list[int], encoder: int) -> None:
        records = [record(index, encoder) for index in chunks]
        self.store.learn(NODE, records)
        self.known |= {found.content: found for found in records}

    @rule(chunks=indices, encoder=st.integers(1, 3))
    def lose(self, chunks: list[int], encoder: int) -> None:
        lost = {record(index, encoder).frame for index in chunks}
        self.store.unlearn(NODE, lost)
        self.known = {c: r for c, r in self.known.items() if r.frame not in lost}
        self.held = {i: r for i, r in self.held.items() if r.frame not in lost}

    @rule(chunks=indices)
    def audit(self, chunks: list[int]) -> None:
        self.store.record_audited(self.upload, chunks)

    @rule()
    def plan_anew(self) -> None:
        self.upload = self.store.begin_upload(NODE, "m", FILES, restart=True).id
        self.held = {}
        self.doubtful = {
            request: [OutgoingFrame(None, frame.record) for frame in frames]
            for request, frames in self.doubtful.items()
        }

    @rule()
    def reopen(self) -> None:
        self.database.close()
        self.open()
        again = self.store.begin_upload(NODE, "m", FILES)
        assert (again.id, again.resumed) == (self.upload, True)

    @invariant()
    def nothing_is_forgotten_and_nothing_invented(self) -> None:
        assert dict(self.store.chunk_records(self.upload)) == self.held
        contents = [record(index).content for index in range(CHUNKS_COUNT)]
        wanted = {c: r for c, r in self.known.items() if c in set(contents)}
        assert self.store.known(NODE, contents) == wanted
        found = {m.request_id: list(m.frames) for m in self.store.open_messages(NODE)}
        assert found == self.doubtful

    def teardown(self) -> None:
        self.database.close()


def test_nothing_that_is_stored_is_forgotten(ready_made: Path) -> None:
    Histories.ready_made = ready_made
    run_state_machine_as_test(
        Histories,
        settings=settings(settings.default, max_examples=repeated(15, 500), stateful_step_count=25),
    )
