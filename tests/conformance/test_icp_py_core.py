"""icp-py-core (PyPI), every certificate and query signature verified, in a venv of its own."""

import json
import subprocess
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from tests.conformance.own_venv import python_with

pytestmark = pytest.mark.conformance
FOLDER = Path(__file__).with_name("icp_py_core")
KEYS = ("ed25519", "secp256k1")


@pytest.fixture(scope="module")
def python() -> Path:
    """A Python that has the client, of the releases and hashes in `requirements.txt`."""
    return python_with("icp_py_core", FOLDER / "requirements.txt")


@pytest.fixture(scope="module")
def saw(net: LocalNetwork, wasm_path: Path, python: Path) -> dict[str, object]:
    """Results of the client for each kind of key."""
    subnet = json.loads((net.directory / "network.json").read_text())["subnet"]
    words = [python, FOLDER / "drive.py", net.url, net.root_key.hex(), subnet, wasm_path]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("key", KEYS)
def test_icp_py_core_installs_calls_queries_and_reads(saw: dict[str, object], key: str) -> None:
    found = saw[key]
    assert isinstance(found, dict)
    assert (found["added"], found["added_async"], found["got"]) == (5, 11, 11)
    assert found["described"] == [{"type": "nat64", "value": 11}]
    certified = ("module_hash", "controlled_by_me", "time", "subnet_key", "subnet_certified")
    assert all(found[fact] is True for fact in certified)


@pytest.mark.parametrize("key", KEYS)
def test_icp_py_core_understands_refusals(saw: dict[str, object], key: str) -> None:
    found = saw[key]
    assert isinstance(found, dict)
    assert found["trap"] == [5, "IC0503"]
    assert found["no_query"] == [5, "IC0536"]
    assert found["stopped"] == [5, "IC0508"]


def test_icp_py_core_believes_no_certificate_of_another_network(saw: dict[str, object]) -> None:
    assert saw["with_mainnets_key"] == "refused"
