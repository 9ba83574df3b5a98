"""Processor time of an upload with an empty state into a node of few and of many models.

Every third model was sealed by another identity and is as large as the source, as variants of one
model are; the others are small. Client and server are timed by their processor clocks, so that the
figure does not depend on what else the machine does; the median of several uploads is taken.
"""

import statistics
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.node.canister import CanisterNode
from datanode.node.port import Grant, Role
from tests.bench.machine import cpu_of
from tests.bench.rig import Rig
from tests.fakes.checkpoints import sealed, some_bytes
from tests.uploader.session.stage import safetensors_bytes, weights

MODELS: Final = (3, 300)
ROUNDS: Final = 7
_TENSORS: Final = 3


def measure(rig: Rig, models: tuple[int, int] = MODELS, rounds: int = ROUNDS) -> dict[str, object]:
    """Upload sources of their own with states of their own; times in seconds."""
    other = identities.generate(rig.folder / "growth.pem")
    rig.node.grant(Grant(to=other.principal, role=Role.UPLOADER, model=None))
    where = Network(url=rig.net.url, root_key=rig.net.root_key, name="local")
    found: list[dict[str, float]] = []
    with closing(Agent(where, other)) as agent:
        theirs = CanisterNode(agent, rig.node.principal)
        size = _source(rig.folder, 0).stat().st_size
        held = 0
        for count in models:
            for number in range(held, count):
                files = {"m.bin": some_bytes(size if number % 3 == 0 else 2_000, 1_000 + number)}
                node = rig.node if number % 2 else theirs
                sealed(node, f"growth/{number}", files, chunk_bytes=400_000)
            held = count
            found.append(_round(rig, count, rounds))
    few, many = found
    return {
        "models": list(models),
        "few": few,
        "many": many,
        "ratio": round(sum(many.values()) / sum(few.values()), 2),
    }


def _round(rig: Rig, models_count: int, rounds: int) -> dict[str, float]:
    clients, servers = [], []
    for number in range(rounds + 1):
        source = _source(rig.folder, 10 * (1_000 * models_count + number))
        name = f"grown/{models_count}/{number}"
        client_s, server_s = time.process_time(), cpu_of(rig.net.pid)
        rig.upload(source, name, state=name)
        clients.append(time.process_time() - client_s)
        servers.append(cpu_of(rig.net.pid) - server_s)
    return _medians({"client_s": clients[1:], "server_s": servers[1:]})  # the first warms up


def _medians(times: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: round(statistics.median(values), 3) for name, values in times.items()}


def _source(folder: Path, seed: int) -> Path:
    path = folder / "growth.safetensors"
    tensors = {f"t{at}": weights(seed + at, 400) for at in range(_TENSORS)}
    path.write_bytes(safetensors_bytes(tensors))
    return path
