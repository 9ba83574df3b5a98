"""Processor time of an upload with an empty state into a node of few and of many models.

Every third model was sealed by another identity and is as large as the source, as variants of one
model are; the others are small. Client and server are timed by their processor clocks, so that the
figure does not depend on what else the machine does; the median of several uploads is taken.

Once with a small source, and once with one that is just large enough to look for claims of others.
"""

import statistics
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.node.canister import CanisterNode
from datanode.node.port import Grant, Role
from tests.bench.machine import cpu_of
from tests.bench.rig import Rig
from tests.fakes.checkpoints import sealed, some_bytes
from tests.uploader.session.stage import safetensors_bytes
from uploader.session import claims

MODELS: Final = (3, 300)
_COLUMNS: Final = 512
_BYTES_A_ROW: Final = 2 * _COLUMNS
_CHUNK_BYTES: Final = 400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSize:
    """Shape of the sources, and number of measured uploads."""

    rows: int
    tensors: int
    rounds: int


SMALL: Final = SourceSize(rows=400, tensors=3, rounds=7)
LARGE: Final = SourceSize(
    rows=1 + claims.LEAST_SOURCE_BYTES // (8 * _BYTES_A_ROW), tensors=8, rounds=3
)


def measure(
    rig: Rig, models: tuple[int, int] = MODELS, uploaded: SourceSize = SMALL
) -> dict[str, object]:
    """Upload sources of their own with states of their own; times in seconds."""
    other = identities.generate(rig.folder / "growth.pem")
    rig.node.grant(Grant(to=other.principal, role=Role.UPLOADER, model=None))
    where = Network(url=rig.net.url, root_key=rig.net.root_key, name="local")
    found: list[dict[str, float]] = []
    with closing(Agent(where, other)) as agent:
        theirs = CanisterNode(agent, rig.node.principal)
        size = _source(rig.folder, uploaded, 0).stat().st_size
        held = 0
        for count in models:
            for number in range(held, count):
                node = rig.node if number % 2 else theirs
                files = {"m.bin": _other(number, size if number % 3 == 0 else 2_000)}
                sealed(node, f"growth/{number}", files, chunk_bytes=_CHUNK_BYTES)
            held = count
            found.append(_round(rig, count, uploaded))
    few, many = found
    return {
        "models": list(models),
        "few": few,
        "many": many,
        "ratio": round(sum(many.values()) / sum(few.values()), 2),
    }


def _other(number: int, size: int) -> bytes:
    """A content of its own; a large one repeats itself, so that 100 of them need little room."""
    unit = some_bytes(min(size, _CHUNK_BYTES), 1_000 + number)
    return (unit * (size // len(unit) + 1))[:size]


def _round(rig: Rig, models_count: int, uploaded: SourceSize) -> dict[str, float]:
    clients, servers = [], []
    for number in range(uploaded.rounds + 1):
        source = _source(rig.folder, uploaded, 10 * (1_000 * models_count + number))
        name = f"grown/{models_count}/{number}"
        client_s, server_s = time.process_time(), cpu_of(rig.net.pid)
        rig.upload(source, name, state=name)
        clients.append(time.process_time() - client_s)
        servers.append(cpu_of(rig.net.pid) - server_s)
    return _medians({"client_s": clients[1:], "server_s": servers[1:]})  # the first warms up


def _medians(times: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


def _source(folder: Path, uploaded: SourceSize, seed: int) -> Path:
    path = folder / "growth.safetensors"
    tensors = {f"t{at}": _weights(seed + at, uploaded.rows) for at in range(uploaded.tensors)}
    path.write_bytes(safetensors_bytes(tensors))
    return path


def _weights(seed: int, rows: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((rows, _COLUMNS), np.float32)
    return (0.02 * drawn).astype(np.float16)
