"""`datanode node settings`, and what `node status` and `doctor` say before cycles run out."""

from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from datanode.localnet.state.drain_level import DrainLevel
from datanode.node.settings import WARNING_DAYS
from datanode.principal import Principal
from tests.cli.stage import User

STRANGER = "2vxsx-fae"


def test_settings_are_shown_and_changed(user: User) -> None:
    shown = user.ok("node", "settings", "main")
    assert shown["freezing_threshold_days"] == 90
    assert shown["wasm_memory_limit_bytes"] == 1 << 30
    assert shown["reserved_cycles_limit"] == (1 << 128) - 1
    changed = user.ok(
        *("node", "settings", "main", "--freezing-days", "60", "--reserved-cycles-limit", "500TC"),
        *("--wasm-memory-limit", "2GiB", "--add-controller", STRANGER),
    )
    assert changed["freezing_threshold_days"] == 60
    assert changed["reserved_cycles_limit"] == 500 * 10**12
    assert changed["wasm_memory_limit_bytes"] == 2 << 30
    assert sorted(changed["controllers"]) == sorted([*shown["controllers"], STRANGER])
    status = user.ok("node", "status", "main")
    assert status["controllers"] == changed["controllers"]
    assert status["reserved_cycles_limit"] == 500 * 10**12
    assert status["concerns"] == []
    back = user.ok(
        *("node", "settings", "main", "--remove-controller", STRANGER),
        *("--reserved-cycles-limit", "none", "--wasm-memory-limit", "none"),
    )
    assert back["controllers"] == shown["controllers"]
    assert back["wasm_memory_limit_bytes"] == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--freezing-days", "0"],
        ["--freezing-days", "100000"],
        ["--reserved-cycles-limit", "much"],
        ["--wasm-memory-limit", "1 parsec"],
        ["--add-controller", "nobody"],
        ["--remove-controller", "aaaaa-aa"],
    ],
    ids=" ".join,
)
def test_settings_that_make_no_sense_change_nothing(user: User, options: list[str]) -> None:
    before = user.ok("node", "settings", "main")
    assert user.run("node", "settings", "main", *options).code == 2
    after = user.ok("node", "settings", "main")
    assert {**after, "cycles": 0} == {**before, "cycles": 0}


def test_own_control_is_not_given_up_without_asking(user: User) -> None:
    user.ok("node", "create", "spare")
    (me,) = user.ok("node", "settings", "spare")["controllers"]
    user.ok("node", "settings", "spare", "--add-controller", STRANGER)
    refused = user.run("node", "settings", "spare", "--remove-controller", me)
    assert refused.code == 2
    assert me in user.ok("node", "settings", "spare")["controllers"]
    left = user.ok("node", "settings", "spare", "--remove-controller", me, "--yes")
    assert left["controllers"] == [STRANGER]


def test_days_until_frozen_are_the_same_everywhere(user: User) -> None:
    days = user.ok("node", "status", "main")["freezing_days"]
    assert user.ok("status", "--node", "main")["freezing_days"] == days
    done = user.run("doctor", "--json")
    assert f"{days:,} days until frozen" in done.out


def test_doctor_and_status_warn_before_cycles_run_out(user: User) -> None:
    user.ok("node", "create", "poor", "--cycles", "3TC")
    status = user.ok("node", "status", "poor")
    assert status["concerns"] == []
    # The node reckons with a higher price of storage than this network bills.
    threshold_days = 90
    while status["freezing_days"] >= WARNING_DAYS:
        threshold_days += status["freezing_days"] - 20
        user.ok("node", "settings", "poor", "--freezing-days", threshold_days)
        status = user.ok("node", "status", "poor")
    assert 0 < status["freezing_days"] < WARNING_DAYS
    assert "datanode node top-up poor" in status["concerns"][0]
    done = user.run("doctor", "--json")
    assert done.code == 1
    assert "datanode node top-up poor" in done.out
    user.ok("node", "top-up", "poor")
    assert user.ok("node", "status", "poor")["concerns"] == []


def test_frozen_node_is_told_with_the_command(user: User) -> None:
    made = user.ok("node", "create", "frozen")
    user.net.faults.drain(Principal.parse(made["canister"]), DrainLevel.THRESHOLD)
    done = user.run("node", "status", "frozen", "--json")
    assert done.code == 20
    assert "datanode node top-up" in done.error["hint"]


def test_doctor_says_that_a_cloud_engine_charges_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with LocalNetwork(tmp_path / "net", fees="engine") as net:
        user = User(tmp_path / "home", net, Principal(b"\x04"), capsys, monkeypatch)
        (user.config / "nodes.json").unlink()
        user.ok("node", "create", "free")
        done = user.run("doctor", "--json")
    (said,) = (each["text"] for each in done.results if each.get("check") == "node free")
    assert "nothing is charged here" in said
    assert "--fees engine" in said
