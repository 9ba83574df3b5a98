"""Frames into messages, messages to the node, each paid once.

The order is the promise (numbers as here and in `delivery.py`):

1. Ask, before the first message of a run, whether the node has room for it.
2. Sign the message; from here on its bytes never change.
3. Keep those bytes in the outbox, then commit the intent with fsync.
4. Send. No certified answer: ask what became of it, then send the identical bytes again.
5. A certified answer settles it: results and receipt are committed, the outbox file goes.
6. Proven never to have run: its frames are free to travel in another message.

Threads deliver; the calling thread alone signs, commits and settles. What became of each frame is
collected by the caller. After the first failure nothing more is signed.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.agent.window import Window
from datanode.errors import FormatError, NodeFullError
from datanode.fees import FeeSchedule
from datanode.limits import MAX_MESSAGE_FRAMES, MAX_MESSAGE_FRAMES_BYTES
from datanode.model import ChunkRecord
from datanode.node.port import PutResult, PutStatus, Refused, Settled, StorageNode
from uploader.session.message_delivery import deliver, stopped
from uploader.session.spending import Spending, message_cycles
from uploader.state.outbox import Outbox
from uploader.state.store import OutgoingFrame, StateStore

_LOOK_UP_S: Final = 0.1
"""How often a wait for deliveries looks whether the user wants to stop."""

_KEPT: Final = frozenset({PutStatus.STORED, PutStatus.ALREADY_STORED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One frame on its way.

    Attributes:
        record: What the manifest says of it.
        chunk_index: Its chunk; None for a part of the manifest.
        frame: Its bytes; dropped for chunks once signed, because the source has them.
    """

    record: ChunkRecord
    chunk_index: int | None
    frame: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """Outcome of a parcel.

    Attributes:
        parcel: The frame.
        is_held: The node holds it; otherwise it must travel again.
        is_leased: It is held under the sender's own lease; otherwise it must be pinned.
    """

    parcel: Parcel
    is_held: bool
    is_leased: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivery:
    """Outcome of a message, passed from a delivery thread to the calling thread."""

    message: SignedMessage
    parcels: tuple[Parcel, ...]
    lease_id: int
    cycles: int
    outcome: Settled | Refused | Unsettled | BaseException
    retries_count: int
    resumed: bool


