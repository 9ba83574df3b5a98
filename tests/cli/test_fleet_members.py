"""Fleets whose members are not what their file says: deleted, elsewhere, older, reordered."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, registry, subnets
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.units import TC
from tests.agents import agent_of
from tests.cli import canisters
from tests.cli.stage import User, checkpoint
from tests.fakes.ledger_judge import paid

PUT = "put_frames"
UPLOAD = ("upload", "m.safetensors", "--as", "llama", "--node", "pair")
PLAN = ("plan", "m.safetensors", "--node", "pair")
READING = (("fetch", "llama", "back"), ("audit", "llama"), ("show", "llama"))


@pytest.fixture(scope="module")
def pair(network: LocalNetwork, owner_pem: Path) -> list[Principal]:
    """Two nodes of the user, for all tests of this file."""
    with closing(agent_of(network, owner_pem)) as agent:
        return [deploy.create_node(agent) for _ in range(2)]


@pytest.fixture
def fleet(
    user: User, pair: list[Principal], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[Principal]]:
    """A fleet of two empty nodes, called `pair`, and a checkpoint for it."""
    monkeypatch.setattr("datanode.command_context.WaitPolicy.__call__", lambda *_: None)
    registry.add(user.config, "pair", *pair, network="local")
    checkpoint(user.home / "m.safetensors", 7, tensors=4, size=100_000)
    yield pair
    with closing(agent_of(user.net, user.pem)) as agent:
        for each in pair:
            canisters.wipe(agent, each)


def _edit(user: User, *members: Principal) -> None:
    """Change the members of `pair` by hand."""
    path = user.config / "nodes.json"
    known = json.loads(path.read_text())
    for row in known["nodes"]:
        if row["name"] == "pair":
            row["members"] = [each.text for each in members]
            row["canister"] = members[0].text
    path.write_text(json.dumps(known))


def _stored(user: User, *, after: int) -> int:
    verdict = paid(user.net.ledger(after=after))
    assert verdict.twice_count == 0
    return verdict.stored_count


def _last(user: User) -> int:
    return user.net.ledger()[-1].sequence


def _deleted(user: User) -> Principal:
    """Return the id of a canister that was deleted."""
    canister = canisters.create(user, 10 * TC)
    canisters.stop(user, canister)
    canisters.delete(user, canister)
    return canister


def test_deleted_member_is_named_by_every_command(user: User, fleet: list[Principal]) -> None:
    user.ok(*UPLOAD)
    gone, last = _deleted(user), _last(user)
    _edit(user, fleet[0], gone)
    done = user.fails(10, *UPLOAD)
    assert done.says(gone.text, "no such canister", "or deleted"), done.err
    assert _stored(user, after=last) == 0
    status = user.fails(10, "node", "status", "pair")
    assert status.says(gone.text, fleet[0].text, "unknown", "running"), status.out
    assert user.run("doctor").says(gone.text, "no such canister")
    # What is stored is read by the index, which names the members that hold it.
    for command in READING:
        user.ok(*command, "--node", "pair")


@pytest.mark.nightly
def test_model_with_a_deleted_member_is_not_read_and_comes_back_on_another(
    user: User, fleet: list[Principal]
) -> None:
    spare = Principal.parse(user.ok("node", "create", "spare", "--cycles", "10TC")["canister"])
    _edit(user, fleet[0], spare)
    user.ok(*UPLOAD)
    canisters.stop(user, spare)
    canisters.delete(user, spare)
    for command in READING:
        done = user.fails(43, *command, "--node", "pair")
        assert done.says(f"member {spare} of llama is gone", "no such canister"), done.err
    last = _last(user)
    _edit(user, *fleet)
    assert user.ok(*UPLOAD)["version"] == 2
    assert _stored(user, after=last) > 0
    paying = {entry.canister for entry in user.net.ledger(after=last) if entry.method == PUT}
    # The coordinator kept its part, and stores a new index.
    assert paying == set(fleet)
    assert user.ok("audit", "llama", "--node", "pair")["verdict"] == "ok"


def test_member_on_another_subnet_is_refused_before_anything_is_sent(
    user: User, fleet: list[Principal], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, last = subnets.subnet_of, _last(user)
    with monkeypatch.context() as patch:
        patch.setattr(
            subnets,
            "subnet_of",
            lambda agent, each: each if each == fleet[1] else real(agent, each),
        )
        for command in (UPLOAD, PLAN):
            done = user.fails(38, *command)
            assert done.says(f"{fleet[1]} is on subnet", "one subnet", "nothing was sent"), done.err
        added = user.fails(38, "node", "add", "two", *fleet)
        assert added.says(f"{fleet[1]} is on subnet", "two names"), added.err
        assert user.run("doctor").says(f"{fleet[1]} is on subnet")
    assert _stored(user, after=last) == 0


def test_member_of_another_interface_is_refused_before_anything_is_sent(
    user: User, fleet: list[Principal]
) -> None:
    old, last = canisters.create(user, 10 * TC), _last(user)
    canisters.reinstall(user, old, canisters.pretender(1, 1))
    _edit(user, fleet[0], old)
    for command in (UPLOAD, PLAN):
        done = user.fails(38, *command)
        assert done.says(f"{old}: 1", "interface versions", "node upgrade"), done.err
    assert _stored(user, after=last) == 0


@pytest.mark.nightly
def test_members_in_another_order_cost_an_index_and_no_frame_again(
    user: User, fleet: list[Principal]
) -> None:
    user.ok(*UPLOAD)
    last = _last(user)
    _edit(user, *fleet[::-1])
    missing = user.fails(43, "show", "llama", "--node", "pair")
    assert missing.says(f"{fleet[1]} has a part of llama and no index", "upload it again")
    user.ok(*UPLOAD)
    _stored(user, after=last)
    assert user.ok("audit", "llama", "--node", "pair")["verdict"] == "ok"
    user.ok("delete", "llama", "--yes", "--node", "pair")


@pytest.mark.nightly
def test_fleet_that_lost_a_line_keeps_what_is_stored(user: User, fleet: list[Principal]) -> None:
    user.ok(*UPLOAD)
    _edit(user, fleet[0])
    for command in READING:
        user.ok(*command, "--node", "pair")
    _edit(user, *fleet)
    last = _last(user)
    assert user.ok(*UPLOAD)["version"] == 1
    assert _stored(user, after=last) == 0


def test_parts_without_an_index_are_told_apart_from_no_model(
    user: User, fleet: list[Principal]
) -> None:
    user.ok(*UPLOAD)
    with closing(user.agent()) as agent:
        CanisterNode(agent, fleet[0]).delete_model("llama")
    for command in (*READING, ("copy", "llama", "--from", "pair", "--to", "main")):
        where = () if command[0] == "copy" else ("--node", "pair")
        done = user.fails(43, *command, *where)
        assert done.says(f"{fleet[0]} has a part of llama and no index", "datanode delete llama")
    user.fails(10, "show", "other", "--node", "pair")
    last = _last(user)
    assert user.ok(*UPLOAD)["version"] == 2
    assert _stored(user, after=last) < 10  # the index and its manifest
    assert user.ok("audit", "llama", "--node", "pair")["verdict"] == "ok"
