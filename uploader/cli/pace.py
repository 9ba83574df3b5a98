"""The speed of the last seconds, from which the time to go follows."""

from collections import deque
from typing import Final

WINDOW_S: Final = 10.0
"""Seconds that a rate looks back."""
STEPS_KEPT: Final = 8
"""Steps that are kept however old: on a slow line one message takes longer than the window."""
STEADY_S: Final = 2.0
"""Seconds of measurement before there is a rate."""


class Pace:
    """Measures how fast an amount of finished work grows."""

    def __init__(self) -> None:
        self._steps: deque[tuple[float, int]] = deque()

    def note(self, now_s: float, done: int) -> None:
        """Note how much work is done.

        Args:
            now_s: Monotonic time, seconds.
            done: Work of this run alone: what was done before the run says nothing of its speed.
        """
        if self._steps and done <= self._steps[-1][1]:
            return
        self._steps.append((now_s, done))
        # The first step kept is the one that the window starts behind.
        while len(self._steps) > STEPS_KEPT and self._steps[1][0] <= now_s - WINDOW_S:
            self._steps.popleft()

    def rate(self, now_s: float) -> float | None:
        """Return the work a second, or None before it is known."""
        if len(self._steps) < 2:  # noqa: PLR2004 - a distance has two ends
            return None
        (first_s, first), (_, last) = self._steps[0], self._steps[-1]
        elapsed_s = now_s - first_s
        return (last - first) / elapsed_s if elapsed_s >= STEADY_S else None
