"""Modules that the subnet has compiled since its last checkpoint: doing it again costs a hundredth.

As `expected_compiled_wasms` of the replica (`rs/execution_environment`, mid-2026): a module enters
when an installation of it has succeeded, and every checkpoint empties the set. Installations and
snapshots that are loaded look into it; loading one adds nothing.
"""

import threading
from collections.abc import Callable
from typing import Final

from datanode.units import SECOND_NS

CHECKPOINT_INTERVAL_NS: Final = 500 * SECOND_NS
"""Canister time from a checkpoint to the next. The replica makes one every 500 rounds
(`dkg_interval_length` 499 of the registry's subnet records); a round is taken for a second. Ours.
"""


class CompiledModules:
    """Hashes of modules since the last checkpoint; thread-safe, empty after a restart.

    Args:
        now_ns: Canister time.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._checkpoint_ns = now_ns()
        self._hashes: set[bytes] = set()
        self._lock = threading.Lock()

    def __contains__(self, module_hash: object) -> bool:
        with self._lock:
            self._pass_checkpoints()
            return module_hash in self._hashes

    def add(self, module_hash: bytes) -> None:
        """Note that an installation of a module has succeeded."""
        with self._lock:
            self._pass_checkpoints()
            self._hashes.add(module_hash)

    def _pass_checkpoints(self) -> None:
        now_ns = self._now_ns()
        if now_ns - self._checkpoint_ns >= CHECKPOINT_INTERVAL_NS:
            # From now on, so that a test that lets the time pass has a whole interval before it.
            self._checkpoint_ns = now_ns
            self._hashes.clear()
