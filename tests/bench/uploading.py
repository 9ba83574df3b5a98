"""A large upload through the `datanode` command: memory, speed, cycles, a kill at 90 %, a change.

Weights are synthetic. The command is a process of its own. Its peak of resident memory is told by
the kernel in two ways: `VmHWM`, sampled until the process ends, and `ru_maxrss` by `wait4`, which
is never below the peak of the process that started it, so this one stays small.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from datanode.localnet import process
from datanode.localnet.state.network_database import NetworkDatabase
from tests.bench.rig import PUT
from tests.bench.synthetic import change_one_tensor, write_weights
from tests.fakes.ledger_judge import paid

DATANODE: Final = Path(sys.executable).parent / "datanode"
STATE_DIR: Final = Path(".datanode/localnet")
KILL_AT: Final = 0.9
MB: Final = 1_000_000
KIB: Final = 1_024
_SAMPLE_S: Final = 0.02
_ASIDE: Final = {"install_code", "provisional_create_canister_with_cycles", "create_canister"}


@dataclass(slots=True)
class Command:
    """A `datanode` command that ran.

    Attributes:
        summary: The last JSON object that it printed.
        wall_s: How long it took.
        cpu_s: Processor time, all threads.
        peak_bytes: `VmHWM`.
        maxrss_bytes: `ru_maxrss`.
        code: Its exit code, negative for a signal.
    """

    summary: dict[str, object] = field(default_factory=dict)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    maxrss_bytes: int = 0
    code: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """A folder with a network, a HOME of its own, and a node called main."""

    folder: Path

    @property
    def _environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DATANODE_", "XDG_"))}
        return inherited | {"HOME": str(self.folder / "home")}

    def run(self, *args: str) -> None:
        """Run a command whose cost is of no interest."""
        done = subprocess.run(
            [DATANODE, *args],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            check=False,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{args}: {done.stderr}")

    def watch(self, *args: str, until: Callable[[], bool] = lambda: False) -> Command:
        """Run a command and watch its memory; SIGKILL once `until` is true."""
        done = Command()
        output = self.folder / "output.json"
        started = time.perf_counter()
        with output.open("wb") as file, (self.folder / "errors.txt").open("wb") as errors:
            child = subprocess.Popen(
                [DATANODE, *args, "--json"],
                cwd=self.folder,
                env=self._environment,
                stdout=file,
                stderr=errors,
            )
            while True:
                pid, status, usage = os.wait4(child.pid, os.WNOHANG)
                if pid:
                    break
                done.peak_bytes = max(done.peak_bytes, _peak_bytes(child.pid))
                if until():
                    child.send_signal(signal.SIGKILL)
                time.sleep(_SAMPLE_S)
        done.wall_s = time.perf_counter() - started
        done.code = child.returncode = os.waitstatus_to_exitcode(status)
        done.cpu_s = usage.ru_utime + usage.ru_stime
        done.maxrss_bytes = usage.ru_maxrss * KIB
        lines = output.read_text().splitlines()
        done.summary = json.loads(lines[-1]) if lines else {}
        if done.code not in {0, -signal.SIGKILL}:
            raise SystemExit(f"{args}: {(self.folder / 'errors.txt').read_text()}")
        return done

    def bill(self) -> dict[str, int]:
        """Add up the network's ledger, whatever the client believes."""
        entries = process.read_ledger(self.folder / STATE_DIR)
        puts = [entry for entry in entries if entry.method == PUT]
        return {
            "messages": len(puts),
            "sent_bytes": sum(entry.envelope_bytes for entry in puts),
            "argument_bytes": sum(entry.argument_bytes for entry in puts),
            "put_instructions": sum(entry.instructions for entry in puts),
            "seal_instructions": sum(e.instructions for e in entries if e.method == "seal_model"),
            "cycles": sum(e.total_cycles for e in entries if e.method not in _ASIDE),
        }

    def sent_bytes(self) -> int:
        """Bytes of the messages that the network has executed."""
        with closing(NetworkDatabase(self.folder / STATE_DIR / "network.db")) as database:
            rows = database.rows(
                "SELECT COALESCE(SUM(envelope_bytes), 0) FROM ledger WHERE method = ?", (PUT,)
            )
            return int(str(next(iter(rows))[0]))


def measure(folder: Path, size_bytes: int) -> dict[str, object]:
    """Upload, upload again after a change, upload once more with a kill at 90 %."""
    (folder / "home").mkdir()
    site = Site(folder)
    source = folder / "weights.safetensors"
    raw_bytes = write_weights(source, size_bytes)
    site.run("localnet", "start", "--detach", "--port", "0")
    try:
        site.run("node", "create", "main", "--cycles", "50000TC")
        before = site.bill()
        first = site.watch("upload", str(source), "--as", "first")
        after = site.bill()
        bill = {key: after[key] - before[key] for key in after}
        change_one_tensor(source, 3)
        changed = site.watch("upload", str(source), "--as", "first")
        bill_of_change = {key: value - after[key] for key, value in site.bill().items()}
    finally:
        site.run("localnet", "stop")
    return {
        "raw_bytes": raw_bytes,
        "first": _figures(first, raw_bytes) | {"ledger": bill},
        "one_tensor_changed": _figures(changed, raw_bytes) | {"ledger": bill_of_change},
        "killed_at_90_percent": _killed(folder, raw_bytes, bill["sent_bytes"]),
    }


def _killed(folder: Path, raw_bytes: int, expected_bytes: int) -> dict[str, object]:
    """Upload to another node, so that nothing is known there, and kill the first run."""
    other = folder / "other"
    (other / "home").mkdir(parents=True)
    site, source = Site(other), str(folder / "weights.safetensors")
    site.run("localnet", "start", "--detach", "--port", "0")
    try:
        site.run("node", "create", "main", "--cycles", "50000TC")
        mark = KILL_AT * expected_bytes
        killed = site.watch(
            "upload", source, "--as", "killed", until=lambda: site.sent_bytes() >= mark
        )
        sent_bytes = site.sent_bytes()
        resumed = site.watch("upload", source, "--as", "killed")
        return {
            "killed_after_s": round(killed.wall_s, 2),
            "sent_before_the_kill_bytes": sent_bytes,
            "sent_after_the_kill_bytes": site.sent_bytes() - sent_bytes,
            "sent_without_a_kill_bytes": expected_bytes,
            "paid_twice": paid(process.read_ledger(other / STATE_DIR)).twice_count,
            "resumed": _figures(resumed, raw_bytes),
        }
    finally:
        site.run("localnet", "stop")


def _figures(done: Command, raw_bytes: int) -> dict[str, object]:
    return {
        "wall_s": round(done.wall_s, 2),
        "cpu_s": round(done.cpu_s, 2),
        "mb_s": round(raw_bytes / done.wall_s / MB, 1),
        "peak_rss_bytes": done.peak_bytes,
        "ru_maxrss_bytes": done.maxrss_bytes,
        "frames": done.summary.get("frames"),
        "known_bytes": done.summary.get("known_bytes"),
        "sent_bytes": done.summary.get("sent_bytes"),
    }


def _peak_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    peaks = [int(line.split()[1]) * KIB for line in lines if line.startswith("VmHWM")]
    return peaks[0] if peaks else 0
