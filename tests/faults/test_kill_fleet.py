"""kill -9 at random moments of an upload over three nodes: nothing lost, nothing paid twice.

As `test_kill_uploader.py`; here a version is whole on all members, or not visible at all.
"""

import os
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from datanode.agent import identity as identities
from datanode.errors import FleetPartError, NotFoundError
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader, open_any_version
from tests.agents import agent_of
from tests.fakes.upload_contexts import upload_contexts
from tests.faults.kill_stage import kill_uploads, write_tensors
from uploader.session.fleet_upload import upload_over_fleet
from uploader.session.upload import UploadOptions
from uploader.source import open_source

KILLS = int(os.environ.get("DATANODE_FLEET_KILLS", "100"))
LONGEST_S = 4.0
MEMBERS = 3


def _weights(folder: Path, number: int) -> Path:
    """Blocks: some three messages a member."""
    names = [f"layers.{i}.w.{number}" for i in range(6)]
    return write_tensors(folder / f"{number}.safetensors", number, names)


def _upload(
    net: LocalNetwork, pem: Path, nodes: list[Principal], folder: Path, source: Path
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
    pem = tmp_path / "me.pem"
    identities.generate(pem)
    with LocalNetwork(tmp_path / "net") as net:
        with closing(agent_of(net, pem)) as agent:
            nodes = [deploy.create_node(agent, cycles=10**15) for _ in range(MEMBERS)]

        def check(source: Path) -> None:
            assert _content(net, pem, nodes, source.stem) == source.read_bytes()

        def check_killed(source: Path) -> None:
            assert _content(net, pem, nodes, source.stem) in {None, source.read_bytes()}

        kill_uploads(
            net,
            KILLS,
            LONGEST_S,
            write=partial(_weights, tmp_path),
            upload=partial(_upload, net, pem, nodes, tmp_path),
            check=check,
            check_killed=check_killed,
        )
