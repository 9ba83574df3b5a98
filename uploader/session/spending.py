"""Spending of an upload, and its limit."""

import threading
from dataclasses import dataclass
from typing import Protocol

from datanode.errors import BudgetError
from datanode.fees import FeeSchedule
from datanode.limits import PUT_INSTRUCTIONS_PER_BYTE
from datanode.units import format_cycles


class Budget(Protocol):
    """A limit that several uploads share, in one process or in many."""

    def take(self, cycles: int) -> None:
        """Count a message that is about to be sent.

        Raises:
            BudgetError: It would exceed the limit; it is not counted.
        """
        ...

    def give_back(self, cycles: int) -> None:
        """Stop counting a message that is proven not to have run."""
        ...


class FleetBudget:
    """One limit for uploads that run side by side; thread-safe.

    Args:
        limit_cycles: Most cycles of all members and all runs together.
        earlier_cycles: What earlier runs have spent.
        shared: A further limit; None: there is none.
    """

    def __init__(self, limit_cycles: int, earlier_cycles: int, shared: Budget | None) -> None:
        self._limit_cycles = limit_cycles
        self._spent_cycles = earlier_cycles
        self._shared = shared
        self._lock = threading.Lock()

    def take(self, cycles: int) -> None:
        """See `Budget`."""
        with self._lock:
            total = self._spent_cycles + cycles
            if total > self._limit_cycles:
                raise BudgetError(
                    f"the next message would bring all members of the fleet to "
                    f"{format_cycles(total)}, the limit is {format_cycles(self._limit_cycles)}"
                )
            if self._shared is not None:
                self._shared.take(cycles)
            self._spent_cycles = total

    def give_back(self, cycles: int) -> None:
        """See `Budget`."""
        with self._lock:
            self._spent_cycles -= cycles
            if self._shared is not None:
                self._shared.give_back(cycles)


@dataclass(slots=True)
class Spending:
    """Totals sent by one run of an upload, and spent by its earlier runs.

    Attributes:
        limit_cycles: Most cycles for all runs together; None: no limit.
        shared: Limit that other uploads share; None: there is none.
        earlier_cycles: Estimated cycles of the messages of earlier runs that ran or may have run.
        cycles: Estimated cycles of this run's messages that ran or may have run.
        envelope_bytes: Bytes of the messages that were settled.
        messages_count: Messages that were settled.
        frames_count: Frames that they stored.
        refused_count: Messages that the node executed and refused.
        retried_bytes: Bytes that travelled more than once.
    """

    limit_cycles: int | None = None
    shared: Budget | None = None
    earlier_cycles: int = 0
    cycles: int = 0
    envelope_bytes: int = 0
    messages_count: int = 0
    frames_count: int = 0
    refused_count: int = 0
    retried_bytes: int = 0

    def take(self, cycles: int) -> None:
        """Count a message that is about to be sent.

        Raises:
            BudgetError: It would exceed the limit; it is not counted.
        """
        total = self.earlier_cycles + self.cycles + cycles
        if self.limit_cycles is not None and total > self.limit_cycles:
            raise BudgetError(
                f"the next message would bring all runs of this upload to {format_cycles(total)}, "
                f"the limit is {format_cycles(self.limit_cycles)}"
            )
        if self.shared is not None:
            self.shared.take(cycles)
        self.cycles += cycles

    def give_back(self, cycles: int, *, resumed: bool) -> None:
        """Stop counting a message that is proven not to have run."""
        if resumed:
            self.earlier_cycles -= cycles
        else:
            self.cycles -= cycles
            if self.shared is not None:
                self.shared.give_back(cycles)


def message_cycles(fees: FeeSchedule, envelope_bytes: int, frame_bytes: int) -> int:
    """Estimate what a `put_frames` message costs the canister, in cycles."""
    instructions = int(frame_bytes * PUT_INSTRUCTIONS_PER_BYTE)
    return fees.ingress_cycles(envelope_bytes) + fees.execution_cycles(instructions)
