"""Run queued messages and tasks on a few threads, in order for each receiver."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from datanode.errors import DataNodeError
from datanode.localnet.state.queue import MessageQueue
from datanode.principal import Principal

THREADS: Final = 4
_IN_A_ROW: Final = 16
"""Messages that a receiver takes before another receiver's turn comes."""

_RETRY_S: Final = 1.0
"""How long a receiver pauses whose message could not be executed, e.g. on a full disk."""

_log: Final = logging.getLogger("datanode.localnet")


class Scheduler:
    """Drains the queues of all receivers.

    Args:
        queue: The messages between canisters.
        deliver: Executes the next message for a receiver; False when there is none.
    """

    def __init__(self, queue: MessageQueue, deliver: Callable[[Principal], bool]) -> None:
        self._deliver = deliver
        self._pool = ThreadPoolExecutor(THREADS, "calls")
        self._lock = threading.Lock()
        self._busy: set[Principal] = set()
        self._again: set[Principal] = set()
        self._closing = threading.Event()
        queue.watch(self.wake)
        for receiver in queue.receivers():
            self.wake(receiver)

    def wake(self, receiver: Principal) -> None:
        """Let a receiver take its messages, now or after those that it is taking."""
        with self._lock:
            if receiver in self._busy:
                self._again.add(receiver)
                return
            self._busy.add(receiver)
        self._submit(lambda: self._drain(receiver))

    def run(self, task: Callable[[], None]) -> None:
        """Run a task that is not a message."""
        self._submit(lambda: self.guarded(task))

    def close(self) -> None:
        """Let the messages under way end, and start no other."""
        with self._lock:
            self._closing.set()
        self._pool.shutdown(cancel_futures=True)

    def _submit(self, work: Callable[[], object]) -> None:
        with self._lock:
            if not self._closing.is_set():
                self._pool.submit(work)

    def _drain(self, receiver: Principal) -> None:
        more = False
        for _ in range(_IN_A_ROW):
            if self._closing.is_set():
                return
            more = self.guarded(lambda: self._deliver(receiver))
            if not more:
                break
        with self._lock:
            more = more or receiver in self._again
            self._again.discard(receiver)
            if not more:
                self._busy.discard(receiver)
        if more:
            self._submit(lambda: self._drain(receiver))

    def guarded(self, work: Callable[[], bool | None]) -> bool:
        """Do something whose failure must not end the thread; it is tried again later."""
        try:
            return bool(work())
        except DataNodeError as error:
            _log.warning("a message waits: %s", error.what)
        except Exception:  # noqa: BLE001 - logged with its traceback
            _log.exception("a message waits: the embedded network failed")
        self._closing.wait(_RETRY_S)
        return True