@dataclass(slots=True)
class Sender:
    """Sends parcels under one lease. Not thread-safe: one thread calls it.

    Attributes:
        node: Where frames go.
        state: Where intents and receipts are committed.
        outbox: Where signed bytes survive a crash.
        upload_id: The upload in the database.
        lease_id: The lease on the node.
        fees: Prices a message before it is sent.
        window: Bounds what is in flight and adapts to congestion.
        admit: Asks the node whether frames of a count and size fit; raises if they do not.
        spending: What was sent.
        sleep: Waits between attempts, seconds.
        note: Tells the user something worth keeping.
        stopping: Turns true when the user wants to stop.
    """

    node: StorageNode
    state: StateStore
    outbox: Outbox
    upload_id: int
    lease_id: int
    fees: FeeSchedule
    window: Window
    admit: Callable[[int, int], object]
    spending: Spending = field(default_factory=Spending)
    sleep: Callable[[float], None] = time.sleep
    note: Callable[[str], None] = lambda _: None
    stopping: Callable[[], bool] = lambda: False
    _batch: list[Parcel] = field(default_factory=list)
    _batch_bytes: int = 0
    _admitted: bool = False
    _in_flight: int = 0
    _uncertain: int = 0
    _fates: list[Fate] = field(default_factory=list)
    _failure: BaseException | None = None
    _done: "queue.SimpleQueue[_Delivery]" = field(default_factory=queue.SimpleQueue)
    _closed: threading.Event = field(default_factory=threading.Event)
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.window.max_messages, thread_name_prefix="send")

    @property
    def unresolved_count(self) -> int:
        """Messages of this run without a certified outcome; the next run asks about them."""
        return self._in_flight + self._uncertain

    def add(self, parcel: Parcel) -> None:
        """Queue a frame; sends a message whenever one is full."""
        size = parcel.record.frame_bytes
        if self._batch and (
            self._batch_bytes + size > MAX_MESSAGE_FRAMES_BYTES
            or len(self._batch) >= MAX_MESSAGE_FRAMES
        ):
            self.dispatch()
        self._batch.append(parcel)
        self._batch_bytes += size

    def dispatch(self) -> None:
        """Sign, commit and send the open batch, waiting for a slot of the window first."""
        if not self._batch:
            return
        size = self._batch_bytes
        self.drain()
        while not self.window.try_acquire(size):
            self.drain(block=True)
        parcels, self._batch, self._batch_bytes = self._batch, [], 0
        if not self._admitted:
            self.admit(len(parcels), size)  # 1
            self._admitted = True
        frames = [parcel.frame for parcel in parcels if parcel.frame is not None]
        message = self.node.prepare(self.lease_id, frames)  # 2
        cycles = message_cycles(self.fees, len(message.body), size)
        self.spending.take(cycles)
        self.outbox.put(message, self.lease_id, [parcel.record for parcel in parcels])  # 3
        self.state.record_intent(
            self.upload_id,
            message,
            self.lease_id,
            [OutgoingFrame(parcel.chunk_index, parcel.record) for parcel in parcels],
            cycles,
        )
        self._submit(message, tuple(map(_light, parcels)), cycles)

    def resume(
        self, message: SignedMessage, parcels: Sequence[Parcel], *, lease_id: int, cycles: int
    ) -> None:
        """Deliver a message that an earlier run committed; it is neither signed nor priced anew."""
        size = sum(parcel.record.frame_bytes for parcel in parcels)
        while not self.window.try_acquire(size):
            self.drain(block=True)
        self._submit(message, tuple(parcels), cycles, resumed_lease_id=lease_id)

    def collect(self) -> list[Fate]:
        """Return what became of parcels since this was last called."""
        fates, self._fates = self._fates, []
        return fates

    def drain(self, *, block: bool = False) -> None:
        """Settle what has arrived; with `block`, wait for at least one delivery.

        Raises:
            DataNodeError: A delivery failed for good; the rest may still be in flight.
            StoppedByUserError: The user wants to stop; what is in flight stays open.
        """
        while self._in_flight:
            try:
                delivery = self._done.get(block=block, timeout=_LOOK_UP_S if block else None)
            except queue.Empty:
                if not block:
                    break
                if self.stopping():
                    raise stopped() from None
                continue
            block = False
            self._settle(delivery)
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """Send the open batch and wait until nothing is in flight."""
        self.dispatch()
        while self._in_flight:
            self.drain(block=True)
        self.drain()

    def close(self, *, wait_s: float = 0.0) -> None:
        """Stop sending; what arrives within `wait_s` is still settled, the rest stays open."""
        self._closed.set()
        deadline = time.monotonic() + wait_s
        try:
            while self._in_flight and time.monotonic() < deadline:
                try:
                    self._settle(self._done.get(timeout=0.05))
                except queue.Empty:
                    continue
        finally:
            self._pool.shutdown(wait=not self._in_flight, cancel_futures=True)

    def _submit(
        self,
        message: SignedMessage,
        parcels: tuple[Parcel, ...],
        cycles: int,
        *,
        resumed_lease_id: int | None = None,
    ) -> None:
        self._in_flight += 1
        self._pool.submit(self._deliver, message, parcels, cycles, resumed_lease_id)

    def _deliver(
        self,
        message: SignedMessage,
        parcels: tuple[Parcel, ...],
        cycles: int,
        resumed_lease_id: int | None,
    ) -> None:
        retries = 0

        def retried() -> None:
            nonlocal retries
            retries += 1

        outcome: Settled | Refused | Unsettled | BaseException
        try:
            outcome = deliver(self.node, message, sleep=self._pause, retried=retried)
        except BaseException as error:  # noqa: BLE001 - a thread must report, or the run hangs
            outcome = error
        self._done.put(
            _Delivery(
                message=message,
                parcels=parcels,
                lease_id=self.lease_id if resumed_lease_id is None else resumed_lease_id,
                cycles=cycles,
                outcome=outcome,
                retries_count=retries,
                resumed=resumed_lease_id is not None,
            )
        )

    def _pause(self, seconds: float) -> None:
        """Wait before another attempt, unless the run has ended."""
        if self._closed.is_set():
            raise stopped()
        self.sleep(seconds)

    def _settle(self, delivery: _Delivery) -> None:
        self._in_flight -= 1
        message, outcome = delivery.message, delivery.outcome
        self.window.release(
            sum(parcel.record.frame_bytes for parcel in delivery.parcels),
            congested=delivery.retries_count > 0,
        )
        if delivery.retries_count:
            self.spending.retried_bytes += delivery.retries_count * len(message.body)
            self.state.retried(message.request_id, delivery.retries_count * len(message.body))
            self.note(f"a message was sent {delivery.retries_count + 1} times; it is paid once")
        match outcome:
            case Settled(results=results) if len(results) == len(delivery.parcels):  # 5
                self.state.settle(message.request_id, results, outcome.receipt)
                self.outbox.drop(message.request_id)
                self.spending.messages_count += 1
                self.spending.envelope_bytes += len(message.body)
                self._sort(delivery, results)
            case Refused():
                self.state.refuse(message.request_id)
                self.outbox.drop(message.request_id)
                self.spending.refused_count += 1
                self._tell(delivery, delivery.parcels, is_held=False)
                if not delivery.resumed:
                    self._fail(outcome.error)
            case Unsettled.EXPIRED:  # 6
                self.state.expire(message.request_id)
                self.outbox.drop(message.request_id)
                self.spending.give_back(delivery.cycles, resumed=delivery.resumed)
                self._tell(delivery, delivery.parcels, is_held=False)
            case Settled() | Unsettled.FORGOTTEN:
                self._ask(delivery)
            case BaseException():
                self._uncertain += 1
                self._fail(outcome)  # no certificate: the message stays open for the next run

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error

    def _tell(self, delivery: _Delivery, parcels: Sequence[Parcel], *, is_held: bool) -> None:
        leased = delivery.lease_id == self.lease_id
        self._fates += [Fate(parcel=each, is_held=is_held, is_leased=leased) for each in parcels]

    def _ask(self, delivery: _Delivery) -> None:
        """Ask for the frames of a message whose own results cannot be had: by consensus."""
        digests = [parcel.record.frame for parcel in delivery.parcels]
        missing = self.node.missing_frames(self.lease_id, digests, replicated=True)
        held = [p for p, lacks in zip(delivery.parcels, missing, strict=True) if not lacks]
        self.state.refuse(delivery.message.request_id)
        self.state.learn(self.node.principal, [parcel.record for parcel in held])
        self.outbox.drop(delivery.message.request_id)
        for parcel, lacks in zip(delivery.parcels, missing, strict=True):
            self._fates.append(Fate(parcel=parcel, is_held=not lacks, is_leased=False))

    def _sort(self, delivery: _Delivery, results: Sequence[PutResult]) -> None:
        for parcel, result in zip(delivery.parcels, results, strict=True):
            self.spending.frames_count += result.status is PutStatus.STORED
            match result.status:
                case PutStatus.NO_ROOM:
                    self._fail(NodeFullError("the node has no room for more frames"))
                case PutStatus.BAD:
                    self._fail(
                        FormatError(
                            f"the node refused a frame as malformed: {result.detail}",
                            hint="Please report this: an encoder or a parser is wrong.",
                        )
                    )
            if result.status is not PutStatus.BAD:
                self._tell(delivery, [parcel], is_held=result.status in _KEPT)


def _light(parcel: Parcel) -> Parcel:
    """Forget a chunk's frame: the outbox has it, and the source can give it again."""
    if parcel.chunk_index is None:
        return parcel
    return Parcel(record=parcel.record, chunk_index=parcel.chunk_index, frame=None)
