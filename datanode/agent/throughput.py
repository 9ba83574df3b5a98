"""How fast bytes leave: measured over the time in which some were in flight."""

import threading
import time
from collections.abc import Callable
from typing import Final

HORIZON_S: Final = 300.0
"""Busy time after which older measurements count half. Ours: several times what is in flight, since
bytes that are on their way when the past is forgotten count as sent in less time."""


class Throughput:
    """Counts bytes in flight and measures the rate at which they are answered; thread-safe.

    The rate is that of all transfers together: they share one line. Bytes that are still in flight
    are not counted, so that it is rather too low than too high.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._in_flight = 0
        self._busy_s = 0.0
        self._done = 0.0
        self._at_s = monotonic()
        self._lock = threading.Lock()

    @property
    def in_flight_bytes(self) -> int:
        """Bytes that were started and are not finished."""
        return self._in_flight

    def start(self, size_bytes: int) -> None:
        """Note that a transfer begins."""
        with self._lock:
            self._tick()
            self._in_flight += size_bytes

    def finish(self, size_bytes: int, *, arrived: bool) -> None:
        """Note that a transfer ended; `arrived` if its answer came."""
        with self._lock:
            self._tick()
            self._in_flight -= size_bytes
            if arrived:
                self._done += size_bytes
                if self._busy_s > HORIZON_S:
                    self._busy_s, self._done = self._busy_s / 2, self._done / 2

    def rate_bytes_s(self) -> float | None:
        """Bytes a second; None before the first transfer has arrived."""
        with self._lock:
            self._tick()
            return self._done / self._busy_s if self._done and self._busy_s else None

    def _tick(self) -> None:
        now_s = self._monotonic()
        if self._in_flight:
            self._busy_s += now_s - self._at_s
        self._at_s = now_s
