"""uploader.state.store: what is committed, what is continued, what is forgotten on purpose."""

import dataclasses
from collections.abc import Callable
from itertools import count

import pytest
import sqlalchemy as sa

from datanode.digest import FrameDigest, frame_digest
from datanode.errors import FormatError, NotFoundError, SourceChangedError, StateDamagedError
from tests.uploader.state.facts import (
    ALREADY,
    BAD,
    FILES,
    NO_ROOM,
    NODE,
    OTHER_NODE,
    SENDER,
    STORED,
    begin,
    digest,
    message,
    outgoing,
    record,
    send,
)
from uploader.state import schema
from uploader.state.database import StateDatabase
from uploader.state.lifecycle import ChunkStatus, MessageStatus, UploadStatus
from uploader.state.part_rows import MAX_PARTS
from uploader.state.store import OutgoingFrame, StateStore

MANIFEST = FrameDigest(digest("manifest"))


def held_indices(store: StateStore, upload: int) -> list[int]:
    return [index for index, _ in store.chunk_records(upload)]


class TestBeginning:
    def test_the_same_files_continue_an_unsealed_upload(self, store: StateStore) -> None:
        first = store.begin_upload(NODE, "m", FILES, location="/models/m")
        again = store.begin_upload(NODE, "m", FILES)
        assert (first.resumed, again.resumed) == (False, True)
        assert first.id == again.id
        assert store.uploads()[0].location == "/models/m"

    def test_models_and_nodes_are_kept_apart(self, store: StateStore) -> None:
        ids = {
            store.begin_upload(node, model, FILES).id
            for node in (NODE, OTHER_NODE)
            for model in ("m", "n")
        }
        assert len(ids) == 4

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"length_bytes": 3}, "config.json had 2 bytes, now 3"),
            ({"stamp": 5}, "config.json was written to"),
            ({"path": "z"}, "config.json is gone"),
        ],
    )
    def test_other_files_are_refused_and_the_difference_is_named(
        self, store: StateStore, changes: dict[str, object], says: str
    ) -> None:
        begin(store)
        changed = (dataclasses.replace(FILES[0], **changes), FILES[1])  # type: ignore[arg-type]
        with pytest.raises(SourceChangedError, match=says):
            store.begin_upload(NODE, "m", changed)
        with pytest.raises(SourceChangedError, match="is new"):
            store.begin_upload(NODE, "m", (*FILES, dataclasses.replace(FILES[0], path="a")))

    def test_a_restart_plans_anew_and_keeps_receipts_and_messages(self, store: StateStore) -> None:
        old = begin(store)
        store.settle(send(store, old, 1, [0]), [STORED], b"receipt")
        doubtful = send(store, old, 2, [1])
        new = store.begin_upload(NODE, "m", FILES[:1], restart=True)
        assert not new.resumed
        assert held_indices(store, new.id) == []
        assert store.known(NODE, [record(0).content]) == {record(0).content: record(0)}
        (open_message,) = store.open_messages(NODE)
        assert open_message.frames == (OutgoingFrame(None, record(1)),)
        store.settle(doubtful, [STORED], b"receipt")
        assert record(1).content in store.known(NODE, [record(1).content])
        assert store.uploads()[1].status is UploadStatus.ABANDONED

    def test_a_sealed_upload_of_the_same_files_tells_its_version(self, store: StateStore) -> None:
        upload = begin(store)
        store.seal(upload, 3, MANIFEST)
        again = store.begin_upload(NODE, "m", FILES)
        assert (again.id, again.version, again.manifest) == (upload, 3, MANIFEST)
        reopened = store.reopen(upload)
        assert (reopened.version, reopened.model) == (None, "m")
        assert store.begin_upload(NODE, "m", FILES).id == reopened.id != upload
        assert [info.version for info in store.uploads()] == [None, 3]

    def test_other_files_after_a_seal_begin_a_new_upload(self, store: StateStore) -> None:
        first = begin(store)
        store.record_known(first, [(0, record(0))])
        store.seal(first, 1, MANIFEST)
        second = store.begin_upload(NODE, "m", FILES[:1])
        assert second.id != first
        assert not second.resumed
        store.seal(second.id, 2, MANIFEST)
        assert [info.version for info in store.uploads()] == [2, 1]

    def test_a_seal_prunes_what_its_version_no_longer_needs(
        self, store: StateStore, database: StateDatabase
    ) -> None:
        other = store.begin_upload(NODE, "n", FILES).id
        kept = send(store, other, "n", [0])
        upload = begin(store)
        settled = send(store, upload, 1, [0, None])
        store.settle(settled, [STORED, STORED], b"receipt")
        in_doubt = send(store, upload, 2, [None])
        spent = store.totals(upload)
        store.seal(upload, 1, MANIFEST)
        assert held_indices(store, upload) == []
        assert store.receipt(settled) is None
        assert store.totals(upload) == spent
        assert {m.request_id: len(m.frames) for m in store.open_messages(NODE)} == {
            kept: 1,
            in_doubt: 1,
        }
        assert len(store.known(NODE, [record(0).content])) == 1
        with database.reading() as connection:
            frames = connection.scalars(sa.select(schema.message_frame.c.request_id))
            assert set(frames) == {kept, in_doubt}


