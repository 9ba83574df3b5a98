"""`datanode copy` where the source, the target or both are fleets."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from datanode.errors import NetworkError
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, registry
from datanode.principal import Principal
from tests.agents import agent_of
from tests.cli import canisters
from tests.cli.fleet_stage import files_of, llama_folder
from tests.cli.stage import User
from tests.fakes.ledger_judge import Paid, paid
from uploader.session import fleet_readdress


@pytest.fixture(scope="module")
def five(network: LocalNetwork, owner_pem: Path) -> list[Principal]:
    """Five nodes of the user, for all tests of this file."""
    with closing(agent_of(network, owner_pem)) as agent:
        return [deploy.create_node(agent) for _ in range(5)]


@pytest.fixture
def source(user: User, five: list[Principal], tmp_path: Path) -> Iterator[Path]:
    """A checkpoint, and two fleets of empty nodes: `pair` and `trio`."""
    registry.add(user.config, "pair", *five[:2], network="local")
    registry.add(user.config, "trio", *five[2:], network="local")
    yield llama_folder(tmp_path / "model")
    with closing(agent_of(user.net, user.pem)) as agent:
        for each in five:
            canisters.wipe(agent, each)


def _judged(user: User, *args: object, code: int = 0) -> Paid:
    """Run a copy; returns what was paid for, and what of it twice."""
    after = user.net.ledger()[-1].sequence
    done = user.run("copy", "llama", *args)
    assert done.code == code, done.err
    return paid(user.net.ledger(after=after))


def _manifest(user: User, model: str, node: object) -> str:
    shown: str = user.ok("show", model, "--node", node)["manifest"]
    return shown


def _assert_same(user: User, source: Path, node: str, *, original: str) -> None:
    user.ok("fetch", "llama", user.home / f"back-{node}", "--node", node)
    assert files_of(user.home / f"back-{node}") == files_of(source)
    assert _manifest(user, "llama", node) == _manifest(user, "llama", original)
    assert user.ok("audit", "llama", "--node", node)["verdict"] == "ok"


def test_larger_fleet_takes_the_parts_of_another_as_they_are(
    user: User, five: list[Principal], source: Path
) -> None:
    user.ok("upload", source, "--as", "llama", "--node", "pair")
    copy = ("--from", "pair", "--to", "trio")
    assert _judged(user, *copy).twice_count == 0
    assert _manifest(user, "llama", "trio") == _manifest(user, "llama", "pair")
    for original, copied in zip(five[:2], five[2:4], strict=True):
        manifests = {_manifest(user, "llama/.part", each) for each in (original, copied)}
        assert len(manifests) == 1
    assert _judged(user, *copy).frames_count == 0
    for each in five[:2]:
        canisters.stop(user, each)  # the copy needs nothing of the original
    user.ok("fetch", "llama", user.home / "alone", "--node", "trio")
    assert files_of(user.home / "alone") == files_of(source)
    for each in five[:2]:
        canisters.start(user, each)


@pytest.mark.nightly
def test_interrupted_copy_to_a_fleet_resumes(user: User, source: Path) -> None:
    user.ok("upload", source, "--as", "llama", "--node", "pair")
    copy = ("--from", "pair", "--to", "trio")
    interrupted = _judged(user, *copy, "--max-cycles", 900_000_000, code=25)
    assert interrupted.stored_count > 0
    assert interrupted.twice_count == _judged(user, *copy).twice_count == 0
    _assert_same(user, source, "trio", original="pair")


@pytest.mark.nightly
def test_node_and_smaller_fleet_get_a_model_that_is_cut_anew(user: User, source: Path) -> None:
    user.ok("upload", source, "--as", "llama", "--node", "main")
    assert _judged(user, "--from", "main", "--to", "trio").twice_count == 0
    _assert_same(user, source, "trio", original="main")
    assert _judged(user, "--from", "trio", "--to", "pair").twice_count == 0
    _assert_same(user, source, "pair", original="trio")
    assert _judged(user, "--from", "trio", "--to", "pair").frames_count == 0
    user.ok("delete", "llama", "--yes", "--node", "main")


@pytest.mark.nightly
def test_model_stays_readable_on_a_fleet_that_shares_members(
    user: User, five: list[Principal], source: Path
) -> None:
    registry.add(user.config, "mixed", five[1], five[2], network="local")
    user.ok("upload", source, "--as", "llama", "--node", "pair")
    assert _judged(user, "--from", "pair", "--to", "mixed").twice_count == 0
    for node in ("pair", "mixed"):
        _assert_same(user, source, node, original="pair")
    done = user.fails(2, "copy", "llama", "--from", "pair", "--to", "pair")
    assert done.says("same node"), done.err


@pytest.mark.nightly
def test_cloned_fleet_is_read_from_its_own_members_at_once(
    user: User, five: list[Principal], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.ok("upload", source, "--as", "llama", "--node", "pair")
    registry.add(user.config, "twin", *five[2:4], network="local")
    last = user.net.ledger()[-1].sequence
    with monkeypatch.context() as patch:
        patch.setattr(fleet_readdress, "upload_index", _unanswered)
        done = user.fails(30, "node", "clone", "pair", "twin")
        assert done.says("all members are cloned"), done.err
    done = user.run("node", "clone", "pair", "twin")  # goes on: nothing is loaded again
    assert done.code == 0, done.err
    assert done.says("llama is read from the members of the copy"), done.err
    loads = [e for e in user.net.ledger(after=last) if e.method == "load_canister_snapshot"]
    assert len(loads) == len(five[2:4])
    assert not list(user.state.glob("clones/*.json"))
    judged = paid(user.net.ledger(after=last))
    assert judged.twice_count == 0
    assert judged.frames_count < 10  # records of placement, the index and its manifest
    for each in five[:2]:
        canisters.stop(user, each)
    user.ok("fetch", "llama", user.home / "alone", "--node", "twin")
    assert files_of(user.home / "alone") == files_of(source)
    for each in five[:2]:
        canisters.start(user, each)


def _unanswered(*_: object) -> object:
    raise NetworkError("no answer")
