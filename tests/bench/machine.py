"""Where and when something was measured: without it a timing says nothing."""

import os
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import zstandard

_PACKAGES = (
    "numpy",
    "zstandard",
    "blake3",
    "httpcore",
    "sqlalchemy",
    "wasmtime",
    "py_arkworks_bls12381",
)
_KIB = 1024


def describe() -> dict[str, object]:
    """Name the machine, the date, the versions and the load it was under."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": os.cpu_count(),
        "memory_bytes": int((_first("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) * _KIB,
        "system": f"{platform.system()} {platform.release()}",
        "load": [round(value, 2) for value in os.getloadavg()],
        "commit": _commit(),
        "python": platform.python_version(),
        "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
        **{name: metadata.version(name) for name in _PACKAGES},
    }


def cpu_of(pid: int) -> float:
    """Return the processor time that all threads of a process have used, in seconds.

    Linux reads the processor clock of another process under a number made of its own.
    """
    return time.clock_gettime((~pid << 3) | 2)


def _first(file: str, key: str) -> str | None:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return None
    found = [line.partition(":")[2].strip() for line in lines if line.startswith(key)]
    return found[0] if found else None


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
