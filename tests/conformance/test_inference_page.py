"""The page of an inference canister, judged by npm's verifier of certified answers over HTTP."""

import json
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from datanode.node.canister import CanisterNode
from datanode.node.port import Visibility
from tests.conformance.test_foreign_canisters import run
from tests.inference import tiny_node

pytestmark = pytest.mark.conformance


def test_gateways_verify_the_page_and_what_is_missing(
    net: LocalNetwork, tools_folder: Path, tmp_path: Path
) -> None:
    world = tiny_node.made(net, tmp_path)
    with world.agent() as agent:
        CanisterNode(agent, world.canister).set_visibility(tiny_node.MODEL, Visibility.PUBLIC)
    for path, status in {"/": 200, "//?a=b": 200, "/missing": 404, "/a/b/": 404}.items():
        words = (net.url, net.root_key.hex(), world.canister.text, path)
        saw = json.loads(run(tools_folder, "verified.mjs", *words))
        assert saw["status"] == status, (path, saw)
        assert not isinstance(saw["verdict"], str), (path, saw["verdict"])
        assert "refused" in saw["forged"]
        assert "refused" in saw["other_key"]
