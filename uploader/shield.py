"""How a command ends that a signal ended."""

import signal
from typing import Final

_SIGNALLED: Final = 128


class SignalledError(BaseException):
    """A signal ends the command.

    Attributes:
        number: The signal.
        exit_code: 128 and its number, as shells say it.
        safe: What is safe, as the stopped run knows it.
    """

    def __init__(self, number: int, safe: str = "") -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.safe = safe
        self.exit_code = _SIGNALLED + number
