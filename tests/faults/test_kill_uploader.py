"""kill -9 at random moments of an upload into the real canister: nothing lost, nothing paid twice.

The uploader runs in a forked process, so that a kill costs no interpreter start and lands anywhere
between opening the database and the answer to the seal. The judge is the network's own ledger.
"""

import os
import random
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader
from tests.fakes.ledger_judge import paid
from tests.fakes.upload_contexts import upload_contexts
from tests.faults.forked import forked, killed
from tests.uploader.session.stage import safetensors_bytes
from uploader.session.upload import upload
from uploader.source import open_source

KILLS = int(os.environ.get("DATANODE_KILLS", "20"))
LONGEST_S = 0.5


def _weights(folder: Path, number: int) -> Path:
    """Incompressible words in a few tensors: about six messages."""
    rng = np.random.default_rng(number)
    tensors = {f"{number}.{i}": rng.integers(0, 256, (1500, 1000), np.uint8) for i in range(7)}
    path = folder / f"{number}.safetensors"
    path.write_bytes(safetensors_bytes(tensors))
    return path


def agent_of(net: LocalNetwork, pem: Path) -> Agent:
    network = Network(url=net.url, root_key=net.root_key, name="test")
    return Agent(network, identities.load(pem))


def _upload(net: LocalNetwork, pem: Path, canister: Principal, source: Path, folder: Path) -> None:
    with (
        closing(agent_of(net, pem)) as agent,
        upload_contexts(agent, net.root_key, [canister], folder) as (context,),
    ):
        upload(open_source(source), source.stem, context)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kills_at_random_moments_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    rng = random.Random(2026)
    pem = tmp_path / "me.pem"
    identities.generate(pem)
    kills = number = 0
    with LocalNetwork(tmp_path / "net") as net:
        agent = agent_of(net, pem)
        canister = deploy.create_node(agent, cycles=10**15)
        agent.close()
        while kills < KILLS:
            number += 1
            source = _weights(tmp_path, number)
            while True:
                child = forked(partial(_upload, net, pem, canister, source, tmp_path))
                if not killed(child, rng.uniform(0.0, LONGEST_S)):
                    break
                kills += 1
            _assert_whole(net, pem, canister, source)
            source.unlink()
        verdict = paid(net.ledger())
    print(f"{kills} kills, {number} models, {verdict}")
    assert kills >= KILLS
    assert verdict.twice_count == 0
    assert verdict.stored_count == verdict.frames_count


def _assert_whole(net: LocalNetwork, pem: Path, canister: Principal, source: Path) -> None:
    agent = agent_of(net, pem)
    try:
        reader = Reader(CanisterNode(agent, canister), root_key=net.root_key)
        version = reader.open_version(source.stem)
        (entry,) = version.head.files
        raw = b"".join(version.chunks(range(entry.chunk_count)))
        assert version.version == 1
        assert raw == source.read_bytes()
    finally:
        agent.close()
