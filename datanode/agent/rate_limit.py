"""Limit the bytes a second that all requests of one agent move, in both directions together.

Bodies leave and answers are read in pieces, and each piece waits until those before it have had
their time. There is no credit for idle time, so that a burst never exceeds the limit.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from datanode.errors import UsageError
from datanode.units import KIB

LEAST_BYTES_S: Final = 20_000
"""Slowest limit that is taken: below it two full messages outlast the time of an exchange."""

PIECE_BYTES: Final = 16 * KIB


class RateLimit:
    """Paces bytes; thread-safe.

    Args:
        bytes_s: Bytes a second.
        monotonic: Clock, seconds.
        sleep: Waits, seconds.

    Raises:
        UsageError: The rate is lower than `LEAST_BYTES_S`.
    """

    def __init__(
        self,
        bytes_s: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if bytes_s < LEAST_BYTES_S:
            raise UsageError(
                f"a rate of {bytes_s:,} bytes a second is too low",
                hint=f"The lowest limit is {LEAST_BYTES_S:,} bytes a second: messages expire.",
            )
        self._bytes_s = bytes_s
        self._monotonic = monotonic
        self._sleep = sleep
        self._free_s = monotonic()
        self._lock = threading.Lock()

    def take(self, size_bytes: int) -> None:
        """Wait until `size_bytes` bytes may pass."""
        with self._lock:
            now_s = self._monotonic()
            self._free_s = max(self._free_s, now_s) + size_bytes / self._bytes_s
            wait_s = self._free_s - now_s
        self._sleep(wait_s)


def paced(body: bytes, limit: RateLimit) -> Iterator[bytes]:
    """Yield a request body in paced pieces."""
    for start in range(0, len(body), PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        limit.take(len(piece))
        yield piece
