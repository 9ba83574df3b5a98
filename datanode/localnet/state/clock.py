"""The network's time: the machine's, but never the same twice and never backwards."""

import threading
import time
from collections.abc import Callable


class Clock:
    """A strictly monotonic clock.

    Args:
        source: Where time comes from, ns since 1970.
        not_before_ns: The latest time that was ever used; the clock starts after it.
    """

    def __init__(self, source: Callable[[], int] = time.time_ns, *, not_before_ns: int = 0) -> None:
        self._source = source
        self._last_ns = not_before_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Return a time later than every one before."""
        with self._lock:
            self._last_ns = max(self._source(), self._last_ns + 1)
            return self._last_ns
