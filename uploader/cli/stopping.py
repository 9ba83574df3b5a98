"""Ctrl-C and SIGTERM: two seconds at most until it is safe to quit, and then really the end."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from datanode.errors import StoppedByUserError
from uploader.shield import SHIELD, SignalledError

NOTICE_S: Final = 0.7
"""How long a run has to notice that it is asked to stop, before it is interrupted where it is."""

AGAIN_S: Final = 0.05
_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)


def _on_signal(number: int, _frame: FrameType | None) -> None:
    SHIELD.strike(SignalledError(number))


def _strike_again(number: int) -> None:
    again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def _signal_behind(error: BaseException | None) -> SignalledError | None:
    while error is not None and not isinstance(error, SignalledError):
        error = error.__context__
    return error


@contextmanager
def signals_caught() -> Iterator[None]:
    """End by `SignalledError` when the user or the system asks to.

    A signal that strikes in a destructor or a callback of the interpreter would only be noted
    there: it is sent again. What a signal breaks may complain louder than the signal.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is told of signals
        return
    before = {number: signal.signal(number, _on_signal) for number in _STOPPING}
    noted = sys.unraisablehook

    def on_unraisable(args: "sys.UnraisableHookArgs") -> None:
        if isinstance(args.exc_value, SignalledError):
            _strike_again(args.exc_value.number)
        else:
            noted(args)

    sys.unraisablehook = on_unraisable
    try:
        yield
    except Exception as error:
        if signalled := _signal_behind(error):
            raise signalled from error
        raise
    finally:
        sys.unraisablehook = noted
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def graceful(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Turn the first signal into a wish to stop; a second one interrupts at once.

    A run that waits for the network cannot look at the wish: it is interrupted after a moment.
    """
    wish: SignalledError | None = None
    told = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal wish
        if wish:
            _on_signal(number, frame)
        wish = SignalledError(number)
        signal.setitimer(signal.ITIMER_REAL, NOTICE_S)

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        if wish:
            SHIELD.strike(wish)

    def is_wished() -> bool:
        nonlocal told
        if wish and not told:
            told = True  # and not by the handler: it may have interrupted a line half printed
            signal.setitimer(signal.ITIMER_REAL, 0)
            say("stopping: what is in flight is settled first; once more to stop at once")
        return told

    handlers = {**dict.fromkeys(_STOPPING, on_signal), signal.SIGALRM: on_alarm}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield is_wished
    except StoppedByUserError as error:
        raise SignalledError(wish.number if wish else signal.SIGINT, error.safe) from error
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(code: int) -> int:
    """End the process although a thread still waits for a network; otherwise return the code."""
    waiting = [t for t in threading.enumerate() if t is not threading.main_thread()]
    if any(not thread.daemon for thread in waiting):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code
