"""The JS agent (npm @icp-sdk/core), certificates and query signatures verified."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from tests.conformance.icp_program import IDENTITY, Icp
from tests.fakes.counter import CANDID, counter_wasm

pytestmark = pytest.mark.conformance
SCRIPT = Path(__file__).with_name("js_agent.mjs")
STATE = Path(__file__).with_name("js_agent_state.mjs")


@pytest.fixture(scope="module")
def saw(net: LocalNetwork, npm_folder: Path, wasm_path: Path) -> dict[str, dict[str, object]]:
    """Results of the agent with Ed25519 and secp256k1 identities."""
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


@pytest.fixture(scope="module")
def state(net: LocalNetwork, npm_folder: Path, icp: Icp, wasm_path: Path) -> dict[str, object]:
    """Results of the agent with the network's root key given."""
    shutil.copy(STATE, npm_folder)
    subnet = json.loads((net.directory / "network.json").read_text())["subnet"]
    counter = icp.installed(wasm_path)
    command = ["node", STATE.name, net.url, net.root_key.hex(), subnet, counter]
    done = subprocess.run(
        command, cwd=npm_folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return {**found, "expected_subnet": subnet}


def test_the_js_agent_polls_for_an_answer_and_takes_it_at_once(state: dict[str, object]) -> None:
    assert (state["accepted"], state["polled"]) == (202, "4")
    assert state["synced"] == [200, "object"]
    assert state["updated"] == "10"
    assert state["detailed"] == ["12", True]


def test_the_js_agent_reads_state_with_a_pinned_root_key(
    state: dict[str, object], icp: Icp
) -> None:
    digest = hashlib.sha256(counter_wasm()).hexdigest()
    controller = icp("identity", "principal", "--identity", IDENTITY, network=False).strip()
    assert state["state"] == [True, [controller], digest, CANDID, None, "replied"]
    assert state["subnet"] == [133, True]
    assert state["subnet_of"] == state["expected_subnet"]
    assert state["clock"] is True


def test_the_js_agent_acts_by_delegation(state: dict[str, object]) -> None:
    assert state["same_principal"] is True
    assert state["delegated"] == "12"
    assert state["astray"] == 403


def test_the_js_agent_believes_no_forgery(state: dict[str, object]) -> None:
    assert state["other_key"] == "CertificateVerificationErrorCode"
    assert state["changed_query"] == "QuerySignatureVerificationFailedErrorCode"
