"""kill -9 at random moments of an upload into the real canister: nothing lost, nothing paid twice.

The uploader runs in a forked process, so that a kill costs no interpreter start and lands anywhere
between opening the database and the answer to the seal. The judge is the network's own ledger.
"""

import os
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from datanode.agent import identity as identities
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader
from tests.agents import agent_of
from tests.fakes.upload_contexts import upload_contexts
from tests.faults.kill_stage import kill_uploads, write_tensors
from uploader.session.upload import upload
from uploader.source import open_source

KILLS = int(os.environ.get("DATANODE_KILLS", "20"))
LONGEST_S = 0.5


def _weights(folder: Path, number: int) -> Path:
    """A few tensors: about six messages."""
    names = [f"{number}.{i}" for i in range(7)]
    return write_tensors(folder / f"{number}.safetensors", number, names)


def _upload(net: LocalNetwork, pem: Path, canister: Principal, folder: Path, source: Path) -> None:
    with (
        closing(agent_of(net, pem)) as agent,
        upload_contexts(agent, net.root_key, [canister], folder) as (context,),
    ):
        upload(open_source(source), source.stem, context)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kills_at_random_moments_lose_nothing_and_pay_nothing_twice(tmp_path: Path) -> None:
    pem = tmp_path / "me.pem"
    identities.generate(pem)
    with LocalNetwork(tmp_path / "net") as net:
        with closing(agent_of(net, pem)) as agent:
            canister = deploy.create_node(agent, cycles=10**15)
        kill_uploads(
            net,
            KILLS,
            LONGEST_S,
            write=partial(_weights, tmp_path),
            upload=partial(_upload, net, pem, canister, tmp_path),
            check=partial(_check, net, pem, canister),
        )


def _check(net: LocalNetwork, pem: Path, canister: Principal, source: Path) -> None:
    with closing(agent_of(net, pem)) as agent:
        reader = Reader(CanisterNode(agent, canister), root_key=net.root_key)
        version = reader.open_version(source.stem)
        (entry,) = version.head.files
        raw = b"".join(version.chunks(range(entry.chunk_count)))
        assert version.version == 1
        assert raw == source.read_bytes()
