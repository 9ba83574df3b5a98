"""`datanode localnet fault`: set, listed, cleared; nonsense is refused before anything is set."""

from collections.abc import Iterator

import pytest

from datanode.localnet.state.fault import HELP, KINDS, FaultKind
from tests.cli.stage import User


@pytest.fixture
def own(user: User) -> Iterator[User]:
    yield user
    user.net.faults.clear()


def test_a_fault_is_set_listed_struck_and_cleared(own: User) -> None:
    made = own.ok("localnet", "fault", "set", "latency", "--ms", 1, "--verb", "query")
    assert (made["kind"], made["parameters"], made["verb"]) == ("latency", {"ms": 1}, "query")
    with own.node() as node:
        node.status()
    done = own.run("localnet", "fault", "list", "--json")
    (item, summary) = done.results
    assert item["number"] == made["number"]
    assert item["struck_count"] == summary["struck"] > 0
    assert own.run("localnet", "fault", "list").says("latency", "ms=1", "query")
    assert own.ok("localnet", "fault", "clear", made["number"])["cleared"] == 1
    assert own.run("localnet", "fault", "list").says("no fault is set")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["set", "plague"], "no fault"),
        (["set", "latency"], "needs ms"),
        (["set", "latency", "--ms", -1], "0 to"),
        (["set", "latency", "--ms", 1, "--verb", "shout"], "shout"),
        (["set", "lie", "--ms", 1], "does not take ms"),
        (["set", "lie", "--verb", "call"], "concerns query"),
        (["set", "lie", "--canister", "nobody"], "principal"),
        (["set", "lie", "--probability", 0], "probability"),
        (["drain", "nobody"], "principal"),
        (["drain", "aaaaa-aa", "--to", "death"], "death"),
    ],
)
def test_nonsense_is_refused_and_nothing_is_set(own: User, args: list[object], words: str) -> None:
    done = own.fails(2, "localnet", "fault", *args)
    assert done.says(words), done.err
    assert own.net.faults.standing() == []


def test_what_is_not_there_is_named(own: User) -> None:
    done = own.fails(50, "localnet", "fault", "clear", 99)
    assert done.says("no fault has the number 99", "--help")
    here = own.canister
    assert own.fails(50, "localnet", "fault", "rollback", here).says("no mark")
    elsewhere = ("--state-dir", own.home / "nowhere")
    assert own.fails(50, "localnet", "fault", "list", *elsewhere).says("no network runs")


def test_the_help_explains_every_kind(own: User) -> None:
    text = own.run("localnet", "fault", "set", "--help").out
    assert set(HELP) == set(KINDS) == set(FaultKind)
    assert not [kind for kind in KINDS if f" {kind} " not in text]
    assert "[status (503), retry_after_s (-1)]" in " ".join(text.split())
    assert "Examples:" in text


def test_a_fault_is_told_with_all_that_narrows_it(own: User) -> None:
    narrow = ["--method", "get", "--every", 3, "--count", 2, "--probability", 0.5, "--seed", 7]
    words = "get every=3 count=2 probability=0.5 seed=7"
    assert own.run("localnet", "fault", "set", "lose-answer", *narrow).says(words)
    own.run("localnet", "fault", "set", "lie")
    assert own.run("localnet", "fault", "list").says(words, "everything")


def test_what_makes_no_sense_names_the_help(own: User) -> None:
    assert own.fails(2, "localnet", "fault", "set", "latency").says("next:", "--help")
    assert own.fails(2, "node", "create", "--cycles", "banana").says("next:", "--help")


def test_a_canister_may_be_named_like_its_node(own: User) -> None:
    here = own.canister.text
    assert own.ok("localnet", "fault", "mark", "main", "--as", "named")["canister"] == here
    assert own.ok("localnet", "fault", "rollback", here, "--to", "named")["canister"] == here
    paid = own.run("localnet", "ledger", "--canister", "main", "--json").results[:-1]
    assert {entry["canister"] for entry in paid} == {here}
