"""How much may be in flight: additive increase, multiplicative decrease, in messages and bytes.

A subnet takes 2 to 4 MB/s and says 429 or 503, or is silent, when that is exceeded. The window
starts with few messages, grows by one for every round that went well and is halved when a message
met congestion; messages that were sent before it was halved do not halve it again. On a slow line
the bytes in flight follow the measured rate: more of them would only wait in the line, and their
answers would come too late.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from datanode.agent.throughput import Throughput

START_MESSAGES: Final = 2
"""Messages in flight before anything is known about the network. Ours."""

QUEUE_S: Final = 40.0
"""How long the bytes in flight may take to leave at the measured rate. Ours: below the 60 s after
which a silent connection is given up, and far below the life of a message."""


class Window:
    """Bounds what is in flight; thread-safe.

    Args:
        max_messages: Most messages in flight, ever.
        max_bytes: Most bytes in flight; one message is let through whatever its size.
        monotonic: Clock that the rate is measured by.
    """

    def __init__(
        self,
        *,
        max_messages: int,
        max_bytes: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_messages < 1 or max_bytes < 1:
            raise ValueError("a window holds at least one message and one byte")
        self.max_messages: Final = max_messages
        self.max_bytes: Final = max_bytes
        self._limit = float(min(START_MESSAGES, max_messages))
        self._messages = 0
        self._bytes = 0
        self._spared = 0
        self._throughput = Throughput(monotonic)
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """Messages that may be in flight now."""
        return int(self._limit)

    @property
    def in_flight(self) -> tuple[int, int]:
        """Messages and bytes in flight."""
        with self._lock:
            return self._messages, self._bytes

    def try_acquire(self, size_bytes: int) -> bool:
        """Take a slot if there is one; always, when nothing is in flight."""
        with self._lock:
            if not self._fits(size_bytes):
                return False
            self._messages += 1
            self._bytes += size_bytes
            self._throughput.start(size_bytes)
            return True

    def release(self, size_bytes: int, *, congested: bool = False) -> None:
        """Give a slot back and tell how it went."""
        with self._lock:
            if self._messages == 0 or size_bytes > self._bytes:
                raise ValueError("more is released than was acquired")
            self._messages -= 1
            self._bytes -= size_bytes
            self._throughput.finish(size_bytes, arrived=True)
            if congested and not self._spared:
                self._limit = max(1.0, self._limit / 2)
                # What is in flight now met the same congestion.
                self._spared = self._messages
            elif self._spared:
                self._spared -= 1
            elif not congested:
                self._limit = min(float(self.max_messages), self._limit + 1 / self._limit)

    def _fits(self, size_bytes: int) -> bool:
        if self._messages == 0:
            return True
        rate_bytes_s = self._throughput.rate_bytes_s()
        most = self.max_bytes
        if rate_bytes_s is not None:
            most = min(most, int(rate_bytes_s * QUEUE_S))
        return self._messages < int(self._limit) and self._bytes + size_bytes <= most
