"""The subnet's time, told by this machine's clock and what certificates say.

Messages expire by the subnet's time, so a wrong clock here must not matter. The difference of the
two is taken from a certified time and kept. Certified time never runs backwards: an older one
than already seen is a replayed answer, whatever the clock here says.
"""

import threading
from collections.abc import Callable

from datanode.errors import CertificateError
from datanode.limits import CERTIFICATE_MAX_AGE_NS
from datanode.units import SECOND_NS


class SubnetClock:
    """Tells the subnet's time; thread-safe.

    Args:
        clock_ns: This machine's clock.
        strict: Also hold certificates to this machine's clock. For auditors: a network could
            otherwise replay a consistent but old state to a machine that has never met it.
    """

    def __init__(self, clock_ns: Callable[[], int], *, strict: bool = False) -> None:
        self._clock_ns = clock_ns
        self._strict = strict
        self._offset_ns: int | None = None
        self._latest_ns = 0
        self._lock = threading.Lock()

    @property
    def is_set(self) -> bool:
        """Whether a certified time has been seen."""
        return self._offset_ns is not None

    @property
    def skew_ns(self) -> int:
        """How far this machine's clock is behind the subnet's (negative: ahead)."""
        return self._offset_ns or 0

    def now_ns(self) -> int:
        """The subnet's time, as well as it is known."""
        return self._clock_ns() + self.skew_ns

    def local_ns(self) -> int:
        """This machine's time."""
        return self._clock_ns()

    def observe(self, certified_ns: int, local_ns: int) -> None:
        """Set the clock by a verified certificate.

        Args:
            certified_ns: The time that it states.
            local_ns: This machine's time when it was asked for.

        Raises:
            CertificateError: The time is older than one already seen, or a strict clock's is far
                from this machine's.
        """
        if self._strict and abs(certified_ns - local_ns) > CERTIFICATE_MAX_AGE_NS:
            raise self.staleness(certified_ns)
        with self._lock:
            # Replicas differ by seconds; anything more is a replay.
            if certified_ns < self._latest_ns - CERTIFICATE_MAX_AGE_NS:
                raise CertificateError("the network shows an older time than it did before")
            self._latest_ns = max(self._latest_ns, certified_ns)
            self._offset_ns = certified_ns - local_ns

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
