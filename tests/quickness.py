"""Bounds in seconds, for machines that do nothing else and for those that do."""

import os
from typing import Final

_BUSY_FACTOR: Final = 10
"""How much longer things may take where other work runs. Ours: four busy loops beside two workers
on two cores make a test three to four times slower."""


def allowed_s(seconds: float) -> float:
    """Return the time that something with a bound of `seconds` may take here.

    `make nightly` sets `DATANODE_QUIET`, and the bound holds as it is stated. Anywhere else ten
    times as long is a hang and not a slow machine.
    """
    return seconds if os.environ.get("DATANODE_QUIET") else _BUSY_FACTOR * seconds
