"""The `icp` command line (npm @icp-sdk/icp-cli-linux-x64), with the network's root key given.

The commands, as a person types them (KEY is in `network.json`):

    icp identity new tester --storage plaintext
    icp canister create --detached -q -n URL -k KEY --identity tester
    icp canister install ID --wasm counter.wasm --mode install -y -n URL -k KEY --identity tester
    icp canister call ID add '(41 : nat64)' ...        icp canister call ID get '()' --query ...
    icp canister status ID [--public] ...              icp canister metadata ID candid:service ...
    icp canister settings update ID --freezing-threshold 7d -f ...
    icp canister top-up ID --amount 3t ...             icp canister logs ID ...
    icp token balance ...                              icp token transfer 2.5 PRINCIPAL ...
    icp cycles mint --icp 2 ...                        icp cycles balance ...
    icp canister stop|start ID ...                     icp canister delete ID --no-recover-cycles
"""

import hashlib
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from tests.conformance.icp_program import Icp, RefusedError
from tests.fakes.counter import CANDID, counter_wasm

pytestmark = pytest.mark.conformance


@pytest.fixture(scope="module")
def canister(icp: Icp, wasm_path: Path) -> str:
    """A canister that `icp` created and installed."""
    return icp.installed(wasm_path)


def test_icp_calls_and_queries(icp: Icp, canister: str) -> None:
    assert icp("canister", "call", canister, "add", "(41 : nat64)").strip() == "(41 : nat64)"
    assert icp("canister", "call", canister, "get", "()", "--query").strip() == "(41 : nat64)"
    assert icp("canister", "call", canister, "get", "()").strip() == "(41 : nat64)"


def test_icp_shows_a_trap_with_its_code(icp: Icp, canister: str) -> None:
    with pytest.raises(RefusedError, match="IC0503") as refused:
        icp("canister", "call", canister, "crash", "()")
    assert "boom" in str(refused.value)


def test_icp_reads_status_settings_and_metadata(icp: Icp, canister: str) -> None:
    digest = hashlib.sha256(counter_wasm()).hexdigest()
    assert f"Module hash: 0x{digest}" in icp("canister", "status", canister)
    assert f"Module hash: 0x{digest}" in icp("canister", "status", canister, "--public")
    icp("canister", "settings", "update", canister, "--freezing-threshold", "7d", "-f")
    assert "Freezing threshold: 604_800" in icp("canister", "settings", "show", canister)
    assert icp("canister", "metadata", canister, "candid:service").strip() == CANDID


def number(said: str) -> int:
    """Read the first number of a line such as `Balance: 1_000 cycles`."""
    return int(next(word for word in said.replace("_", "").split() if word.isdecimal()))


def test_icp_tops_up_from_the_cycles_ledger(icp: Icp, canister: str) -> None:
    before = number(icp("cycles", "balance"))
    icp("canister", "top-up", canister, "--amount", "3t")
    assert "Cycles: 4_49" in icp("canister", "status", canister)
    assert before - number(icp("cycles", "balance")) == 3_000_100_000_000


def test_icp_upgrades_and_keeps_stable_memory(icp: Icp, canister: str, wasm_path: Path) -> None:
    before = icp("canister", "call", canister, "get", "()", "--query")
    icp("canister", "install", canister, "--wasm", str(wasm_path), "--mode", "upgrade", "-y")
    assert icp("canister", "call", canister, "get", "()", "--query") == before
    icp("canister", "install", canister, "--wasm", str(wasm_path), "--mode", "reinstall", "-y")
    assert icp("canister", "call", canister, "get", "()", "--query").strip() == "(0 : nat64)"


def test_icp_reads_the_log(icp: Icp, canister: str) -> None:
    icp("canister", "call", canister, "add", "(1 : nat64)")
    assert icp("canister", "logs", canister).strip().endswith("added")


def test_icp_stops_starts_and_deletes(icp: Icp, wasm_path: Path) -> None:
    made = icp.installed(wasm_path)
    icp("canister", "stop", made)
    with pytest.raises(RefusedError, match="IC0508"):
        icp("canister", "call", made, "add", "(1 : nat64)")
    icp("canister", "start", made)
    icp("canister", "stop", made)
    icp("canister", "delete", made, "--no-recover-cycles")
    with pytest.raises(RefusedError, match="was not found"):
        icp("canister", "status", made)


def test_icp_deploys_a_project_to_a_connected_network(
    net: LocalNetwork, icp: Icp, wasm_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "counter.wasm").write_bytes(wasm_path.read_bytes())
    (tmp_path / "icp.yaml").write_text(
        f"""
canisters:
  - name: counter
    build: {{ steps: [{{ type: pre-built, path: counter.wasm }}] }}
networks:
  - name: embedded
    mode: connected
    url: {net.url}
    root-key: "{net.root_key.hex()}"
environments:
  - name: dev
    network: embedded
    canisters: [counter]
"""
    )
    where = ("-e", "dev", "--identity", "tester", "--project-root-override", str(tmp_path))
    for _ in range(2):
        said = icp("deploy", *where, network=False)
        assert "counter" in said
    answer = icp("canister", "call", "counter", "add", "(3 : nat64)", *where, network=False)
    assert answer.strip() == "(3 : nat64)"


def test_icp_shows_and_transfers_icp(icp: Icp) -> None:
    assert icp("token", "balance").strip() == "Balance: 10000.00000000 ICP"
    icp("token", "transfer", "2.5", "2vxsx-fae")
    assert icp("token", "balance").strip() == "Balance: 9997.49990000 ICP"


def test_icp_mints_cycles_from_icp(icp: Icp) -> None:
    before = number(icp("cycles", "balance"))
    assert "Minted 6_999_900_000_000 cycles" in icp("cycles", "mint", "--icp", "2")
    assert number(icp("cycles", "balance")) - before == 6_999_900_000_000
