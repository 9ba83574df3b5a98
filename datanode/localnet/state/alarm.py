"""Wake the timer thread when an earlier deadline is set."""

from collections.abc import Callable


class Alarm:
    """A bell: those who listen look again at what is due when."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called at each ring."""
        self._listeners.append(listener)

    def ring(self) -> None:
        """Call the listeners."""
        for listener in self._listeners:
            listener()
