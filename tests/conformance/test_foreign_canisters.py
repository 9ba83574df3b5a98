"""Canisters that nobody here wrote, or that compilers of others made, on the embedded network.

| canister | from | what it needs |
| --- | --- | --- |
| Candid UI, a website | inside npm's `icp` | certified data, `http_request` |
| proxy, which calls other canisters for its controllers | inside npm's `icp` | calls, cycles |
| ICRC-1 ledger in Motoko | compiler in npm's `motoko` | 64-bit memory, kept heap, streaming |
| notes in TypeScript | engine in npm's `azle` (3 MB of Wasm) | chunks, stable memory |
"""

import http.client
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from tests.conformance.embedded_wasm import with_export
from tests.conformance.icp_program import IDENTITY, Icp, RefusedError

pytestmark = pytest.mark.conformance
FOREIGN = Path(__file__).with_name("foreign")


def run(folder: Path, *words: str, cwd: Path | None = None, **env: str) -> str:
    """Run one of the scripts of `foreign/` beside the packages that it uses."""
    if (FOREIGN / words[0]).is_file():
        shutil.copy(FOREIGN / words[0], folder)
    done = subprocess.run(
        ["node", *words],
        cwd=cwd or folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def get(net: LocalNetwork, canister: str, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(net.url.rsplit(":", 1)[1]), 30)
    try:
        connection.request(method, path, headers={"host": f"{canister}.localhost"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def ledger_wasm(tools_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger, compiled."""
    target = tmp_path_factory.mktemp("motoko") / "token.wasm"
    run(tools_folder, "motoko.mjs", str(FOREIGN / "Token.mo"), str(target))
    return target


@pytest.fixture(scope="module")
def ledger(icp: Icp, ledger_wasm: Path) -> str:
    """The ledger, installed."""
    return icp.installed(ledger_wasm)


def test_two_people_transfer_tokens_of_a_ledger_in_motoko(
    net: LocalNetwork, tools_folder: Path, ledger: str
) -> None:
    saw = json.loads(run(tools_folder, "ledger.mjs", net.url, net.root_key.hex(), ledger))
    assert saw["symbol"] == "CNF"
    assert (saw["block"], saw["back"]) == (0, 1)
    assert (saw["alice"], saw["bob"], saw["left"]) == (690, 300, 0)
    assert saw["too_much"] == "refused 300"
    assert saw["bad_fee"] == "refused 10"


def test_a_website_in_motoko_streams_and_is_upgraded_to_updates(
    net: LocalNetwork, ledger: str
) -> None:
    assert get(net, ledger, "/parts?of=3") == (200, b"part 0\npart 1\npart 2\n")
    assert get(net, ledger, "/elsewhere?a=b") == (404, b"GET /elsewhere?a=b")
    assert get(net, ledger, "/visit", "POST") == (200, b"POST 1 for 10")
    assert get(net, ledger, "/visit", "PUT") == (200, b"PUT 2 for 10")


def test_a_motoko_canister_keeps_its_heap_over_an_upgrade(icp: Icp, ledger_wasm: Path) -> None:
    made = icp.installed(ledger_wasm)
    account = f'record {{ owner = principal "{made}" }}'
    icp("canister", "call", made, "mint", f"({account}, 77 : nat)")
    icp("canister", "install", made, "--wasm", str(ledger_wasm), "--mode", "upgrade", "-y")
    held = icp("canister", "call", made, "icrc1_balance_of", f"({account})", "--query")
    assert held.strip() == "(77 : nat)"


def test_a_canister_in_typescript_runs(icp: Icp, tools_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(FOREIGN / "azle", tmp_path, dirs_exist_ok=True)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(tools_folder / "node_modules")
    azle = "node_modules/azle/src/build.ts"
    candid = str(tmp_path / "notes.did")
    words = ("--import", "tsx", azle, "build", "notes")
    run(tools_folder, *words, cwd=tmp_path, CANISTER_CANDID_PATH=candid)
    made = icp.installed(tmp_path / ".azle/notes/notes.wasm")
    assert "(1 : nat32)" in icp("canister", "call", made, "write", '("a", "one")')
    with pytest.raises(RefusedError, match="asked to"):
        icp("canister", "call", made, "write", '("a", "trap")')
    assert 'opt "one"' in icp("canister", "call", made, "read", '("a")', "--query")
    assert "(null)" in icp("canister", "call", made, "read", '("b")', "--query")
    me = icp("identity", "principal", "--identity", IDENTITY, network=False).strip()
    assert me in icp("canister", "call", made, "whoami", "()", "--query")


def test_the_candid_ui_is_served_and_its_certificates_verify(
    net: LocalNetwork, icp: Icp, tools_folder: Path, tmp_path: Path
) -> None:
    module = tmp_path / "candid_ui.wasm"
    module.write_bytes(with_export(icp.program, "canister_query did_to_js"))
    made = icp.installed(module)
    status, page = get(net, made, "/")
    assert status == 200
    assert b"<title>DFINITY Canister Candid UI</title>" in page
    saw = json.loads(run(tools_folder, "verified.mjs", net.url, net.root_key.hex(), made, "/"))
    assert (saw["status"], saw["length"]) == (200, len(page))
    assert saw["verdict"] == {"verificationVersion": 2}
    assert saw["forged"].startswith("refused: ")
    assert saw["other_key"] == "refused: Certificate verification failed"
    said = icp("canister", "call", made, "did_to_js", '("service : {}")', "--query")
    assert "idlFactory" in said


def test_a_proxy_calls_other_canisters(
    icp: Icp, tmp_path: Path, ledger: str, wasm_path: Path
) -> None:
    module = tmp_path / "proxy.wasm"
    module.write_bytes(with_export(icp.program, "canister_update proxy"))
    proxy = icp.installed(module)
    fee = icp("canister", "call", ledger, "icrc1_fee", "()", "--proxy", proxy)
    assert fee.strip() == "(10 : nat)"
    counter = icp.installed(wasm_path)
    added = icp("canister", "call", counter, "add", "(5 : nat64)", "--proxy", proxy)
    assert added.strip() == "(5 : nat64)"
