"""The faults that are set; decides at each point of `fault.Point` whether one strikes.

Which request a fault strikes follows from the fault, its seed and the order of the requests, and
from nothing else; only `seconds` looks at a clock. Faults live in memory: a network that was
stopped or killed comes back without any, which is what a test of kills wants.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from datanode.errors import NotFoundError
from datanode.localnet.state.fault import Asked, Fault, FaultKind, FaultPoint
from datanode.text import printable
from datanode.units import SECOND_NS

_log: Final = logging.getLogger("datanode.localnet")


@dataclass(slots=True)
class ActiveFault:
    """A fault that is set.

    Attributes:
        number: Names it.
        fault: What it is.
        ends_s: When it is over, by the plan's clock.
        matched_count: Requests in its scope so far.
        struck_count: Requests struck so far.
    """

    number: int
    fault: Fault
    ends_s: float | None
    matched_count: int = 0
    struck_count: int = 0
    _draw: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.fault.seed)  # noqa: S311 - repeatable is the point

    def is_over(self, now_s: float) -> bool:
        """Whether it will never strike again."""
        fault = self.fault
        spent = fault.count is not None and self.struck_count >= fault.count
        return spent or (self.ends_s is not None and now_s >= self.ends_s)

    def strikes(self, asked: Asked) -> bool:
        """Count a request, and decide."""
        fault = self.fault
        if not fault.concerns(asked):
            return False
        self.matched_count += 1
        if self.matched_count % fault.every:
            return False
        if fault.probability < 1 and self._draw.random() >= fault.probability:
            return False
        self.struck_count += 1
        return True


class FaultPlan:
    """All faults of a network; safe to be used from many threads.

    Args:
        monotonic_s: What `seconds` of faults are measured with.
        before_skew: Called before a fault skews the clock.

    Attributes:
        active: Whether any fault may strike; all that is looked at when none is set.
    """

    def __init__(
        self,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        before_skew: Callable[[], None] = lambda: None,
    ) -> None:
        self.active = False
        self._before_skew = before_skew
        self._monotonic_s = monotonic_s
        self._standing: list[ActiveFault] = []
        self._set_count = 0
        self._lock = threading.Lock()

    def set(self, fault: Fault) -> int:
        """Set a fault; returns the number that names it."""
        if fault.kind is FaultKind.SKEW:
            self._before_skew()
        with self._lock:
            self._set_count += 1
            ends_s = None if fault.seconds is None else self._monotonic_s() + fault.seconds
            self._standing.append(ActiveFault(self._set_count, fault, ends_s))
            self.active = True
            _log.warning("fault %d is set: %s", self._set_count, fault)
            return self._set_count

    def clear(self, number: int | None = None) -> int:
        """Take one fault away, or all of them; returns how many.

        Raises:
            NotFoundError: There is no such fault.
        """
        with self._lock:
            gone = [each for each in self._standing if number in (None, each.number)]
            if number is not None and not gone:
                raise NotFoundError(
                    f"no fault has the number {number}",
                    hint="`datanode localnet fault list` shows those that are set.",
                )
            self._standing = [each for each in self._standing if each not in gone]
            self._look()
            for each in gone:
                _log.warning("fault %d is cleared: %s", each.number, each.fault)
            return len(gone)

    def strike(self, point: FaultPoint, asked: Asked) -> tuple[Fault, ...]:
        """Return the faults that strike here, in the order in which they were set."""
        if not self.active:
            return ()
        struck = []
        with self._lock:
            now_s = self._monotonic_s()
            for each in self._standing:
                if each.fault.point is point and not each.is_over(now_s) and each.strikes(asked):
                    struck.append(each.fault)
                    self._tell(each, asked)
            self._look()
        return tuple(struck)

    def skew_ns(self) -> int:
        """How far the network's clock is off."""
        if not self.active:
            return 0
        with self._lock:
            now_s = self._monotonic_s()
            seconds = sum(
                each.fault.number("s")
                for each in self._standing
                if each.fault.kind is FaultKind.SKEW and not each.is_over(now_s)
            )
        return seconds * SECOND_NS

    def standing(self) -> list[dict[str, object]]:
        """Tell of every fault that is set: what it is, what it has done, whether it is over."""
        with self._lock:
            now_s = self._monotonic_s()
            return [
                {
                    "number": each.number,
                    **each.fault.to_json(),
                    "matched_count": each.matched_count,
                    "struck_count": each.struck_count,
                    "over": each.is_over(now_s),
                }
                for each in self._standing
            ]

    def _look(self) -> None:
        now_s = self._monotonic_s()
        self.active = any(not each.is_over(now_s) for each in self._standing)

    def _tell(self, each: ActiveFault, asked: Asked) -> None:
        _log.warning(
            "fault %d strikes for the %d. time: %s %s of %s %s",
            each.number,
            each.struck_count,
            each.fault.kind,
            asked.verb or "",
            asked.canister or "the network",
            printable(asked.method or ""),
        )
