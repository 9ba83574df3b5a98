"""One model on several nodes: uploaded, fetched byte for byte, resumed without paying twice."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import datanode
from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.errors import UnknownOutcomeError, UsageError
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, registry
from datanode.node.canister import CanisterNode
from datanode.node.port import Refused, Settled
from datanode.principal import Principal
from tests.agents import agent_of
from tests.cli import canisters
from tests.cli.fleet_stage import BLOCKS, files_of, llama_folder
from tests.cli.stage import MakeUser, User
from tests.fakes.ledger_judge import paid
from tests.fakes.model_signer import ModelSigner

NOTHING, PART_WITHOUT_INDEX = 10, 43
"""Exit codes of a model of which a member shows nothing, or its part alone."""


@pytest.fixture(scope="module")
def trio(network: LocalNetwork, owner_pem: Path) -> list[Principal]:
    """Three nodes of the user, for all tests of this file."""
    with closing(agent_of(network, owner_pem)) as agent:
        return [deploy.create_node(agent) for _ in range(3)]


@pytest.fixture
def fleet(user: User, trio: list[Principal]) -> Iterator[list[str]]:
    """A fleet of three empty nodes, called `trio`."""
    registry.add(user.config, "trio", *trio, network="local")
    yield [each.text for each in trio]
    with closing(agent_of(user.net, user.pem)) as agent:
        for each in trio:
            canisters.wipe(agent, each)


@pytest.mark.parametrize(
    "lost",
    [*(pytest.param(n, marks=pytest.mark.nightly) for n in (1, 2, 3)), 4],
)
def test_lost_answer_to_a_seal_costs_nothing_and_shows_nothing_half(
    user: User, fleet: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    source = llama_folder(tmp_path / "model", seed=lost)
    after = user.net.ledger()[-1].sequence
    command = ("upload", source, "--as", "llama", "--node", "trio")
    real, calls = CanisterNode.seal_model, 0

    def losing(node: CanisterNode, *args: object, **more: object) -> int:
        nonlocal calls
        version: int = real(node, *args, **more)  # type: ignore[arg-type]
        calls += 1
        if calls == lost:
            raise UnknownOutcomeError("the answer was lost")
        return version

    with monkeypatch.context() as patch:
        patch.setattr(CanisterNode, "seal_model", losing)
        failed = user.fails(37, *command)
    assert failed.says("member" if lost <= 3 else "the answer was lost")
    if lost <= 3:
        shown = user.run("show", "llama", "--node", fleet[0])
        assert shown.code in {NOTHING, PART_WITHOUT_INDEX}, shown.err  # as far as the run came
    assert user.ok(*command)["version"] == 1
    user.ok("fetch", "llama", tmp_path / "back", "--node", "trio")
    assert files_of(tmp_path / "back") == files_of(source)
    verdict = paid(user.net.ledger(after=after))
    assert verdict.twice_count == 0
    assert verdict.stored_count == verdict.frames_count


def test_model_comes_back_from_three_nodes_byte_for_byte(
    user: User, fleet: list[str], tmp_path: Path
) -> None:
    source = llama_folder(tmp_path / "model")
    sealed = user.ok("upload", source, "--as", "llama", "--node", "trio")
    assert sealed["version"] == 1
    user.ok("fetch", "llama", tmp_path / "back", "--node", "trio")
    assert files_of(tmp_path / "back") == files_of(source)
    # whoever knows only the coordinator reads it too
    user.ok("fetch", "llama", tmp_path / "again", "--node", fleet[0])
    assert files_of(tmp_path / "again") == files_of(source)

    for member in fleet:
        part = user.ok("show", "llama/.part", "--node", member)
        assert part["version"] == 1
    again = user.ok("upload", source, "--as", "llama", "--node", "trio")
    assert again["sent_bytes"] == 0
    assert again["version"] == 1


def test_model_over_three_nodes_is_signed_and_fetched_as_signed(
    user: User, fleet: list[str], tmp_path: Path
) -> None:
    private, public = ModelSigner().write(tmp_path)
    source = llama_folder(tmp_path / "model")
    user.ok("upload", source, "--as", "llama", "--node", "trio")
    signed = user.ok("sign", "llama", "--key", private, "--node", "trio")
    assert signed["signature"]["covered"] == len(files_of(source))
    verify = ("--node", "trio", "--verify-signature", "--public-key", public)
    user.ok("fetch", "llama", tmp_path / "back", *verify, "--signature", "model.sig")
    assert files_of(tmp_path / "back") == files_of(source)
    report = tmp_path / "report.json"
    audit = ("audit", "llama", "--sample", 1, *verify, "--report", report)
    audited = user.ok(*audit, "--signature", "model.sig")
    assert (audited["verdict"], "covers" in audited["signature"]) == ("ok", True)
    offline = ("audit", "--verify", report, "llama", *verify)
    assert user.run(*offline).says("signature: ", "covers", "ok")
    _assert_signature_cannot_be_altered(user, report, offline)
    done = user.run(*audit, "--json")
    assert (done.code, done.summary["verdict"]) == (44, "unsigned")
    assert user.fails(44, *offline).says("signature")


def _assert_signature_cannot_be_altered(
    user: User, report: Path, offline: tuple[object, ...]
) -> None:
    text = report.read_text()
    content = json.loads(text)
    without = {name: value for name, value in content.items() if name != "signature"}
    report.write_text(json.dumps(without, indent=1))
    assert user.fails(23, *offline).says("does not say whether the given key signed")
    part = json.loads(content["reports"][1])["proof"]["head"]
    other = base64.b64decode(part).hex()  # a head that is certified, of another version
    report.write_text(json.dumps({**content, "head": other}, indent=1))
    assert user.fails(23, *offline).says("head in the report")
    evidence = {**content["signature"], "bundles": {"model.sig": ""}}
    report.write_text(json.dumps({**content, "signature": evidence}, indent=1))
    user.fails(44, *offline)
    report.write_text(text)


def test_model_over_three_nodes_is_shown_loaded_and_audited_as_one(
    user: User, fleet: list[str], tmp_path: Path
) -> None:
    source = llama_folder(tmp_path / "model")
    user.ok("upload", source, "--as", "llama", "--node", "trio")
    listed = user.run("models", "--node", "trio", "--json").results
    (row,) = [each for each in listed if "model" in each]
    total = sum(len(data) for data in files_of(source).values())
    assert (row["model"], row["members"], row["raw_bytes"]) == ("llama", fleet, total)
    assert user.run("models", "--node", fleet[1]).says("1 parts of models")
    shown = user.run("show", "llama", "--node", "trio", "--json").results
    assert {each["path"] for each in shown if each.get("kind") == "file"} == set(files_of(source))

    arrays = datanode.load_tensors("llama", node="trio", include=["*layers.5*", "*embed*"])
    raw = (source / "model-00002-of-00002.safetensors").read_bytes()
    assert arrays["model.layers.5.mlp.weight"].tobytes() in raw
    tensor = datanode.open_tensor("llama", "model.layers.3.mlp.weight", node="trio")
    with tensor:
        assert tensor[7].tobytes() in raw
    assert datanode.audit("llama", node="trio", sample=5).verdict == "ok"
    same = datanode.upload(source, "llama", node="trio", rebalance=True)
    assert (same.version, same.unchanged) == (1, True)
    with pytest.raises(UsageError, match="between members"):
        datanode.upload(source, "llama", node=fleet[1], rebalance=True)

    report = tmp_path / "report.json"
    audited = user.ok("audit", "llama", "--node", "trio", "--report", report)
    assert (audited["verdict"], audited["members"]) == ("ok", fleet)
    user.ok("audit", "--verify", report, "--node", "trio", "llama")
    user.fails(23, "audit", "--verify", report, "other")
    whole = json.loads(report.read_text())
    for altered in (whole["reports"][:-1], [whole["reports"][0], *whole["reports"][:0:-1]]):
        report.write_text(json.dumps({**whole, "reports": altered}, indent=1))
        user.fails(23, "audit", "--verify", report)


def test_flipped_bit_is_found_with_its_member_and_repaired(
    user: User, fleet: list[str], trio: list[Principal], tmp_path: Path
) -> None:
    source = llama_folder(tmp_path / "model")
    user.ok("upload", source, "--as", "llama", "--node", "trio")
    there = User(user.home, user.net, trio[2], user.capture, user.patch)
    there.flip("llama/.part", chunk=2)
    assert user.fails(40, "audit", "llama", "--node", "trio").says(fleet[2])
    fetched = user.fails(40, "fetch", "llama", tmp_path / "x", "--node", "trio")
    assert fetched.says(f"member {fleet[2]}: chunk")
    user.ok("audit", "llama", "--node", "trio", "--repair", source)
    user.ok("audit", "llama", "--node", "trio")


@pytest.mark.nightly
def test_deleted_part_is_told_with_its_member(user: User, fleet: list[str], tmp_path: Path) -> None:
    source = llama_folder(tmp_path / "model")
    user.ok("upload", source, "--as", "llama", "--node", "trio")
    user.ok("delete", "llama/.part", "--node", fleet[1], "--yes")
    for command in (("audit", "llama"), ("fetch", "llama", tmp_path / "y"), ("show", "llama")):
        assert user.fails(43, *command, "--node", "trio").says(fleet[1])
    user.ok("upload", source, "--as", "llama", "--node", "trio", "--restart")
    user.ok("fetch", "llama", tmp_path / "back", "--node", "trio")
    assert files_of(tmp_path / "back") == files_of(source)


def test_access_is_changed_on_all_members(
    user: User, fleet: list[str], stranger: MakeUser, tmp_path: Path
) -> None:
    source = llama_folder(tmp_path / "model")
    user.ok("upload", source, "--as", "llama", "--node", "trio")
    guest = stranger("guest")
    fetch = ("fetch", "llama", tmp_path / "back", "--node", fleet[0])
    guest.fails(10, *fetch)
    user.arrive()
    user.ok("grant", guest.principal, "--model", "llama", "--node", "trio")
    guest.arrive()
    guest.ok(*fetch)
    user.arrive()
    user.ok("revoke", guest.principal, "--model", "llama", "--node", "trio")
    user.ok("publish", "llama", "--node", "trio")
    assert user.run("doctor").says("fleet trio", "3 members, 1 models over them")
    guest.arrive()
    guest.ok("fetch", "llama", tmp_path / "again", "--node", fleet[0])
    user.arrive()
    user.ok("unpublish", "llama/.part", "--node", fleet[2])
    assert user.run("doctor").says(fleet[2], "datanode publish llama --node trio")
    user.ok("publish", "llama", "--node", "trio")
    user.ok("grant", guest.principal, "--model", "llama/.part", "--node", fleet[1])
    command = f"datanode revoke {guest.principal} reader --model llama --node trio"
    assert user.run("doctor").says(fleet[1], command)
    user.ok(*command.split()[1:])
    assert not user.run("doctor").says("has other roles")
    user.ok("transfer", "llama/.part", guest.principal, "--yes", "--node", fleet[2])
    assert user.run("doctor").says(fleet[2], f"datanode transfer llama {guest.principal}")
    user.ok("transfer", "llama", guest.principal, "--yes", "--node", "trio")
    assert user.run("grants", "llama", "--node", "trio").says(f"owned by {guest.principal}")
    assert not user.run("doctor").says("belongs to")


@pytest.mark.nightly
def test_deletion_takes_the_parts_that_no_other_version_needs(
    user: User, fleet: list[str], tmp_path: Path
) -> None:
    source = llama_folder(tmp_path / "model")
    user.ok("upload", source, "--as", "llama", "--node", "trio")
    shard = source / "model-00002-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-2] + b"\x12\x34")  # the last weights of the last block
    assert user.ok("upload", source, "--as", "llama", "--node", "trio")["version"] == 2
    user.ok("delete", "llama", "--version", "1", "--yes", "--node", "trio")
    user.ok("fetch", "llama", tmp_path / "back", "--node", "trio")
    assert files_of(tmp_path / "back") == files_of(source)
    user.ok("delete", "llama", "--yes", "--node", "trio")
    assert user.ok("gc", "--force", "--node", "trio")["frames"] > 0
    for member in fleet:
        assert user.run("models", "--node", member, "--json").results[-1]["models"] == 0
        user.fails(10, "show", "llama/.part", "--node", member)
    user.fails(10, "delete", "llama", "--yes", "--node", "trio")


def test_deletion_that_broke_off_is_finished_by_the_same_command(
    user: User, fleet: list[str], tmp_path: Path
) -> None:
    user.ok("upload", llama_folder(tmp_path / "model"), "--as", "llama", "--node", "trio")
    with closing(agent_of(user.net, user.pem)) as agent:
        CanisterNode(agent, Principal.parse(fleet[0])).delete_model("llama")
    assert user.run("doctor").says("no index", "datanode delete llama --node trio")
    user.ok("delete", "llama", "--yes", "--node", "trio")
    assert not user.run("doctor").says("no index")


def _judged(user: User, *args: object) -> tuple[int, int]:
    """Run an upload over the fleet; returns frames stored, and frames paid twice."""
    after = user.net.ledger()[-1].sequence
    user.ok("upload", *args, "--as", "llama", "--node", "trio")
    verdict = paid(user.net.ledger(after=after))
    return verdict.stored_count, verdict.twice_count


@pytest.mark.nightly
def test_tensors_stay_where_they_are_until_they_are_rebalanced(
    user: User, fleet: list[str], tmp_path: Path
) -> None:
    _judged(user, llama_folder(tmp_path / "model"))
    more = llama_folder(tmp_path / "more", blocks=BLOCKS + 4)
    for path in list(user.state.glob("*.db*")):
        path.unlink()  # another machine has no record: the latest version tells
    (tmp_path / "same").mkdir()
    stored, twice = _judged(user, llama_folder(tmp_path / "same", seed=1))
    assert (stored, twice) == (0, 0)
    sticky, twice = _judged(user, more)
    assert twice == 0
    moved, twice = _judged(user, more, "--rebalance")
    assert twice == 0
    assert 0 < moved < sticky
    user.ok("fetch", "llama", tmp_path / "back", "--node", "trio")
    assert files_of(tmp_path / "back") == files_of(more)
    user.fails(2, "upload", more, "--as", "x", "--node", fleet[0], "--rebalance")


@pytest.mark.nightly
def test_interrupted_upload_is_continued_with_its_placement(
    user: User, fleet: list[str], tmp_path: Path
) -> None:
    _judged(user, llama_folder(tmp_path / "model"))
    more = llama_folder(tmp_path / "more", seed=2, blocks=BLOCKS + 4)
    after = user.net.ledger()[-1].sequence
    command = ("upload", more, "--as", "llama", "--node", "trio")
    user.fails(25, *command, "--max-cycles", 700_000_000)
    user.ok(*command, "--rebalance")
    assert paid(user.net.ledger(after=after)).twice_count == 0
    user.ok("fetch", "llama", tmp_path / "back", "--node", "trio")
    assert files_of(tmp_path / "back") == files_of(more)


@pytest.mark.nightly
def test_copy_joins_a_model_over_three_nodes_on_one(
    user: User, fleet: list[str], tmp_path: Path
) -> None:
    source = llama_folder(tmp_path / "model")
    user.ok("upload", source, "--as", "llama", "--node", "trio")
    user.ok("copy", "llama", "--from", "trio", "--to", "main")
    user.ok("fetch", "llama", tmp_path / "back", "--node", "main")
    assert files_of(tmp_path / "back") == files_of(source)
    # the manifest of the whole is that of a single node: nothing is left to seal
    assert user.ok("upload", source, "--as", "llama", "--node", "main")["version"] == 1
    user.fails(2, "copy", "llama", "--from", "trio", "--to", "trio")
    assert fleet


def test_index_that_was_never_sealed_gives_way_to_another(
    user: User, fleet: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = llama_folder(tmp_path / "model")
    command = ("upload", source, "--as", "llama", "--node", "trio")
    real = CanisterNode.seal_model

    def failing(node: CanisterNode, lease: int, model: str, **more: Any) -> int:
        if model == "llama":
            raise UnknownOutcomeError("the message was lost")
        return real(node, lease, model, **more)

    with monkeypatch.context() as patch:
        patch.setattr(CanisterNode, "seal_model", failing)
        user.fails(37, *command)
    (source / "tokenizer.json").write_text('{"model": {"other": 1}}')
    assert user.ok(*command)["version"] == 1
    user.ok("fetch", "llama", tmp_path / "back", "--node", fleet[0])
    assert files_of(tmp_path / "back") == files_of(source)


def test_slow_member_does_not_hold_up_the_others(
    user: User, fleet: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second member answers to no message until the others have sealed their parts."""
    others = threading.Semaphore(0)
    seal, send = CanisterNode.seal_model, CanisterNode.send
    waited: list[bool] = []

    def sealing(node: CanisterNode, lease: int, model: str, **more: Any) -> int:
        version = seal(node, lease, model, **more)
        others.release()
        return version

    def slow(node: CanisterNode, message: SignedMessage) -> Settled | Refused | Unsettled:
        if node.principal.text == fleet[1] and not waited:
            waited.append(others.acquire(timeout=120) and others.acquire(timeout=120))
        return send(node, message)

    monkeypatch.setattr(CanisterNode, "seal_model", sealing)
    monkeypatch.setattr(CanisterNode, "send", slow)
    source = llama_folder(tmp_path / "model")
    assert user.ok("upload", source, "--as", "llama", "--node", "trio")["version"] == 1
    assert waited == [True]
