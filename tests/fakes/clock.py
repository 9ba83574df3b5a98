"""A clock that moves when a test says so."""

from datanode.units import SECOND_NS

START_NS = 1_800_000_000 * SECOND_NS


class Clock:
    """Nanoseconds since 1970, standing still; call it to read it."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)
