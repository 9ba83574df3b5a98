"""`icp` as several people: keys brought along, cycles sent and recovered, canisters shared."""

from pathlib import Path

import pytest

from datanode.agent import identity
from tests.conformance.icp_program import Icp, RefusedError

pytestmark = pytest.mark.conformance
FRIEND = "friend"
PLAIN = ("--storage", "plaintext")


@pytest.fixture(scope="module")
def friend(icp: Icp, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The principal of a second person, whose key this project made and `icp` imported."""
    pem = tmp_path_factory.mktemp("friend") / "identity.pem"
    made = identity.generate(pem)
    icp("identity", "import", FRIEND, "--from-pem", str(pem), *PLAIN, network=False)
    assert icp("identity", "principal", "--identity", FRIEND, network=False).strip() == (
        made.principal.text
    )
    return made.principal.text


def cycles(said: str) -> int:
    """Read `Balance: 1_000 cycles`."""
    return int(next(word for word in said.replace("_", "").split() if word.isdecimal()))


def held(icp: Icp, canister: str) -> int:
    """Read a canister's balance out of its status."""
    lines = icp("canister", "status", canister).splitlines()
    return cycles(next(line for line in lines if line.strip().startswith("Cycles:")))


def test_an_exported_key_is_the_imported_one(icp: Icp, friend: str, tmp_path: Path) -> None:
    pem = tmp_path / "again.pem"
    pem.write_text(icp("identity", "export", FRIEND, network=False))
    assert identity.load(pem).principal.text == friend


def test_cycles_are_sent_to_somebody_else(icp: Icp, friend: str) -> None:
    mine = cycles(icp("cycles", "balance"))
    theirs = cycles(icp("cycles", "balance", identity=FRIEND))
    icp("cycles", "transfer", "2t", friend)
    assert mine - cycles(icp("cycles", "balance")) == 2_000_100_000_000
    assert cycles(icp("cycles", "balance", identity=FRIEND)) - theirs == 2_000_000_000_000


def test_only_controllers_manage_a_canister(icp: Icp, friend: str, wasm_path: Path) -> None:
    made = icp.installed(wasm_path)
    upgrade = ("canister", "install", made, "--wasm", str(wasm_path), "--mode", "upgrade", "-y")
    with pytest.raises(RefusedError, match="IC0512"):
        icp("canister", "stop", made, identity=FRIEND)
    icp("canister", "settings", "update", made, "--add-controller", friend, "-f")
    icp(*upgrade, identity=FRIEND)
    icp("canister", "settings", "update", made, "--remove-controller", friend, "-f")
    with pytest.raises(RefusedError, match="IC0512"):
        icp(*upgrade, identity=FRIEND)


def test_a_module_of_three_megabytes_goes_in_chunk_by_chunk(
    icp: Icp, large_wasm_path: Path
) -> None:
    made = icp.installed(large_wasm_path)
    assert icp("canister", "call", made, "add", "(2 : nat64)").strip() == "(2 : nat64)"
    icp("canister", "install", made, "--wasm", str(large_wasm_path), "--mode", "upgrade", "-y")
    assert icp("canister", "call", made, "get", "()", "--query").strip() == "(2 : nat64)"
    assert icp("canister", "metadata", made, "secret").strip() == "for controllers"


def test_a_deleted_canister_gives_its_cycles_back(icp: Icp, wasm_path: Path) -> None:
    made = icp.installed(wasm_path)
    before, inside = cycles(icp("cycles", "balance")), held(icp, made)
    icp("canister", "stop", made)
    icp("canister", "delete", made)
    back = cycles(icp("cycles", "balance")) - before
    assert 0.9 * inside < back < inside
    with pytest.raises(RefusedError, match="was not found"):
        icp("canister", "status", made)
