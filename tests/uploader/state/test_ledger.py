"""uploader.state.store: what messages have cost, and how far uploads have come."""

from tests.uploader.state.facts import FILES, NODE, OTHER_NODE, STORED, begin, message, record, send
from uploader.state.lifecycle import ChunkStatus
from uploader.state.store import StateStore


def test_messages_that_ran_or_may_have_run_cost_cycles(store: StateStore) -> None:
    upload = begin(store)
    assert store.totals(upload).cycles == 0
    store.settle(send(store, upload, 1, [0, 1]), [STORED, STORED], b"")
    store.expire(send(store, upload, 2, [2]))
    store.refuse(send(store, upload, 3, [3]))
    last = send(store, upload, 4, [None])
    store.retried(last, 100)
    store.retried(last, 11)
    totals = store.totals(upload)
    assert totals.cycles == 3 * 10**15
    assert (totals.messages_count, totals.frames_count) == (4, 5)
    assert totals.envelope_bytes == 4 * len(message(1).body)
    assert totals.retried_bytes == 111


def test_the_ledger_adds_up_by_node_and_model(store: StateStore) -> None:
    send(store, begin(store), 1, [0])
    old = store.begin_upload(NODE, "n", FILES).id
    send(store, old, 2, [0])
    new = store.begin_upload(NODE, "n", FILES[:1], restart=True).id
    send(store, new, 3, [0])
    counts = {entry.model: entry.totals.messages_count for entry in store.ledger()}
    assert counts == {"m": 1, "n": 2}
    assert store.ledger(OTHER_NODE) == []


def test_uploads_are_described_newest_first(store: StateStore) -> None:
    upload = begin(store)
    store.record_known(upload, [(0, record(0))])
    store.begin_upload(OTHER_NODE, "n", FILES)
    newest, oldest = store.uploads()
    assert (newest.model, oldest.model) == ("n", "m")
    assert (oldest.files_count, oldest.total_bytes) == (2, 10**12 + 2)
    assert (oldest.held_bytes, oldest.chunks) == (1_000, {ChunkStatus.KNOWN: 1})
    assert [info.id for info in store.uploads(NODE)] == [upload]
