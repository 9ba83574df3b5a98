"""Sections that a signal does not break: it strikes when the section has ended.

What a handler raises arises between any two instructions, also between the BEGIN of a database and
the moment its library knows of it: the library then loses its transaction, and its own complaint
hides the signal.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

PATIENCE_S: Final = 0.7
"""How long a section may go on after a signal: a database may be one that does not answer."""


_SIGNALLED: Final = 128


class SignalledError(BaseException):
    """A signal ends the command; an exception, so that files and connections are closed.

    Attributes:
        number: The signal.
        exit_code: 128 and its number, as shells say it.
        safe: What is safe, as the interrupted run knows it.
    """

    def __init__(self, number: int, safe: str = "") -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number
        self.safe = safe
        self.exit_code = _SIGNALLED + number


class Shield:
    """Holds a signal back while the main thread is in a section; a second one strikes at once."""

    def __init__(self) -> None:
        self._sections_count = 0
        self._held_back: SignalledError | None = None
        self._again = threading.Timer(0, int)

    @contextmanager
    def section(self) -> Iterator[None]:
        """Run the block to its end; what was held back meanwhile is raised then."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread is told of signals
            return
        self._sections_count += 1
        try:
            yield
        finally:
            self._sections_count -= 1
            if not self._sections_count and self._held_back:
                self._let_go(self._held_back)

    def strike(self, signalled: SignalledError) -> None:
        """Raise `signalled`: now, or when the section that the main thread is in ends."""
        if not self._sections_count or self._held_back:
            self._let_go(signalled)
        self._held_back = signalled
        self._again = threading.Timer(PATIENCE_S, os.kill, (os.getpid(), signalled.number))
        self._again.daemon = True
        self._again.start()

    def _let_go(self, signalled: SignalledError) -> NoReturn:
        self._held_back = None
        self._again.cancel()
        raise signalled


SHIELD: Final = Shield()
"""The one of this process: signals are of the process, too."""
