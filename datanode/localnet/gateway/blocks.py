"""Place updates in the next block that has room, as consensus would.

Pure: given the time of arrival, says when a message's block is made. Messages keep their order:
none gets into a block before one that arrived earlier.
"""


class Blocks:
    """A chain of blocks at fixed times, filled in the order of arrival.

    Args:
        interval_s: Time between two blocks.
        max_bytes: Bytes of messages in one block; a larger message gets a block of its own.
        max_messages: Messages in one block.
    """

    def __init__(self, *, interval_s: float, max_bytes: int, max_messages: int) -> None:
        self._interval_s = interval_s
        self._max_bytes = max_bytes
        self._max_messages = max_messages
        self._block = 0
        self._bytes = 0
        self._messages = 0

    def place(self, size_bytes: int, now_s: float) -> float:
        """Give a message its place; returns the time of its block, later than now."""
        following = int(now_s / self._interval_s) + 1
        if following > self._block:
            self._open(following)
        full = self._bytes + size_bytes > self._max_bytes or self._messages + 1 > self._max_messages
        if full and self._messages:
            self._open(self._block + 1)
        self._bytes += size_bytes
        self._messages += 1
        return self._block * self._interval_s

    def _open(self, block: int) -> None:
        self._block, self._bytes, self._messages = block, 0, 0
