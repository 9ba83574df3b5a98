"""Ctrl-C and SIGTERM: the main thread waits for them, a command works on another thread.

Nothing is raised in the midst of the work. A command that can stop by itself looks at its wish to
stop where that is safe; any other is left where it is, and the process ends: whatever it was doing
withstands a kill.
"""

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final, TypeVar

from datanode.errors import DataNodeError, StoppedByUserError
from uploader.shield import SignalledError

GRACE_S: Final = 1.4
"""How long a command may take to stop by itself: two seconds until it is safe to quit."""

_LOOK_UP_S: Final = 0.2
"""How often the main thread looks: a signal may have been delivered to another thread."""

_STOPPING: Final = (signal.SIGINT, signal.SIGTERM)

_Value = TypeVar("_Value")


@dataclass(slots=True, kw_only=True)
class _Ended:
    """The command has ended: its exit code, or what it raised."""

    code: int = 0
    error: BaseException | None = None


class CommandRun:
    """A command on a worker thread, and the main thread that waits for its end or a signal."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[int | _Ended | Callable[[], None]] = queue.SimpleQueue()
        self._wish = 0
        self._stops_itself = False

    def wait(self, work: Callable[[], int]) -> int:
        """Run `work` and return its exit code.

        Raises:
            SignalledError: A signal ended it; the work may still go on, which only the end of the
                process ends.
        """

        def run() -> None:
            try:
                self._events.put(_Ended(code=work()))
            except BaseException as error:  # noqa: BLE001 - the main thread raises it
                self._events.put(_Ended(error=error))

        with self._signals_noted():
            threading.Thread(target=run, name="command").start()
            return self._end()

    def on_main_thread(self, function: Callable[[], _Value]) -> _Value:
        """Run a function on the main thread, which may then handle signals by itself."""
        call: Future[_Value] = Future()

        def run() -> None:
            try:
                call.set_result(function())
            except BaseException as error:  # noqa: BLE001 - it is raised by the caller
                call.set_exception(error)

        self._events.put(run)
        return call.result()

    @contextmanager
    def stoppable(self, say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
        """Let the block stop by itself: it looks whether that is wished."""
        told = False

        def is_wished() -> bool:
            nonlocal told
            if self._wish and not told:
                told = True
                say("stopping: what is in flight is settled first; once more to stop at once")
            return bool(self._wish)

        self._stops_itself = True
        try:
            yield is_wished
        finally:
            self._stops_itself = False

    def _end(self) -> int:
        deadline = float("inf")
        while time.monotonic() < deadline:
            try:
                event = self._events.get(timeout=_LOOK_UP_S)
            except queue.Empty:
                continue
            if isinstance(event, _Ended):
                return self._code_of(event)
            if isinstance(event, int):
                if self._wish or not self._stops_itself:
                    raise SignalledError(event)
                self._wish, deadline = event, time.monotonic() + GRACE_S
            else:
                event()
        raise SignalledError(self._wish)

    def _code_of(self, event: _Ended) -> int:
        if event.error is None:
            return event.code
        try:
            raise event.error
        except StoppedByUserError as error:
            raise SignalledError(self._wish or signal.SIGINT, error.safe) from error
        finally:
            del event  # what it raised holds this frame

    @contextmanager
    def _signals_noted(self) -> Iterator[None]:
        """Note signals, but for those that whoever started this process has ignored."""

        def note(number: int, _frame: FrameType | None) -> None:
            self._events.put(number)

        numbers = [n for n in _STOPPING if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


_runs: Final[list[CommandRun]] = []
"""The run of this process: signals are of the process, too."""


def run_command(work: Callable[[], int]) -> int:
    """Run a command and return its exit code.

    Raises:
        SignalledError: A signal ended it.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()  # only the main thread is told of signals
    run = CommandRun()
    _runs.append(run)
    try:
        return run.wait(work)
    finally:
        _runs.remove(run)


@contextmanager
def stoppable(say: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Let the block stop by itself when the user wishes it; yields how it learns of the wish."""
    if not _runs:
        yield lambda: False
        return
    with _runs[-1].stoppable(say) as is_wished:
        yield is_wished


def on_main_thread(function: Callable[[], _Value]) -> _Value:
    """Run a function where signals arrive."""
    if threading.current_thread() is threading.main_thread() or not _runs:
        return function()
    return _runs[-1].on_main_thread(function)


def leave(code: int) -> int:
    """End the process although a thread still waits for a network; otherwise return the code."""
    waiting = [t for t in threading.enumerate() if t is not threading.main_thread()]
    if any(not thread.daemon for thread in waiting):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, DataNodeError):
                stream.flush()
        os._exit(code)
    return code
