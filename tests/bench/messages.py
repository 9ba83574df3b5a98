"""Processor time of one message of 1.9 MB, on both sides, and of a query.

The client is this process, by getrusage; the network is another one, by its processor clock, from
before a message is made until its certificate is here. Weights are not encoded here: the frame is
there. Each message does what the uploader does, in its order, and its parts are timed apart:

sign            Candid, CBOR, request id, signature
outbox          the signed bytes to a file
intent          the fsynced transaction before sending
send            HTTP, and the verified certificate of the reply
settle          the fsynced transaction after it, and the outbox file goes
"""

import resource
import statistics
from typing import Final

from datanode import frame
from datanode.model import ChunkRecord, ElementType
from datanode.node.port import Lease, Settled
from tests.bench.machine import cpu_of
from tests.bench.rig import Rig, noise
from uploader.session.encode_pipeline import record_of
from uploader.source.base import PinnedFile
from uploader.state.database import open_database
from uploader.state.outbox import Outbox
from uploader.state.store import OutgoingFrame, StateStore

FRAME_BYTES: Final = 1_900_000
MESSAGES: Final = 60
WARM_UP: Final = 5
QUERIES: Final = 200


def measure(rig: Rig, messages_count: int = MESSAGES) -> dict[str, object]:
    """Send messages one after the other and see what they took, in milliseconds."""
    lease = rig.node.begin_upload(
        "cpu", frames_count=messages_count, frame_bytes=messages_count * FRAME_BYTES
    )
    frames = [
        frame.seal(noise(f"cpu {index}", FRAME_BYTES - 64), ElementType.BYTES, 0)
        for index in range(messages_count)
    ]
    records = [record_of(data) for data in frames]
    with open_database(f"sqlite:///{rig.folder / 'cpu' / 'state.db'}") as database:
        state = StateStore(database, me=rig.agent.identity.principal)
        desk = _Desk(rig, state, Outbox(rig.folder / "cpu" / "outbox"), lease)
        for data, record in zip(frames[:WARM_UP], records, strict=False):
            desk.deliver(data, record)
        desk.taken.clear()
        desk.served.clear()
        for data, record in zip(frames[WARM_UP:], records[WARM_UP:], strict=True):
            desk.deliver(data, record)
    return {
        "messages": messages_count - WARM_UP,
        "client_ms": {name: _spread(values) for name, values in desk.taken.items()},
        "localnet_ms": _spread(desk.served),
        "query": _queries(rig),
    }


class _Desk:
    """Does for one frame what the uploader's sender does, and notes the processor time."""

    def __init__(self, rig: Rig, state: StateStore, outbox: Outbox, lease: Lease) -> None:
        self._rig = rig
        self._state = state
        self._outbox = outbox
        self._lease = lease
        self._count = 0
        pinned = PinnedFile(path="m.safetensors", length_bytes=10**9, stamp=1, inode=1)
        self._upload = state.begin_upload(rig.node.principal, "cpu", [pinned]).id
        self.taken: dict[str, list[float]] = {}
        self.served: list[float] = []

    def deliver(self, data: bytes, record: ChunkRecord) -> None:
        times, served_s = [_cpu_s()], cpu_of(self._rig.net.pid)

        def done(name: str) -> None:
            times.append(_cpu_s())
            self.taken.setdefault(name, []).append(times[-1] - times[-2])

        message = self._rig.node.prepare(self._lease.id, [data])
        done("sign")
        self._outbox.put(message, self._lease.id, [record])
        done("outbox")
        outgoing = [OutgoingFrame(self._count, record)]
        self._state.record_intent(self._upload, message, self._lease.id, outgoing, 1)
        done("intent")
        outcome = self._rig.node.send(message)
        done("send")
        if not isinstance(outcome, Settled):
            raise SystemExit(f"a message was not settled: {outcome}")
        self._state.settle(message.request_id, outcome.results, outcome.receipt)
        self._outbox.drop(message.request_id)
        done("settle")
        self.taken.setdefault("sum", []).append(times[-1] - times[0])
        self.served.append(cpu_of(self._rig.net.pid) - served_s)
        self._count += 1


def _queries(rig: Rig) -> dict[str, object]:
    taken, served = [], []
    for _ in range(QUERIES):
        started, served_s = _cpu_s(), cpu_of(rig.net.pid)
        rig.node.status()
        taken.append(_cpu_s() - started)
        served.append(cpu_of(rig.net.pid) - served_s)
    return {
        "queries": QUERIES,
        "client_ms": _spread(taken),
        "localnet_ms": _spread(served),
    }


def _spread(values: list[float]) -> dict[str, float]:
    """Best: what the work takes; median: what the machine made of it meanwhile."""
    return {
        "best": round(1_000 * min(values), 2),
        "median": round(1_000 * statistics.median(values), 2),
    }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
