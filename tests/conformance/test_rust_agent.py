"""The Rust agent (crates.io ic-agent, ic-utils), certificates and query signatures verified."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from tests.conformance.conftest import BUILD
from tests.fakes.counter import CANDID

pytestmark = [pytest.mark.conformance, pytest.mark.nightly]
PROJECT = Path(__file__).with_name("rust_agent")
KEYS = ("ed25519", "secp256k1")
Saw = dict[str, dict[str, object]]


@pytest.fixture(scope="module")
def saw(net: LocalNetwork, wasm_path: Path, large_wasm_path: Path) -> Saw:
    """Results of the agent for each kind of key. The first build takes minutes."""
    cargo = shlex.split(os.environ.get("CARGO") or "cargo")
    manifest, target = PROJECT / "Cargo.toml", BUILD / "rust_agent"
    command = ["env", *cargo, "build", "--quiet", "--locked", "--manifest-path", str(manifest)]
    built = subprocess.run(
        [*command, "--target-dir", str(target)], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    subnet = json.loads((net.directory / "network.json").read_text())["subnet"]
    program = target / "debug/rust-agent"
    words = [program, net.url, net.root_key.hex(), subnet, wasm_path, large_wasm_path]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: Saw = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("key", KEYS)
def test_the_rust_agent_updates_and_queries(saw: Saw, key: str) -> None:
    found = saw[key]
    assert (found["added"], found["polled"], found["got"]) == (5, 11, 11)
    assert found["answered_at_once"]
    assert found["same_answer_again"]
    assert found["request_replied"]
    assert found["request_unknown"]


@pytest.mark.parametrize("key", KEYS)
def test_the_rust_agent_reads_the_state_tree(saw: Saw, key: str) -> None:
    found = saw[key]
    facts = ("module_hash", "controlled_by_me", "metadata_absent", "root_key")
    assert all(found[fact] is True for fact in facts)
    assert (found["candid"], found["secret"]) == (CANDID, "for controllers")
    assert "403 Forbidden" in str(found["secret_hidden"])
    assert found["healthy"] == "healthy"


@pytest.mark.parametrize("key", KEYS)
def test_the_rust_agent_reads_the_subnet(saw: Saw, key: str) -> None:
    found = saw[key]
    assert all(found[fact] is True for fact in ("subnet", "subnet_by_id", "in_ranges"))
    assert found["nodes"] == 1


@pytest.mark.parametrize("key", KEYS)
def test_the_rust_agent_understands_refusals(saw: Saw, key: str) -> None:
    codes = {
        "trap": ["certified", 5, "IC0503"],
        "no_update": ["certified", 5, "IC0536"],
        "no_query": ["uncertified", 5, "IC0536"],
        "not_controller": ["uncertified", 5, "IC0512"],
        "stopped": ["uncertified", 5, "IC0508"],
        "uninstalled": ["uncertified", 5, "IC0537"],
        "gone": ["uncertified", 3, "IC0301"],
    }
    for name, expected in codes.items():
        refusal = saw[key][name]
        assert isinstance(refusal, list)
        assert refusal[:3] == expected, name


@pytest.mark.parametrize("key", KEYS)
def test_the_rust_agent_manages_canisters(saw: Saw, key: str) -> None:
    found = saw[key]
    assert found["status"] == "Running"
    assert found["status_hash"]
    assert found["freezing_threshold"] == "604_800"
    assert found["topped_up"]
    assert found["kept"] == 11
    assert found["large_hash"]
    assert found["log"] == b"added".hex()
