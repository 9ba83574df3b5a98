"""The network's time: the machine's, but never the same twice and never backwards.

A fault on cue may set it off by some time; then it does jump, there and back.
"""

import threading
import time
from collections.abc import Callable


class Clock:
    """A strictly monotonic clock.

    Args:
        source: Where time comes from, ns since 1970.
        not_before_ns: The latest time that was ever used; the clock starts after it.
        skew_ns: How far the clock is off on purpose.
    """

    def __init__(
        self,
        source: Callable[[], int] = time.time_ns,
        *,
        not_before_ns: int = 0,
        skew_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        self._source = source
        self._skew_ns = skew_ns
        self._last_ns = not_before_ns
        self._lock = threading.Lock()

    def now_ns(self) -> int:
        """Return a time later than every one before, unless the skew has changed."""
        return self._right_ns() + self._skew_ns()

    def earliest_ns(self) -> int:
        """Return a time that was not before any message's expiry, however the clock is set off."""
        return self._right_ns() + min(0, self._skew_ns())

    def _right_ns(self) -> int:
        with self._lock:
            self._last_ns = max(self._source(), self._last_ns + 1)
            return self._last_ns
