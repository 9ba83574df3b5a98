"""Size and cost of a message's log lines.

A log holds 4 KiB, each line with 40 bytes of its own; when a message prints more, its oldest lines
give way. A line pays 2 instructions for each byte that an empty log could take, and 50 for each
byte that fits beside the lines that are there: the replica keeps the first and sends the second.
Source: `logging_charge_bytes` and `CanisterLog` of the replica, mid-2026.
"""

from collections import deque
from typing import Final

from datanode.units import MIB

LOG_BYTES: Final = 4_096
LINE_BYTES: Final = 40
MAX_LOG_BYTES: Final = 2 * MIB
"""Largest log that a canister may have. Source: interface specification, 2026-05."""

_A_KEPT_BYTE: Final = 2
_A_SENT_BYTE: Final = 50


class LogRoom:
    """The log of one message, by the sizes of its lines."""

    def __init__(self) -> None:
        self._lines: deque[int] = deque()
        self._used_bytes = 0

    def price(self, line_bytes: int) -> int:
        """Return the instructions that a line of this length costs now."""
        room_bytes = LOG_BYTES - self._used_bytes
        return _A_KEPT_BYTE * min(line_bytes, LOG_BYTES) + _A_SENT_BYTE * min(
            line_bytes, room_bytes
        )

    def add(self, line_bytes: int) -> int:
        """Add a line; return how much of it the log takes."""
        taken = min(line_bytes, LOG_BYTES - LINE_BYTES)
        self._lines.append(taken + LINE_BYTES)
        self._used_bytes += taken + LINE_BYTES
        while self._used_bytes > LOG_BYTES:
            self._used_bytes -= self._lines.popleft()
        return taken
