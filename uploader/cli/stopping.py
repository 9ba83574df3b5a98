"""Ctrl-C and SIGTERM: two seconds at most until it is safe to quit, and then really the end."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

NOTICE_S: Final = 0.7
"""How long a run has to notice that it is asked to stop, before it is interrupted where it is."""


AGAIN_S: Final = 0.05
INTERRUPTED: Final = 130
TERMINATED: Final = 143


class SignalledError(BaseException):
    """A signal ends the command; an exception, so that files and connections are closed.

    Attributes:
        exit_code: 128 and the number of the signal.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise SignalledError(INTERRUPTED)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise SignalledError(TERMINATED)


def _strike_again(number: int) -> None:
    again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


@contextmanager
def signals_caught() -> Iterator[None]:
    """End by `SignalledError` when the user or the system asks to.

    A signal that strikes in a destructor or a callback of the interpreter would only be noted
    there: it is sent again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is told of signals
        return
    wanted = {signal.SIGINT: _interrupt, signal.SIGTERM: _terminate}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    noted = sys.unraisablehook

    def on_unraisable(args: "sys.UnraisableHookArgs") -> None:
        if isinstance(args.exc_value, SignalledError):
            interrupted = args.exc_value.exit_code == INTERRUPTED
            _strike_again(signal.SIGINT if interrupted else signal.SIGTERM)
        else:
            noted(args)

    sys.unraisablehook = on_unraisable
    try:
        yield
    finally:
        sys.unraisablehook = noted
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def graceful(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT into a wish to stop; a second one interrupts at once.

    A run that waits for the network cannot look at the wish: it is interrupted after a moment.
    """
    wish = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        if wish.is_set():
            raise SignalledError(INTERRUPTED)
        wish.set()
        signal.setitimer(signal.ITIMER_REAL, NOTICE_S)
        say("stopping: what is in flight is settled first; once more to stop at once")

    def is_wished() -> bool:
        if wish.is_set():
            signal.setitimer(signal.ITIMER_REAL, 0)
        return wish.is_set()

    before = signal.signal(signal.SIGINT, on_signal), signal.signal(signal.SIGALRM, _interrupt)
    try:
        yield is_wished
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGALRM, before[1])


def leave(code: int) -> int:
    """End the process although a thread still waits for a network; otherwise return the code."""
    waiting = [t for t in threading.enumerate() if t is not threading.main_thread()]
    if any(not thread.daemon for thread in waiting):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
