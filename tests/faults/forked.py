"""Work in a forked process, which can be killed at any moment."""

import os
import signal
import time
from collections.abc import Callable


def forked(work: Callable[[], None]) -> int:
    """Start `work` in a child; returns its process id."""
    child = os.fork()
    if not child:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def killed(child: int, after_s: float) -> bool:
    """Kill a child after a while; False: it had ended by itself."""
    deadline = time.monotonic() + after_s
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0, "the uploader failed by itself"
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True
