"""How long the embedded network takes to start, and to make a module ready.

Warm: the state is there, with a storage canister in it, and its compiled module is in the cache.
The clock runs from before the process is started until its first verified answer is here.
"""

import statistics
import time
from pathlib import Path
from typing import Final

from datanode.localnet.machine import instrument, wasm_module
from datanode.localnet.machine.engine import compiled
from datanode.node import deploy
from tests.bench.rig import rigged

STARTS: Final = 7
_ROUNDS: Final = 5


def measure(folder: Path, starts: int = STARTS) -> dict[str, object]:
    """Start a network several times; instrument and compile the storage canister's module."""
    taken = []
    with rigged(folder) as rig:
        rig.node.status()
        for _ in range(starts):
            rig.net.stop()
            started = time.perf_counter()
            rig.net.start()
            rig.node.status()
            taken.append(time.perf_counter() - started)
    given = deploy.storage_wasm()
    module = wasm_module.unpack(given)
    instrumenting = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        operators = instrument.instrument(module, reads=True).operators
        instrumenting.append(time.process_time() - started)
    started = time.perf_counter()
    compiled(given, folder / "cold")
    return {
        "start_s": {"best": round(min(taken), 3), "median": round(statistics.median(taken), 3)},
        "cold_s": round(time.perf_counter() - started, 3),
        "instrument_ms": {
            "best": round(1_000 * min(instrumenting), 1),
            "median": round(1_000 * statistics.median(instrumenting), 1),
        },
        "operators": operators,
        "operators_a_second": round(operators / min(instrumenting)),
    }
