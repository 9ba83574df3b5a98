"""Nodes in trouble, and canisters that are no nodes: each told apart, and nothing lost by it."""

import pytest

from datanode.node import deploy
from datanode.principal import Principal
from datanode.units import DAY_S, TC
from tests.cli import canisters
from tests.cli.stage import MakeUser, User, checkpoint
from tests.fakes.counter import counter_wasm
from tests.fakes.ledger_judge import Paid, paid


@pytest.fixture
def own(user: User) -> User:
    """A controller whose node nobody else uses."""
    user.ok("node", "create", "own")
    (user.config / "datanode.toml").write_text('node = "own"\n')
    user.canister = Principal.parse(
        next(
            n["canister"] for n in user.run("node", "list", "--json").results if n["name"] == "own"
        )
    )
    return user


def _paid(user: User) -> Paid:
    """Judge what was paid to this user's canister; other tests share the network."""
    return paid([entry for entry in user.net.ledger() if entry.canister == user.canister])


def _half_uploaded(user: User, seed: int, model: str) -> tuple[str, int]:
    """Stop an upload by its budget, so that some of it is on the node."""
    source = checkpoint(user.home / f"{model}.safetensors", seed, tensors=3, size=1_500_000)
    user.fails(25, "upload", source, "--as", model, "--max-cycles", 7_000_000_000)
    stored = _paid(user).stored_count
    assert stored
    return str(source), stored


READING = (["models"], ["show", "m"], ["fetch", "m", "out"], ["audit", "m"])


def test_a_stopped_node_is_told_and_goes_on_when_started(own: User) -> None:
    source, _ = _half_uploaded(own, 400, "m")
    canisters.stop(own, own.canister)
    for command in (["upload", source, "--as", "m"], *READING):
        done = own.fails(22, *command)
        assert done.says("stopped", "start the canister"), done.err
    assert own.run("status").code == 0
    assert own.run("doctor").code == 1
    canisters.start(own, own.canister)
    before = _paid(own)
    assert own.ok("upload", source, "--as", "m")["version"] == 1
    assert _paid(own).twice_count == before.twice_count == 0
    assert own.ok("audit", "m")["verdict"] == "ok"


def test_a_frozen_node_is_told_and_goes_on_when_topped_up(own: User) -> None:
    source, _ = _half_uploaded(own, 401, "m")
    canisters.freeze(own, own.canister, 300 * 365 * DAY_S)
    for command in (["upload", source, "--as", "m"], *READING):
        done = own.fails(20, *command)
        assert done.says("frozen", "node top-up"), done.err
    assert own.run("doctor").code == 1
    status = own.run("node", "status", "own")
    assert status.code == 20 or status.says("days until frozen")
    own.ok("node", "top-up", "own", "--cycles", "700TC")
    assert own.ok("upload", source, "--as", "m")["version"] == 1
    assert _paid(own).twice_count == 0


def test_a_node_with_too_few_cycles_keeps_what_it_took(user: User) -> None:
    user.ok("node", "create", "poor", "--cycles", "1.2TC")
    source = checkpoint(user.home / "m.safetensors", 402, tensors=4, size=1_500_000)
    canister = user.run("node", "list", "--json").results
    user.canister = Principal.parse(next(n["canister"] for n in canister if n["name"] == "poor"))
    canisters.leave(user, user.canister, 60_000_000_000)
    done = user.fails(20, "upload", source, "--as", "m", "--node", "poor")
    assert done.says("cycles", "top-up", "nothing"), done.err
    user.ok("node", "top-up", "poor", "--cycles", "50TC")
    assert user.ok("upload", source, "--as", "m", "--node", "poor")["version"] == 1
    assert _paid(user).twice_count == 0


def test_a_grant_that_is_used_up_is_told(own: User, stranger: MakeUser) -> None:
    other = stranger()
    own.arrive()
    own.ok("grant", other.principal, "uploader", "--model", "q", "--quota", 2_000_000)
    other.arrive()
    other.patch.setenv("DATANODE_NODE", own.canister.text)
    source = checkpoint(other.home / "m.safetensors", 403, tensors=4, size=1_500_000)
    done = other.run("upload", source, "--as", "q")
    assert done.code in {21, 26}, (done.code, done.err)
    assert done.says("grant"), done.err
    own.arrive()
    own.ok("grant", other.principal, "uploader", "--model", "q", "--quota", 20_000_000)
    other.arrive()
    other.patch.setenv("DATANODE_NODE", own.canister.text)
    assert other.ok("upload", source, "--as", "q")["version"] == 1
    assert _paid(own).twice_count == 0


def _everything(user: User, code: int, node: Principal) -> None:
    source = user.home / "m.safetensors"
    if not source.exists():
        checkpoint(source, 404)
    for command in (["upload", source, "--as", "m"], ["grant", "aaaaa-aa"], *READING):
        user.fails(code, *command, "--node", node)
    user.fails(code, "node", "add", "wrong", node)
    assert user.run("node", "list", "--json").summary["nodes"] == 1
    assert not (user.home / "out").exists()


def test_a_canister_of_another_kind_is_told(user: User) -> None:
    node = canisters.create(user, 10 * TC)
    canisters.reinstall(user, node, counter_wasm())
    _everything(user, 33, node)
    user.fails(33, "node", "upgrade", node)


def test_a_canister_that_pretends_is_told(user: User) -> None:
    node = canisters.create(user, 10 * TC)
    canisters.reinstall(user, node, canisters.pretender(1, 1))
    for command in READING:
        user.fails(33, *command, "--node", node)
    canisters.reinstall(user, node, canisters.pretender(0, 1))
    user.fails(33, "node", "add", "old", node)


def test_an_empty_canister_is_told_and_can_be_made_a_node(user: User) -> None:
    node = canisters.create(user, 10 * TC)
    _everything(user, 22, node)
    user.fails(22, "node", "upgrade", node)
    user.ok("node", "add", "made", node, "--install")
    source = user.home / "m.safetensors"
    assert user.ok("upload", source, "--as", "m", "--node", "made")["version"] == 1


def test_a_canister_that_does_not_exist_is_told(user: User) -> None:
    nowhere = Principal(bytes.fromhex("80000000001fffff0101"))
    done = user.run("models", "--node", nowhere)
    assert done.code in {10, 23}, done.err
    source = checkpoint(user.home / "m.safetensors", 406)
    assert user.run("upload", source, "--as", "m", "--node", nowhere).code in {10, 23}
    assert user.run("models", "--node", "w7x7r-cok77-xa").code in {10, 23, 36}


def test_a_newer_interface_is_told(user: User) -> None:
    node = canisters.create(user, 10 * TC)
    canisters.reinstall(user, node, canisters.pretender(3, 1))
    _everything(user, 34, node)
    assert user.fails(34, "models", "--node", node).says("interface version 3", "upgrade")


def test_an_older_store_is_kept_as_it_is(user: User) -> None:
    node = canisters.create(user, 10 * TC)
    canisters.reinstall(user, node, canisters.pretender(2, 2))
    assert user.fails(34, "node", "upgrade", node).says("layout 2", "datanode copy")


def test_a_newer_store_is_not_downgraded(user: User) -> None:
    node = canisters.create(user, 10 * TC)
    newer = canisters.pretender(2, 4)
    canisters.reinstall(user, node, newer)
    assert user.fails(34, "node", "upgrade", node).says("layout 4", "nothing was changed")
    agent = user.agent()
    try:
        module = deploy.canister_status(agent, node).module_hash
    finally:
        agent.close()
    import hashlib

    assert module == hashlib.sha256(newer).digest()
