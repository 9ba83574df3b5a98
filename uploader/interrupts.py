"""Let an interrupt end a call in peace: the caller's thread only waits, another one works.

Nothing is raised in the midst of the work. It looks at the wish to stop where that is safe, settles
what is in flight and ends; then the caller gets its KeyboardInterrupt.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Final, TypeVar

_LOOK_UP_S: Final = 0.2
"""How often the main thread looks: a signal may have been delivered to another thread."""

_Value = TypeVar("_Value")


def until_interrupted(work: Callable[[Callable[[], bool]], _Value]) -> _Value:
    """Run `work` and return its result; it is told how to learn of the wish to stop.

    Raises:
        KeyboardInterrupt: The user interrupted it: once, and it has ended by itself; or twice, and
            it is left to end with the process.
    """
    if threading.current_thread() is not threading.main_thread():
        return work(lambda: False)  # only the main thread is interrupted
    wish = threading.Event()
    result: Future[_Value] = Future()

    def run() -> None:
        try:
            result.set_result(work(wish.is_set))
        except BaseException as error:  # noqa: BLE001 - the caller raises it
            result.set_exception(error)

    threading.Thread(target=run, name="upload", daemon=True).start()
    try:
        while not result.done():
            wait([result], timeout=_LOOK_UP_S)
        return result.result()
    except KeyboardInterrupt:
        wish.set()
        error = result.exception()  # waits; a second interrupt leaves here
        if error is not None:
            raise KeyboardInterrupt from error
        raise
