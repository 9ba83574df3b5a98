"""Frames into messages, messages to the node, each paid once.

The order is the promise (numbers as here and in `delivery.py`):

1. Sign the message; from here on its bytes never change.
2. Keep those bytes in the outbox, then commit the intent with fsync.
3. Send. No certified answer: ask what became of it, then send the identical bytes again.
4. A certified answer settles it: results and receipt are committed, the outbox file goes.
5. Proven never to have run: its frames are free to travel in another message.

Threads deliver; the calling thread alone signs, commits and settles.
"""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from datanode.agent.window import Window
from datanode.errors import (
    BudgetError,
    FormatError,
    NodeFullError,
)
from datanode.fees import FeeSchedule
from datanode.limits import MAX_MESSAGE_FRAMES, MAX_MESSAGE_FRAMES_BYTES, PUT_INSTRUCTIONS_PER_BYTE
from datanode.model import ChunkRecord, ChunkSpec
from datanode.node.port import (
    PutResult,
    PutStatus,
    Refused,
    Settled,
    SignedMessage,
    StorageNode,
    Unsettled,
)
from datanode.units import format_cycles
from uploader.session.delivery import deliver, stopped
from uploader.state.outbox import Outbox
from uploader.state.store import OutgoingFrame, StateStore

_LOOK_UP_S: Final = 0.1
"""How often a wait for deliveries looks whether the user wants to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One frame on its way.

    Attributes:
        record: What the manifest says of it.
        spec: Its chunk; None for a part of the manifest.
        frame: Its bytes; dropped for chunks once signed, because the source has them.
    """

    record: ChunkRecord
    spec: ChunkSpec | None
    frame: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of a message, as a delivering thread tells the calling thread."""

    message: SignedMessage
    parcels: tuple[Parcel, ...]
    outcome: Settled | Refused | Unsettled | BaseException
    retries_count: int
    resumed: bool


@dataclass(slots=True)
class Spending:
    """What this run has sent. `limit_cycles` None: no limit."""

    limit_cycles: int | None = None
    cycles: int = 0
    envelope_bytes: int = 0
    messages_count: int = 0
    frames_count: int = 0
    retried_bytes: int = 0


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
        on_stored: Called for each parcel that the node holds now.
        on_lost: Called for each parcel that must travel again.
        spending: What was sent.
        sleep: Waits between attempts, seconds.
        stopping: Turns true when the user wants to stop.
    """

    node: StorageNode
    state: StateStore
    outbox: Outbox
    upload_id: int
    lease_id: int
    fees: FeeSchedule
    window: Window
    on_stored: Callable[[Parcel], None]
    on_lost: Callable[[Parcel], None]
    spending: Spending = field(default_factory=Spending)
    sleep: Callable[[float], None] = time.sleep
    note: Callable[[str], None] = lambda _: None
    stopping: Callable[[], bool] = lambda: False
    _batch: list[Parcel] = field(default_factory=list)
    _batch_bytes: int = 0
    _in_flight: int = 0
    _failure: BaseException | None = None
    _done: "queue.SimpleQueue[Delivery]" = field(default_factory=queue.SimpleQueue)
    _closed: threading.Event = field(default_factory=threading.Event)
    _pool: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.window.max_messages, thread_name_prefix="send")

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
        parcels, self._batch, self._batch_bytes = self._batch, [], 0
        while not self.window.try_acquire(sum(p.record.frame_bytes for p in parcels)):
            self.drain(block=True)
        frames = [parcel.frame for parcel in parcels if parcel.frame is not None]
        message = self.node.prepare(self.lease_id, frames)  # 1
        cycles = self._price(message, parcels)
        self.outbox.put(message)  # 2
        self.state.record_intent(
            self.upload_id,
            message,
            self.lease_id,
            [OutgoingFrame(p.spec.index if p.spec else None, p.record) for p in parcels],
            cycles,
        )
        self.spending.cycles += cycles
        self._submit(message, tuple(_light(parcel) for parcel in parcels))

    def resume(self, message: SignedMessage, parcels: Sequence[Parcel]) -> None:
        """Deliver a message that an earlier run committed; it is neither signed nor priced anew."""
        size = sum(parcel.record.frame_bytes for parcel in parcels)
        while not self.window.try_acquire(size):
            self.drain(block=True)
        self._submit(message, tuple(parcels), resumed=True)

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

    def _price(self, message: SignedMessage, parcels: Sequence[Parcel]) -> int:
        frame_bytes = sum(parcel.record.frame_bytes for parcel in parcels)
        cycles = message_cycles(self.fees, len(message.body), frame_bytes)
        limit = self.spending.limit_cycles
        if limit is not None and self.spending.cycles + cycles > limit:
            raise BudgetError(
                f"the next message would bring this upload to "
                f"{format_cycles(self.spending.cycles + cycles)}, the limit is "
                f"{format_cycles(limit)}",
                safe="Everything sent so far is stored and paid; nothing is lost.",
            )
        return cycles

    def _submit(
        self, message: SignedMessage, parcels: tuple[Parcel, ...], *, resumed: bool = False
    ) -> None:
        self._in_flight += 1
        self._pool.submit(self._deliver, message, parcels, resumed=resumed)

    def _deliver(
        self, message: SignedMessage, parcels: tuple[Parcel, ...], *, resumed: bool
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
            Delivery(
                message=message,
                parcels=parcels,
                outcome=outcome,
                retries_count=retries,
                resumed=resumed,
            )
        )

    def _pause(self, seconds: float) -> None:
        """Wait before another attempt; nobody waits for attempts after the end."""
        if self._closed.is_set():
            raise stopped()
        self.sleep(seconds)

    def _settle(self, delivery: Delivery) -> None:
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
        if isinstance(outcome, Settled):  # 4
            self.state.settle(message.request_id, outcome.results, outcome.receipt)
            self.outbox.drop(message.request_id)
            self.spending.messages_count += 1
            self.spending.envelope_bytes += len(message.body)
            self._sort(delivery.parcels, outcome.results)
        elif isinstance(outcome, Refused) or outcome is Unsettled.EXPIRED:  # 5
            close = self.state.refuse if isinstance(outcome, Refused) else self.state.expire
            close(message.request_id)
            self.outbox.drop(message.request_id)
            for parcel in delivery.parcels:
                self.on_lost(parcel)
            if isinstance(outcome, Refused) and not delivery.resumed:
                self._fail(outcome.error)
        elif outcome is Unsettled.FORGOTTEN:
            self._ask(delivery)
        elif isinstance(outcome, BaseException):
            self._fail(outcome)  # no certificate: the message stays open for the next run

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error

    def _ask(self, delivery: Delivery) -> None:
        """Too late for the subnet to remember: only a replicated answer may lead to paying."""
        digests = [parcel.record.frame for parcel in delivery.parcels]
        missing = self.node.missing_frames(self.lease_id, digests, replicated=True)
        self.state.expire(delivery.message.request_id)
        self.outbox.drop(delivery.message.request_id)
        held = [p.record for p, lacks in zip(delivery.parcels, missing, strict=True) if not lacks]
        self.state.learn(self.node.principal, held)
        for parcel, lacks in zip(delivery.parcels, missing, strict=True):
            (self.on_lost if lacks else self.on_stored)(parcel)

    def _sort(self, parcels: Sequence[Parcel], results: Sequence[PutResult]) -> None:
        if all(result.status is PutStatus.NO_ROOM for result in results):
            self._fail(
                NodeFullError(
                    "the node has no room for more frames",
                    safe="Everything stored so far is paid and kept.",
                )
            )
        for parcel, result in zip(parcels, results, strict=True):
            match result.status:
                case PutStatus.STORED | PutStatus.ALREADY_STORED:
                    self.spending.frames_count += result.status is PutStatus.STORED
                    self.on_stored(parcel)
                case PutStatus.NO_ROOM:
                    self.on_lost(parcel)
                case PutStatus.BAD:
                    self._fail(
                        FormatError(
                            f"the node refused a frame as malformed: {result.detail}",
                            safe="Its neighbours are stored.",
                            hint="Please report this: an encoder or a parser is wrong.",
                        )
                    )


def message_cycles(fees: FeeSchedule, envelope_bytes: int, frame_bytes: int) -> int:
    """Estimate what a `put_frames` message costs the canister, in cycles."""
    instructions = int(frame_bytes * PUT_INSTRUCTIONS_PER_BYTE)
    return fees.ingress_cycles(envelope_bytes) + fees.execution_cycles(instructions)


def _light(parcel: Parcel) -> Parcel:
    """Forget a chunk's frame: the outbox has it, and the source can give it again."""
    if parcel.spec is None:
        return parcel
    return Parcel(record=parcel.record, spec=parcel.spec, frame=None)