class TestMessages:
    def test_an_intent_is_in_doubt_until_it_is_settled(self, store: StateStore) -> None:
        upload = begin(store)
        request_id = send(store, upload, 1, [4, None, 5])
        (found,) = store.open_messages(NODE)
        assert found.request_id == request_id
        assert (found.canister, found.sender, found.upload_id) == (NODE, SENDER, upload)
        assert (found.lease_id, found.expiry_ns, found.estimated_cycles) == (
            2**64 - 1,
            2**60,
            10**15,
        )
        assert found.body_digest == frame_digest(message(1).body)
        assert found.frames == tuple(outgoing([4, None, 5]))
        assert held_indices(store, upload) == []
        assert store.known(NODE, [record(4).content]) == {}

    def test_a_settled_message_stores_what_the_node_took(self, store: StateStore) -> None:
        upload = begin(store)
        request_id = send(store, upload, 1, [0, 1, 2, 3, None])
        store.settle(request_id, [STORED, BAD, ALREADY, NO_ROOM, STORED], b"receipt")
        assert held_indices(store, upload) == [0, 2]
        known = store.known(NODE, [record(index).content for index in range(4)])
        assert set(known.values()) == {record(0), record(2)}
        assert record(("part", 4)).content in store.known(NODE, [record(("part", 4)).content])
        assert store.open_messages(NODE) == []
        assert store.receipt(request_id) == b"receipt"
        send(store, upload, 2, [1, 3])

    def test_settling_twice_changes_nothing(self, store: StateStore) -> None:
        upload = begin(store)
        request_id = send(store, upload, 1, [0])
        store.settle(request_id, [STORED], b"receipt")
        store.unlearn(NODE, [record(0).frame])
        store.settle(request_id, [STORED], b"other")
        store.expire(request_id)
        assert store.known(NODE, [record(0).content]) == {}
        assert store.receipt(request_id) == b"receipt"

    @pytest.mark.parametrize("ending", [StateStore.expire, StateStore.refuse])
    def test_a_message_that_stored_nothing_frees_its_chunks(
        self, store: StateStore, ending: Callable[[StateStore, bytes], None]
    ) -> None:
        upload = begin(store)
        ending(store, send(store, upload, 1, [0, 1]))
        assert store.open_messages(NODE) == []
        assert held_indices(store, upload) == []
        send(store, upload, 2, [0, 1])

    def test_a_chunk_in_doubt_travels_in_no_second_message(self, store: StateStore) -> None:
        upload = begin(store)
        send(store, upload, 1, [0])
        with pytest.raises(StateDamagedError, match="intent"):
            send(store, upload, 2, [0])
        with pytest.raises(StateDamagedError, match="intent"):
            store.record_known(upload, [(0, record(0))])
        assert len(store.open_messages(NODE)) == 1

    def test_a_held_chunk_travels_again_when_the_node_lost_its_frame(
        self, store: StateStore
    ) -> None:
        upload = begin(store)
        store.record_known(upload, [(0, record(0, 1))])
        request_id = send(store, upload, 1, [0])
        assert held_indices(store, upload) == []
        store.settle(request_id, [STORED], b"")
        assert held_indices(store, upload) == [0]

    def test_results_that_do_not_fit_the_message_settle_nothing(self, store: StateStore) -> None:
        request_id = send(store, begin(store), 1, [0, 1])
        with pytest.raises(FormatError):
            store.settle(request_id, [STORED], b"receipt")
        assert len(store.open_messages(NODE)) == 1

    def test_an_unknown_message_is_not_found(self, store: StateStore) -> None:
        with pytest.raises(NotFoundError):
            store.settle(digest("no"), [], b"")

    def test_messages_of_all_models_to_a_node_are_listed(self, store: StateStore) -> None:
        send(store, begin(store), 1, [0])
        other = store.begin_upload(NODE, "n", FILES).id
        send(store, other, 2, [0])
        assert len(store.open_messages(NODE)) == 2
        assert store.open_messages(OTHER_NODE) == []
        assert [upload.unresolved_count for upload in store.uploads()] == [1, 1]

    def test_it_is_known_what_became_of_a_message(self, store: StateStore) -> None:
        request_id = send(store, begin(store), 1, [0])
        assert store.message_status(request_id) is MessageStatus.OPEN
        store.settle(request_id, [STORED], b"receipt")
        assert store.message_status(request_id) is MessageStatus.SETTLED
        assert store.message_status(digest("no")) is None


