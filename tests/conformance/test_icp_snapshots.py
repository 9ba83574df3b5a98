"""`icp canister snapshot ...`: create, list, restore, download, upload, delete; state comes back.

icp canister snapshot create ID [--replace SNAPSHOT] -q
icp canister snapshot list ID -q               icp canister snapshot restore ID SNAPSHOT
icp canister snapshot download ID SNAPSHOT -o FOLDER
icp canister snapshot upload ID -i FOLDER -q   icp canister snapshot delete ID SNAPSHOT
"""

import re
from pathlib import Path

import pytest

from tests.conformance.icp_program import Icp, RefusedError

pytestmark = pytest.mark.conformance


def snapshot(icp: Icp, *words: str) -> str:
    return icp("canister", "snapshot", *words).strip()


def listed(icp: Icp, canister: str) -> list[str]:
    """Ids out of a list, which this release prints for people too, however quiet."""
    return re.findall(r"^[0-9a-f]{36}$", snapshot(icp, "list", canister, "-q"), re.MULTILINE)


def value(icp: Icp, canister: str) -> str:
    return icp("canister", "call", canister, "get", "()", "--query").strip()


@pytest.fixture
def stopped(icp: Icp, wasm_path: Path) -> str:
    """A canister that counted to 41 and is stopped: the client asks for that."""
    made = icp.installed(wasm_path)
    icp("canister", "call", made, "add", "(41 : nat64)")
    icp("canister", "stop", made)
    return made


def test_icp_restores_what_an_upgrade_and_a_reinstallation_lost(
    icp: Icp, stopped: str, wasm_path: Path
) -> None:
    taken = snapshot(icp, "create", stopped, "-q")
    assert listed(icp, stopped) == [taken]
    icp("canister", "start", stopped)
    icp("canister", "call", stopped, "add", "(1 : nat64)")
    for mode in ("upgrade", "reinstall"):
        icp("canister", "install", stopped, "--wasm", str(wasm_path), "--mode", mode, "-y")
    assert value(icp, stopped) == "(0 : nat64)"
    icp("canister", "stop", stopped)
    snapshot(icp, "restore", stopped, taken)
    icp("canister", "start", stopped)
    assert value(icp, stopped) == "(41 : nat64)"
    assert icp("canister", "call", stopped, "add", "(1 : nat64)").strip() == "(42 : nat64)"


def test_icp_replaces_and_deletes_snapshots(icp: Icp, stopped: str) -> None:
    first = snapshot(icp, "create", stopped, "-q")
    second = snapshot(icp, "create", stopped, "--replace", first, "-q")
    assert first != second
    assert listed(icp, stopped) == [second]
    with pytest.raises(RefusedError, match="Could not find the snapshot ID"):
        snapshot(icp, "restore", stopped, first)
    snapshot(icp, "delete", stopped, second)
    assert listed(icp, stopped) == []


def test_icp_carries_a_snapshot_over_a_download_to_a_new_canister(
    icp: Icp, stopped: str, tmp_path: Path
) -> None:
    taken = snapshot(icp, "create", stopped, "-q")
    snapshot(icp, "download", stopped, taken, "-o", str(tmp_path / "snapshot"))
    other = icp("canister", "create", "--detached", "-q").strip()
    icp("canister", "stop", other)
    uploaded = snapshot(icp, "upload", other, "-i", str(tmp_path / "snapshot"), "-q")
    snapshot(icp, "restore", other, uploaded)
    icp("canister", "start", other)
    assert value(icp, other) == "(41 : nat64)"
    assert icp("canister", "call", other, "add", "(1 : nat64)").strip() == "(42 : nat64)"
