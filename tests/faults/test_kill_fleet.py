"""kill -9 at random moments of an upload over three nodes: nothing lost, nothing paid twice.

As `test_kill_uploader.py`; here a version is whole on all members, or not visible at all.
"""

import os
import random
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from datanode.agent import identity as identities
from datanode.errors import FleetPartError, NotFoundError
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader, open_any_version
from tests.fakes.ledger_judge import paid
from tests.fakes.upload_contexts import upload_contexts
from tests.faults.forked import forked, killed
from tests.faults.test_kill_uploader import agent_of
from tests.uploader.session.stage import safetensors_bytes
from uploader.session.fleet_upload import upload_over_fleet
from uploader.session.upload import UploadOptions
from uploader.source import open_source

KILLS = int(os.environ.get("DATANODE_FLEET_KILLS", "100"))
LONGEST_S = 4.0
MEMBERS = 3


def _weights(folder: Path, number: int) -> Path:
    """Incompressible blocks: some three messages a member."""
    rng = np.random.default_rng(number)
    tensors = {
        f"layers.{i}.w.{number}": rng.integers(0, 256, (1500, 1000), np.uint8) for i in range(6)
    }
    path = folder / f"{number}.safetensors"
    path.write_bytes(safetensors_bytes(tensors))
    return path


def _upload(
    net: LocalNetwork, pem: Path, nodes: list[Principal], source: Path, folder: Path
) -> None:
    with (
        closing(agent_of(net, pem)) as agent,
        upload_contexts(agent, net.root_key, nodes, folder) as contexts,
    ):
        upload_over_fleet(open_source(source), source.stem, contexts, UploadOptions(jobs=3))


def _content(net: LocalNetwork, pem: Path, nodes: list[Principal], model: str) -> bytes | None:
    """Read the one file of a model; None: it is not visible."""
    with closing(agent_of(net, pem)) as agent:
        reader = Reader(CanisterNode(agent, nodes[0]), root_key=net.root_key)
        try:
            version = open_any_version(reader, lambda node: CanisterNode(agent, node), model)
        except (NotFoundError, FleetPartError):
            return None
        (entry,) = version.head.files
        return b"".join(version.chunks(range(entry.chunk_count)))


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kills_over_a_fleet_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    rng = random.Random(2026)
    pem = tmp_path / "me.pem"
    identities.generate(pem)
    kills = number = 0
    with LocalNetwork(tmp_path / "net") as net:
        with closing(agent_of(net, pem)) as agent:
            nodes = [deploy.create_node(agent, cycles=10**15) for _ in range(MEMBERS)]
        while kills < KILLS:
            number += 1
            source = _weights(tmp_path, number)
            while True:
                child = forked(partial(_upload, net, pem, nodes, source, tmp_path))
                if not killed(child, rng.uniform(0.0, LONGEST_S)):
                    break
                kills += 1
                assert _content(net, pem, nodes, source.stem) in {None, source.read_bytes()}
            assert _content(net, pem, nodes, source.stem) == source.read_bytes()
            source.unlink()
        verdict = paid(net.ledger())
    print(f"{kills} kills, {number} models, {verdict}")
    assert kills >= KILLS
    assert verdict.twice_count == 0
    assert verdict.stored_count == verdict.frames_count
