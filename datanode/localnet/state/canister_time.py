"""The time that canisters are told and that rent is charged for: real, advanced or accelerated.

Certificates, expiries and signatures keep the network's clock, because clients compare them with
their own. What canisters see, their timers and their rent may run ahead of it::

    canister time = clock + ahead + (clock - since) * (rate - 1)

The three numbers are a fact of the database and change only when somebody asks, so a restart goes
on where it was.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Final

from datanode.errors import UsageError
from datanode.localnet.state.network_clock import Clock
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.units import SECOND_NS

MAX_RATE: Final = 1_000_000
END_NS: Final = 9_000_000_000 * SECOND_NS
"""When canister time stands still: in the year 2255, while nanoseconds still fit 63 bits."""

_FACT: Final = "canister time"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePace:
    """How canister time follows the clock.

    Attributes:
        since_ns: Clock time from which the rate holds.
        ahead_ns: How far canister time was ahead then.
        rate: Seconds of canister time in a second of the clock; at least 1.
    """

    since_ns: int = 0
    ahead_ns: int = 0
    rate: int = 1

    def ahead_at(self, clock_ns: int) -> int:
        """How far canister time is ahead of the clock at a time of the clock, ns."""
        return self.ahead_ns + max(0, clock_ns - self.since_ns) * (self.rate - 1)


class CanisterTime:
    """Canister time of a network; safe to be used from many threads.

    Args:
        clock: The network's clock.
        database: Where the pace is kept.
    """

    def __init__(self, clock: Clock, database: NetworkDatabase) -> None:
        self._clock = clock
        self._database = database
        self._lock = threading.Lock()
        self._watchers: list[Callable[[], None]] = []
        kept = database.fact(_FACT)
        self._pace = TimePace() if kept is None else TimePace(**json.loads(kept))

    @property
    def rate(self) -> int:
        """Seconds of canister time in a second of the clock."""
        return self._pace.rate

    def now_ns(self) -> int:
        """Return a time later than every one before."""
        clock_ns = self._clock.now_ns()
        return min(END_NS, clock_ns + self._pace.ahead_at(clock_ns))

    def advance(self, seconds: int) -> None:
        """Let a time pass at once.

        Raises:
            UsageError: Time cannot go backwards, nor beyond its end.
        """
        if seconds < 0:
            raise UsageError("canister time does not go backwards")
        if self.now_ns() + seconds * SECOND_NS >= END_NS:
            raise UsageError("canister time ends in the year 2255")
        self._change(lambda pace: replace(pace, ahead_ns=pace.ahead_ns + seconds * SECOND_NS))

    def set_rate(self, rate: int) -> None:
        """Let canister time run `rate` times as fast as the clock from now on.

        Raises:
            UsageError: It would stand still, or run faster than 1,000,000 times.
        """
        if not 1 <= rate <= MAX_RATE:
            raise UsageError(f"canister time runs 1 to {MAX_RATE:,} times as fast, not {rate}")
        self._change(lambda pace: replace(pace, rate=rate))

    def real_s_until(self, time_ns: int) -> float:
        """Return the seconds of the clock until canister time reaches a time; at least 0."""
        return max(0, time_ns - self.now_ns()) / SECOND_NS / self._pace.rate

    def on_change(self, watcher: Callable[[], None]) -> None:
        """Have a function called after each change, so that who waits for a time looks again."""
        self._watchers.append(watcher)

    def _change(self, change: Callable[[TimePace], TimePace]) -> None:
        with self._lock:
            clock_ns = self._clock.now_ns()
            pace = self._pace
            settled = replace(pace, since_ns=clock_ns, ahead_ns=pace.ahead_at(clock_ns))
            changed = change(settled)
            self._database.set_fact(_FACT, json.dumps(asdict(changed)))
            self._pace = changed
        for watcher in self._watchers:
            watcher()