class TestIdentities:
    def test_what_one_identity_knows_is_kept_apart(
        self, store: StateStore, database: StateDatabase
    ) -> None:
        other = StateStore(database, me=OTHER_NODE)
        mine, theirs = begin(store), begin(other)
        assert mine != theirs
        store.record_known(mine, [(0, record(0))])
        other.record_known(theirs, [(0, record(0))])
        for each in (store, other):
            each.learn(NODE, [record(0)])
        send(store, mine, 1, [1])
        other.unlearn(NODE, [record(0).frame])
        assert other.known(NODE, [record(0).content]) == {}
        assert held_indices(other, theirs) == []
        assert other.open_messages(NODE) == []
        assert store.known(NODE, [record(0).content]) == {record(0).content: record(0)}
        assert held_indices(store, mine) == [0]
        assert len(store.open_messages(NODE)) == 1


class TestKnowing:
    def test_the_newest_frame_of_a_content_wins(self, store: StateStore) -> None:
        store.learn(NODE, [record(0, 1), record(1, 1), record(0, 2)])
        assert store.finder(NODE)(record(0).content) == record(0, 2)
        store.learn(NODE, [record(0, 3)])
        assert store.finder(NODE)(record(0).content) == record(0, 3)
        assert store.finder(OTHER_NODE)(record(0).content) is None

    def test_many_are_learned_and_found_in_batches(self, store: StateStore) -> None:
        records = [record(number) for number in range(1_201)]
        store.learn(NODE, iter(records))
        found = store.known(NODE, [r.content for r in records] + [record("no").content])
        assert set(found.values()) == set(records)

    def test_what_the_node_lost_is_planned_again(self, store: StateStore) -> None:
        upload = begin(store)
        store.settle(send(store, upload, 1, [0, 1]), [STORED, STORED], b"")
        store.record_known(upload, [(2, record(0)), (3, record(3))])
        in_doubt = send(store, upload, 2, [5])
        store.unlearn(NODE, [record(0).frame, record(5).frame])
        assert held_indices(store, upload) == [1, 3]
        assert set(store.known(NODE, [record(0).content, record(1).content])) == {record(1).content}
        assert [m.request_id for m in store.open_messages(NODE)] == [in_doubt]


class TestManifestParts:
    def test_a_part_is_kept_and_proves_itself(self, store: StateStore) -> None:
        whole, torn = frame_digest(b"whole"), frame_digest(b"torn")
        store.keep_manifest_parts({whole: b"whole", torn: b"tor"})
        store.keep_manifest_parts({whole: b"whole"})
        wanted = [whole, torn, frame_digest(b"absent")]
        assert store.manifest_parts(wanted) == {whole: b"whole"}

    def test_parts_that_were_not_used_for_long_go(self, database: StateDatabase) -> None:
        ticks = count()
        store = StateStore(database, me=SENDER, clock_ns=lambda: next(ticks))
        parts = [f"part {number}".encode() for number in range(MAX_PARTS + 2)]
        for part in parts[:MAX_PARTS]:
            store.keep_manifest_parts({frame_digest(part): part})
        store.manifest_parts([frame_digest(parts[0])])
        for part in parts[MAX_PARTS:]:
            store.keep_manifest_parts({frame_digest(part): part})
        kept = store.manifest_parts(map(frame_digest, parts)).values()
        assert [part for part in parts if part not in kept] == parts[1:3]


class TestChunks:
    def test_chunks_come_in_order_page_by_page(
        self, store: StateStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("uploader.state.chunk_rows.PAGE", 7)
        upload = begin(store)
        indices = [index for index in range(60) if index % 3]
        store.record_known(upload, [(index, record(index)) for index in reversed(indices)])
        assert list(store.chunk_records(upload)) == [(i, record(i)) for i in indices]
        some = list(store.chunk_records(upload, 10, 20))
        assert [index for index, _ in some] == [i for i in indices if 10 <= i < 30]
        assert list(store.chunk_records(upload, 60)) == []

    def test_known_chunks_may_be_recorded_again(self, store: StateStore) -> None:
        upload = begin(store)
        store.settle(send(store, upload, 1, [0]), [STORED], b"")
        store.record_known(upload, [(0, record(0, 2)), (1, record(1))])
        store.record_known(upload, [(0, record(0, 3))])
        assert dict(store.chunk_records(upload)) == {0: record(0, 3), 1: record(1)}

    def test_audited_chunks_are_held(self, store: StateStore) -> None:
        upload = begin(store)
        store.record_known(upload, [(0, record(0)), (1, record(1))])
        send(store, upload, 1, [2])
        store.record_audited(upload, [0, 2])
        assert held_indices(store, upload) == [0, 1]
        assert store.uploads()[0].chunks == {
            ChunkStatus.AUDITED: 1,
            ChunkStatus.KNOWN: 1,
            ChunkStatus.INTENT: 1,
        }

    def test_finished_files_keep_their_digest(self, store: StateStore) -> None:
        upload = begin(store)
        assert store.file_digests(upload) == {}
        store.finish_file(upload, 1, digest("file"), 1, 10**6)
        assert store.file_digests(upload) == {1: digest("file")}
        with pytest.raises(ValueError, match="32 bytes"):
            store.finish_file(upload, 0, b"short", 0, 1)
