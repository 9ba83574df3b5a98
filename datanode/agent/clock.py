"""The subnet's time, told by a steady clock of this machine and what certificates say.

Messages expire by the subnet's time, so a wrong clock here must not matter, nor one that somebody
sets while we run: the difference to certified time is kept for a clock that nobody can set.
Certified time never runs backwards: an older one than already seen is a replayed answer, whatever
the clock here says.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from datanode.errors import CertificateError
from datanode.limits import CERTIFICATE_MAX_AGE_NS
from datanode.units import SECOND_NS

_BOOT_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", None)


def steady_clock_ns() -> int:
    """Return the time of a clock that cannot be set; it counts suspension where the system can."""
    return time.monotonic_ns() if _BOOT_CLOCK is None else time.clock_gettime_ns(_BOOT_CLOCK)


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment by both clocks of this machine.

    Attributes:
        local_ns: By the clock that people set.
        steady_ns: By the one that they cannot set.
    """

    local_ns: int
    steady_ns: int


class SubnetClock:
    """Tells the subnet's time; thread-safe.

    Args:
        clock_ns: This machine's clock. Another one than `time.time_ns` is taken for steady too.
        strict: Also hold certificates to this machine's clock. For auditors: a network could
            otherwise replay a consistent but old state to a machine that has never met it.
    """

    def __init__(self, clock_ns: Callable[[], int], *, strict: bool = False) -> None:
        self._clock_ns = clock_ns
        self._steady_ns = steady_clock_ns if clock_ns is time.time_ns else clock_ns
        self._strict = strict
        self._offset_ns: int | None = None
        self._latest_ns = 0
        self._proven_ns: int | None = None
        self._lock = threading.Lock()

    @property
    def is_set(self) -> bool:
        """Whether a certified time has been seen."""
        return self._offset_ns is not None

    @property
    def skew_ns(self) -> int:
        """How far this machine's clock is behind the subnet's (negative: ahead)."""
        return self.now_ns() - self._clock_ns() if self.is_set else 0

    @property
    def latest_ns(self) -> int:
        """The latest certified time that was seen: it is later now."""
        return self._latest_ns

    def now_ns(self) -> int:
        """The subnet's time, as well as it is known."""
        if self._offset_ns is None:
            return self._clock_ns()
        return self._steady_ns() + self._offset_ns

    def local_ns(self) -> int:
        """This machine's time."""
        return self._clock_ns()

    def steady_ns(self) -> int:
        """Nanoseconds of the clock that nobody sets; only differences mean something."""
        return self._steady_ns()

    def instant(self) -> Instant:
        """This moment."""
        return Instant(self._clock_ns(), self._steady_ns())

    def observe(self, certified_ns: int, asked: Instant) -> None:
        """Set the clock by a verified certificate.

        Args:
            certified_ns: The time that it states.
            asked: When it was asked for.

        Raises:
            CertificateError: The time is older than one already seen, or a strict clock's is far
                from this machine's.
        """
        if self._strict and abs(certified_ns - asked.local_ns) > CERTIFICATE_MAX_AGE_NS:
            raise self.staleness(certified_ns)
        with self._lock:
            # Replicas differ by seconds; anything more is a replay.
            if certified_ns < self._latest_ns - CERTIFICATE_MAX_AGE_NS:
                raise CertificateError("the network shows an older time than it did before")
            self._latest_ns = max(self._latest_ns, certified_ns)
            self._offset_ns = certified_ns - asked.steady_ns

    def prove(self, certified_ns: int) -> None:
        """Note a certified time that cannot be replayed: it answers a message of this process."""
        with self._lock:
            self._proven_ns = max(self._proven_ns or 0, certified_ns)

    def is_recent(self, certified_ns: int) -> bool:
        """Whether a certified time is not a replay of an old one, as far as can be known.

        It is compared with what the network has proven to this process, else with this machine's
        clock.
        """
        if self._proven_ns is not None:
            return certified_ns >= self._proven_ns - CERTIFICATE_MAX_AGE_NS
        return abs(self._clock_ns() - certified_ns) <= CERTIFICATE_MAX_AGE_NS

    def is_fresh(self, time_ns: int) -> bool:
        """Whether a certified or signed time is near enough to now."""
        near = abs(self.now_ns() - time_ns) <= CERTIFICATE_MAX_AGE_NS
        if self._strict:
            near = near and abs(self._clock_ns() - time_ns) <= CERTIFICATE_MAX_AGE_NS
        return near

    def staleness(self, time_ns: int) -> CertificateError:
        """Explain why a time is not fresh."""
        off_s = (self._clock_ns() - time_ns) / SECOND_NS
        return CertificateError(
            f"the network's answer is {abs(off_s):.0f} s "
            f"{'old' if off_s > 0 else 'in the future'} by this machine's clock",
            hint="Check this machine's clock; `datanode doctor` compares it with the network's.",
        )
