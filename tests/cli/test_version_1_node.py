"""A node with the module of interface version 1 does for this release what it could do then.

`tests/golden/storage_v1.wasm.gz` is the last module of that version, as it was committed.
"""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, registry
from datanode.principal import Principal
from tests.agents import agent_of
from tests.cli import canisters
from tests.cli.fleet_stage import files_of, llama_folder
from tests.cli.stage import User
from tests.fakes.ledger_judge import paid

MODULE = Path(__file__).parents[1] / "golden" / "storage_v1.wasm.gz"


@pytest.fixture(scope="module")
def old(network: LocalNetwork, owner_pem: Path) -> Iterator[list[Principal]]:
    """Two nodes of version 1."""
    with closing(agent_of(network, owner_pem)) as agent:
        nodes = [deploy.create_node(agent, wasm=MODULE.read_bytes()) for _ in range(2)]
        yield nodes
        for each in nodes:
            canisters.wipe(agent, each)


@pytest.mark.nightly
def test_version_1_node_takes_gives_and_proves_models(
    user: User, old: list[Principal], tmp_path: Path
) -> None:
    registry.add(user.config, "old", old[0], network="local")
    registry.add(user.config, "pair", *old, network="local")
    assert user.ok("node", "status", "old")["interface_version"] == 1
    source, after = llama_folder(tmp_path / "model"), user.net.ledger()[-1].sequence
    assert user.ok("upload", source, "--as", "llama", "--node", "old")["version"] == 1
    assert user.ok("upload", source, "--as", "llama", "--node", "old")["unchanged"]
    (source / "config.json").write_text('{"model_type": "other"}')
    assert user.ok("upload", source, "--as", "llama", "--node", "old")["version"] == 2
    elsewhere = f"sqlite:///{tmp_path / 'empty.db'}"
    user.ok("upload", source, "--as", "again", "--node", "old", "--state", elsewhere)
    assert user.ok("audit", "llama", "--node", "old")["verdict"] == "ok"
    user.ok("copy", "llama", "--from", "old", "--to", "main")
    user.ok("publish", "llama", "--node", "old")
    user.ok("upload", source, "--as", "wide", "--node", "pair")
    assert user.ok("audit", "wide", "--node", "pair")["verdict"] == "ok"
    for model, node in (("llama", "old"), ("llama", "main"), ("wide", "pair")):
        user.ok("fetch", model, tmp_path / model / node, "--node", node)
        assert files_of(tmp_path / model / node) == files_of(source)
    assert user.ok("audit", "llama", "--node", "old", "--scrub")["verdict"] == "ok"
    verdict = paid(user.net.ledger(after=after))
    assert verdict.twice_count == 0
    assert verdict.stored_count == verdict.frames_count
    user.canister = old[0]
    user.patch.setenv("DATANODE_NODE", "old")
    user.flip("llama", chunk=1)
    done = user.run("audit", "llama", "--scrub", "--json")
    found = [each for each in done.results if each.get("kind") == "finding"]
    assert (done.code, [(each["index"], each["outcome"]) for each in found]) == (
        40,
        [(1, "corrupt")],
    )
    assert "re-hashed it by consensus" in found[0]["detail"]
    user.ok("delete", "llama", "--yes", "--node", "main")
