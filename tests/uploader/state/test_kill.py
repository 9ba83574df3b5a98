"""Kill -9 between any two steps of sending: what is left always says what to do next.

A child process sends messages through outbox and store, to a "node" that is a file to which it
appends each request id it executes, at most once each. It is killed at random moments and started
again; like a session it asks about open messages first and sends the identical bytes if need be.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.repetitions import repeated
from tests.uploader.state.facts import FILES, NODE, SENDER, record
from uploader.state.database import open_database
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore

ROOT = Path(__file__).parents[3]
CHUNKS_COUNT = 120
KILLS_COUNT = repeated(6, 100)

CHILD = """
import os, sys, pathlib
from datanode.digest import frame_digest
from tests.uploader.state.facts import FILES, NODE, SENDER, STORED, message, record
from uploader.state.database import open_database
from uploader.state.outbox import Outbox
from uploader.state.store import OutgoingFrame, StateStore

folder, count, life = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
node = folder / "node"
store = StateStore(open_database(f"sqlite:///{folder / 'state.db'}"), me=SENDER)
outbox = Outbox(folder / "outbox")

def executed():
    return set(node.read_text().split()) if node.exists() else set()

def execute(request_id, body):
    if request_id.hex() not in executed():  # the network executes a request id once
        with node.open("a") as file:
            file.write(request_id.hex() + "\\n")

upload = store.begin_upload(NODE, "m", FILES).id
print("ready", flush=True)
messages = store.open_messages(NODE)
for out in messages:
    if out.request_id.hex() not in executed():
        body = outbox.load(out.request_id, out.body_digest)
        if body is None:
            raise SystemExit("an open message without its bytes, and no power was cut")
        execute(out.request_id, body)
    store.settle(out.request_id, [STORED] * len(out.frames), b"receipt")
    outbox.drop(out.request_id)
outbox.sweep({out.request_id for out in messages})
held = {index for index, _ in store.chunk_records(upload)}
for index in range(0, count, 2):
    if index in held:
        continue
    out = message((life, index))  # signed anew: another request id, as in life
    outbox.put(out, 1, [record(i) for i in (index, index + 1)])
    store.record_intent(
        upload, out, 1, [OutgoingFrame(i, record(i)) for i in (index, index + 1)], 1
    )
    execute(out.request_id, out.body)
    store.settle(out.request_id, [STORED, STORED], b"receipt")
    outbox.drop(out.request_id)
print("done", flush=True)
"""


def test_kill_9_at_random_moments_pays_nothing_twice_and_loses_nothing(tmp_path: Path) -> None:
    chance = random.Random(5)
    for life in range(KILLS_COUNT + 1):
        command = [sys.executable, "-c", CHILD, str(tmp_path), str(CHUNKS_COUNT), str(life)]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout
            assert child.stderr
            if child.stdout.readline() != "ready\n":
                raise AssertionError(child.stderr.read())
            if life < KILLS_COUNT:
                time.sleep(chance.random() * 0.02)
                child.kill()
            said = child.stdout.read()
            complaint = child.stderr.read()
        assert not complaint, complaint
    assert said == "done\n"
    executed = (tmp_path / "node").read_text().split()
    assert len(executed) == len(set(executed)) == CHUNKS_COUNT // 2, json.dumps(len(executed))
    with open_database(f"sqlite:///{tmp_path / 'state.db'}") as database:
        store = StateStore(database, me=SENDER)
        upload = store.begin_upload(NODE, "m", FILES).id
        assert dict(store.chunk_records(upload)) == {i: record(i) for i in range(CHUNKS_COUNT)}
        assert store.open_messages(NODE) == []
    assert Outbox(tmp_path / "outbox").sweep(set()) == 0
