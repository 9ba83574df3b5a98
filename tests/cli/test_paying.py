"""`node create` and `node top-up` pay out of an account, as on mainnet."""

import pytest

from datanode.localnet.state.ledger import BillEntry
from datanode.node import cycles_ledger_client
from datanode.principal import Principal
from datanode.units import TC
from tests.cli.stage import User
from tests.fakes.lost_answers import lose_answers


def _creations(user: User) -> list[BillEntry]:
    mine = ("create_canister", user.principal)
    return [entry for entry in user.net.ledger() if (entry.method, entry.sender) == mine]


def test_a_node_costs_its_creation_and_the_ledger_shows_it(user: User) -> None:
    made = user.ok("node", "create", "paid", "--cycles", "8TC")
    assert made["cycles"] == 8 * TC
    entries = [e for e in user.net.ledger() if e.canister.text == made["canister"]]
    assert dict(entries[0].items) == {"deposit": -8 * TC, "creation": 500 * 10**9}
    user.ok("node", "top-up", "paid", "--cycles", "2TC")
    status = user.ok("node", "status", "paid")
    assert 9 * TC < status["cycles"] < 9.5 * TC


def test_the_same_command_after_a_lost_answer_finds_the_node_that_was_paid(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(_creations(user))
    with monkeypatch.context() as patch:
        lose_answers(patch, "create_canister")
        done = user.fails(37, "node", "create", "lost", "--cycles", "8TC")
        assert done.says("lost", "same command"), done.err
    changed = user.fails(2, "node", "create", "lost", "--cycles", "9TC")
    assert changed.says("no answer yet", f"--cycles {8 * TC}"), changed.err
    made = user.ok("node", "create", "lost", "--cycles", "8TC")
    assert [entry.canister.text for entry in _creations(user)[before:]] == [made["canister"]]
    taken = user.fails(2, "node", "create", "lost", "--cycles", "8TC")
    assert taken.says("called lost already"), taken.err
    assert list(user.state.glob("orders/*.json")) == []


def test_a_short_account_says_how_much_is_missing_and_whom_to_fund(user: User) -> None:
    done = user.fails(20, "node", "create", "rich", "--cycles", "500000TC")
    assert done.says("send 40", "tc to", user.principal.text, "icp cycles"), done.err
    done = user.fails(20, "node", "top-up", "main", "--cycles", "500000TC")
    assert done.says("send", user.principal.text, "nothing was paid"), done.err


def test_a_network_without_a_cycles_ledger_makes_cycles_out_of_nothing_and_says_so(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = Principal(bytes.fromhex("80000000001fffff0101"))
    monkeypatch.setattr(cycles_ledger_client, "LEDGER", nobody)
    done = user.run("node", "create", "plain", "--cycles", "8TC")
    assert done.code == 0, done.err
    assert done.says("no cycles ledger", "out of nothing"), done.err
    done = user.run("node", "top-up", "plain", "--cycles", "500000TC")
    assert done.code == 0, done.err
    refused = user.fails(2, "node", "create", "x", "--subnet", nobody.text)
    assert refused.says("--subnet"), refused.err


def test_mainnet_spends_what_was_named_only(user: User) -> None:
    for command in (["node", "create", "x"], ["node", "top-up", user.canister]):
        done = user.fails(2, *command, "--network", "ic")
        assert done.says("cost money", "--cycles"), done.err
    assert not user.state.exists()
