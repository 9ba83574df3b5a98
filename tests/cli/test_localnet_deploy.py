"""`datanode localnet deploy` and `example`, for people with canisters of their own."""

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from datanode.agent.candid import Nat64
from datanode.errors import DestinationError, LocalNetworkError, UsageError
from datanode.localnet.api import LocalNetwork
from tests.cli.test_localnet import Run

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "datanode" / "localnet" / "example"
COUNTER, INTERFACE = str(EXAMPLE / "counter.wat"), str(EXAMPLE / "counter.did")


@pytest.fixture
def run(shared_localnet: LocalNetwork, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(shared_localnet, capsys)


def test_deploys_upgrades_and_reinstalls_a_canister(
    run: Run, shared_localnet: LocalNetwork
) -> None:
    (made,) = run.json("deploy", COUNTER, "--cycles", "7TC")
    counter = shared_localnet.canister(str(made["canister"]))
    with urllib.request.urlopen(str(made["page"])) as page:  # noqa: S310 - our own network
        assert b">counter</span>" in page.read()
    assert made["controller"] == shared_localnet.owner.principal.text
    assert str(made["page"]).endswith(f"/_/page/canister/{counter.id}")
    assert counter.update("add", (Nat64, 5), returns=Nat64) == 5
    assert 6 * 10**12 < counter.balance_cycles < 7 * 10**12
    run("deploy", COUNTER, "--canister", counter.id.text)
    assert counter.query("get", returns=Nat64) == 5
    run("deploy", COUNTER, "--canister", counter.id.text, "--reinstall")
    assert counter.query("get", returns=Nat64) == 0


@pytest.mark.parametrize(
    "options",
    [
        ["--reinstall"],
        ["--keep-heap"],
        ["--canister", "aaaaa-aa", "--reinstall", "--keep-heap"],
        ["--argument-hex", "xyz"],
        ["--argument-hex", "4449444c0000", "--argument", "()"],
        ["--argument", "(5"],
        ["--argument", "(5)", "--candid", "missing.did"],
        ["--cycles", "many"],
    ],
)
def test_refuses_options_that_make_no_sense(run: Run, options: list[str]) -> None:
    run("deploy", COUNTER, *options, code=UsageError.exit_code)


def test_calls_in_textual_candid(run: Run) -> None:
    (made,) = run.json("deploy", COUNTER, "--argument", "()", "--candid", INTERFACE)
    canister = str(made["canister"])
    with_types = ("--candid", INTERFACE)
    assert run("call", canister, "add", "(5)", *with_types) == "(5 : nat64)\n"
    assert run.json("call", canister, "get", *with_types)[0]["reply"] == "(5 : nat64)"
    assert run("call", canister, "add", "(2 : nat64)") == "(7 : nat64)\n"
    said = run("call", canister, "add", '("five")', *with_types, code=UsageError.exit_code)
    assert "(text) where (nat64) is expected" in said
    said = run("call", canister, "take", *with_types, code=UsageError.exit_code)
    assert "no method `take`; it has add, get" in said


def test_names_the_command_that_starts_a_network(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from uploader.cli import main

    code = main(["localnet", "deploy", COUNTER, "--state-dir", str(tmp_path)])
    assert code == LocalNetworkError.exit_code
    assert "datanode localnet start --detach" in capsys.readouterr().err


def test_writes_an_example_whose_tests_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from uploader.cli import main

    folder = tmp_path / "example"
    assert main(["localnet", "example", str(folder)]) == 0
    assert {each.name for each in folder.iterdir()} >= {"counter.wat", "test_counter.py"}
    assert main(["localnet", "example", str(folder)]) == DestinationError.exit_code
    assert "exists already" in capsys.readouterr().err
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "adds", folder],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr
