"""`make rehearsal`: a model of 16 GB through two storage canisters of one network, on this machine.

Frames that do not compress go in full messages, several in flight for each canister, by the
project's own agent; afterwards each canister compares what it stores with its digests. Prints one
JSON object: how long it took, what the server's memory came to, what was paid. Returns 1 when a
bound is missed.

The state is written below `--folder` and deleted afterwards; it takes as much room as the frames.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from datanode import frame
from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.limits import FRAME_HEADER_BYTES
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.node.port import Lease, PutStatus, Settled
from tests.bench import machine
from tests.bench.rig import CYCLES, MESSAGE_BYTES, PUT, noise

MB: Final = 1_000_000
CANISTERS: Final = 2
IN_FLIGHT: Final = 3
WALL_BOUND_S: Final = 25 * 60
RSS_BOUND_BYTES: Final = 4 * 1024**3
_SPARE_BYTES: Final = 2 * 1024**3
_ATTEMPTS: Final = 5
_SCRUB_BYTES: Final = 1 << 28
_SAMPLE_S: Final = 0.2
_KIB: Final = 1024


class Rehearsal:
    """Frames on their way to the canisters of a network."""

    def __init__(self, network: Network, pem: Path, frames_count: int) -> None:
        self._identity = identities.load(pem)
        self._network = network
        self._count = frames_count
        self._body = noise("rehearsal", MESSAGE_BYTES - FRAME_HEADER_BYTES - 8)
        self.repeated = 0

    def frame(self, canister: int, index: int) -> bytes:
        """Make a frame: the same noise behind a number of its own."""
        number = (canister << 32 | index).to_bytes(8)
        return frame.seal_raw(number + self._body)

    def agent(self) -> Agent:
        """Connect; each thread has connections of its own."""
        return Agent(self._network, self._identity)

    def fill(self, canisters: Sequence[CanisterNode]) -> None:
        """Send every frame."""
        with ThreadPoolExecutor(IN_FLIGHT * len(canisters)) as pool:
            running = []
            for number, node in enumerate(canisters):
                lease = node.begin_upload(
                    "rehearsal", frames_count=self._count, frame_bytes=self._count * MESSAGE_BYTES
                )
                indexes = iter(range(self._count))
                running += [
                    pool.submit(self._send_all, number, node, lease, indexes)
                    for _ in range(IN_FLIGHT)
                ]
            for each in running:
                each.result()

    def _send_all(
        self, number: int, node: CanisterNode, lease: Lease, indexes: Iterator[int]
    ) -> None:
        with self.agent() as agent:
            mine = CanisterNode(agent, node.principal)
            for index in indexes:  # one iterator for all threads; `next` of a range is atomic
                self._send(mine, lease, self.frame(number, index))

    def _send(self, node: CanisterNode, lease: Lease, data: bytes) -> None:
        message = node.prepare(lease.id, [data])
        for _ in range(_ATTEMPTS):
            outcome = node.send(message)
            if isinstance(outcome, Settled):
                if {each.status for each in outcome.results} != {PutStatus.STORED}:
                    raise SystemExit(f"a frame was not stored: {outcome.results}")
                return
            self.repeated += 1
        raise SystemExit(f"a message was not settled: {outcome}")


def scrubbed(node: CanisterNode) -> int:
    """Let a canister compare all that it stores with its digests; returns the frames."""
    cursor, frames = b"", 0
    while True:
        step = node.scrub(cursor, _SCRUB_BYTES)
        if step.corrupt:
            raise SystemExit(f"{node.principal} stored other frames than were sent: {step.corrupt}")
        frames += len(step.checked)
        if step.next_cursor is None:
            return frames
        cursor = step.next_cursor


@contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """Sample the resident memory of a process, and keep the largest value."""
    peak, done = [0], threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_S):
            peak[0] = max(peak[0], *_memory(pid).values())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def _memory(pid: int) -> dict[str, int]:
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return {name: int(fields[name].split()[0]) * _KIB for name in ("VmRSS", "VmHWM")}


def rehearse(folder: Path, size_bytes: int) -> dict[str, Any]:
    """Fill two canisters with so many bytes of frames and say what it took."""
    count = max(1, size_bytes // MESSAGE_BYTES // CANISTERS)
    pem = folder / "rehearsal.pem"
    identities.generate(pem)
    with LocalNetwork(folder / "network") as net, ExitStack() as stack:
        network = Network(url=net.url, root_key=net.root_key, name="local")
        rehearsal = Rehearsal(network, pem, count)
        agent = stack.enter_context(rehearsal.agent())
        nodes = [
            CanisterNode(agent, deploy.create_node(agent, cycles=CYCLES)) for _ in range(CANISTERS)
        ]
        with watched(net.pid) as peak:
            started, server_s = time.monotonic(), machine.cpu_of(net.pid)
            rehearsal.fill(nodes)
            wall_s = time.monotonic() - started
            server_s = machine.cpu_of(net.pid) - server_s
            checked = sum(map(scrubbed, nodes))
        entries = net.ledger()
        puts = [entry for entry in entries if entry.method == PUT]
        sent_bytes = count * CANISTERS * MESSAGE_BYTES
        return {
            "frames": len(puts),
            "frame_bytes": sent_bytes,
            "wall_s": round(wall_s, 1),
            "mb_s": round(sent_bytes / MB / wall_s, 1),
            "rss_peak_bytes": peak[0],
            "server_cpu_s": round(server_s, 1),
            "server_cpu_ms_a_message": round(1_000 * server_s / len(puts), 2),
            "cycles": sum(entry.total_cycles for entry in puts),
            "instructions": sum(entry.instructions for entry in puts),
            "repeated": rehearsal.repeated,
            "scrubbed_frames": checked,
            "state_bytes": sum(
                path.stat().st_blocks * 512 for path in (folder / "network").rglob("*")
            ),
        }


def main(argv: Sequence[str] | None = None) -> int:
    """Rehearse, print, and hold the bounds."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rehearsal", description=__doc__)
    parser.add_argument("--mb", type=int, default=16_000, help="millions of bytes of frames")
    parser.add_argument("--folder", type=Path, default=None, help="where the state may be written")
    args = parser.parse_args(argv)
    size_bytes = args.mb * MB
    with tempfile.TemporaryDirectory(prefix="datanode-rehearsal-", dir=args.folder) as folder:
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < size_bytes + _SPARE_BYTES:
            sys.stderr.write(f"{folder} has {free_bytes / MB:,.0f} MB of room, too little\n")
            return 1
        found = rehearse(Path(folder), size_bytes)
    print(json.dumps({"machine": machine.describe(), **found}, indent=2))
    return int(found["wall_s"] > WALL_BOUND_S or found["rss_peak_bytes"] > RSS_BOUND_BYTES)


if __name__ == "__main__":
    raise SystemExit(main())
