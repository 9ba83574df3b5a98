"""The JS agent (npm @icp-sdk/core), certificates and query signatures verified."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from tests.fakes.counter import CANDID, counter_wasm

pytestmark = pytest.mark.conformance
SCRIPT = Path(__file__).with_name("js_agent.mjs")


@pytest.fixture(scope="module")
def saw(net: LocalNetwork, npm_folder: Path, wasm_path: Path) -> dict[str, dict[str, object]]:
    """What the agent saw with an Ed25519 and with a secp256k1 identity."""
    shutil.copy(SCRIPT, npm_folder)
    subnet = json.loads((net.directory / "network.json").read_text())["subnet"]
    command = ["node", SCRIPT.name, net.url, subnet, str(wasm_path)]
    done = subprocess.run(
        command, cwd=npm_folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, object]] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("key", ["ed25519", "secp256k1"])
def test_the_js_agent_creates_installs_calls_and_queries(
    saw: dict[str, dict[str, object]], key: str
) -> None:
    found = saw[key]
    assert (found["added"], found["got"], found["upgraded"]) == ("7", "7", "7")
    assert str(found["trap"]).startswith("certified IC0503: ")
    assert "boom" in str(found["trap"])
    assert found["after"] == "7"


@pytest.mark.parametrize("key", ["ed25519", "secp256k1"])
def test_the_js_agent_reads_status_and_certified_state(
    saw: dict[str, dict[str, object]], key: str
) -> None:
    found = saw[key]
    digest = hashlib.sha256(counter_wasm()).hexdigest()
    assert found["status"] == "running"
    assert found["module_hash"] == found["read_hash"] == digest
    assert found["controllers"] == found["read_controllers"] == [found["me"]]
    assert found["candid"] == CANDID
    assert found["subnet_nodes"] == 1
    assert 4_900_000_000_000 < int(str(found["cycles"])) < 5_000_000_000_000
    assert found["changed"] == "86400"


@pytest.mark.parametrize("key", ["ed25519", "secp256k1"])
def test_the_js_agent_understands_refusals(saw: dict[str, dict[str, object]], key: str) -> None:
    found = saw[key]
    assert str(found["stopped"]).startswith("uncertified IC0508: ")
    assert str(found["creation"]).startswith("uncertified IC0406: Only canisters can call")
    assert str(found["gone"]).startswith("uncertified IC0301: ")
