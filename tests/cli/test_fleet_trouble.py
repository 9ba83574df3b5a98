"""Members of a fleet that are stopped, frozen, full, no storage nodes, rolled back or taken."""

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, registry, snapshots
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.units import TC
from tests.agents import agent_of
from tests.cli import canisters
from tests.cli.stage import MakeUser, User, checkpoint
from tests.fakes.checkpoints import sealed
from tests.fakes.counter import counter_wasm
from tests.fakes.ledger_judge import paid
from uploader.state.location import locate
from uploader.state.upload_lock import Queueing, upload_lock

PUT = "put_frames"
UPLOAD = ("upload", "m.safetensors", "--as", "llama", "--node", "pair")


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
    checkpoint(user.home / "m.safetensors", 7, tensors=6, size=100_000)
    yield pair
    user.arrive()
    with closing(agent_of(user.net, user.pem)) as agent:
        for each in pair:
            canisters.wipe(agent, each)


def test_stopped_member_is_named_and_the_upload_goes_on_later(
    user: User, fleet: list[Principal]
) -> None:
    canisters.stop(user, fleet[1])
    assert user.fails(22, *UPLOAD).says(fleet[1].text)
    canisters.start(user, fleet[1])
    assert user.ok(*UPLOAD)["version"] == 1
    canisters.stop(user, fleet[1])
    promote = ("node", "promote", "pair", "--model", "llama")
    assert user.fails(22, *promote).says(fleet[1].text)
    user.fails(33, "generate", "llama", "hello", "--node", "pair")  # no member was changed
    for command in (("fetch", "llama", "back"), ("audit", "llama")):
        assert user.fails(22, *command, "--node", "pair").says(fleet[1].text)
    canisters.start(user, fleet[1])
    user.ok("audit", "llama", "--node", "pair")


def test_frozen_member_is_named_and_nothing_is_sent_until_it_is_fed(
    user: User, fleet: list[Principal]
) -> None:
    user.ok(*UPLOAD)
    checkpoint(user.home / "m.safetensors", 70, tensors=6, size=100_000)
    canisters.freeze(user, fleet[1], 10**12)
    last = user.net.ledger()[-1].sequence
    reading = (("fetch", "llama", "back", "--node", "pair"), ("audit", "llama", "--node", "pair"))
    for command in (UPLOAD, *reading):
        done = user.fails(20, *command)
        assert done.says(fleet[1].text, "out of cycles, or frozen", "top-up"), done.err
    assert paid(user.net.ledger(after=last)).frames_count == 0
    canisters.freeze(user, fleet[1], 0)
    assert user.ok(*UPLOAD)["version"] == 2


def test_too_little_room_is_refused_with_the_number_of_members_that_would_do(
    user: User, fleet: list[Principal], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("uploader.session.fleet_parts.MAX_STABLE_BYTES", 0)
        done = user.fails(21, *UPLOAD)
    assert done.says("2 members of the fleet", "1 empty members would do", "Nothing was sent")
    for each in fleet:
        user.fails(10, "show", "llama/.part", "--node", each)


def test_member_that_is_no_storage_node_is_named(user: User, fleet: list[Principal]) -> None:
    odd = canisters.create(user, 10 * TC)
    canisters.reinstall(user, odd, counter_wasm())
    path = user.config / "nodes.json"
    known = json.loads(path.read_text())
    for row in known["nodes"]:
        if row["name"] == "pair":
            row["members"] = [fleet[0].text, odd.text]  # edited by hand
    path.write_text(json.dumps(known))
    assert user.fails(33, *UPLOAD).says(odd.text)


def test_rolled_back_member_is_found_by_audit_and_not_believed_by_fetch(
    user: User, fleet: list[Principal]
) -> None:
    user.ok(*UPLOAD)
    with closing(agent_of(user.net, user.pem)) as agent:
        snapshots.stop(agent, fleet[1])
        taken = snapshots.take(agent, fleet[1])
        snapshots.start(agent, fleet[1])
        checkpoint(user.home / "m.safetensors", 8, tensors=6, size=100_000)
        assert user.ok(*UPLOAD)["version"] == 2
        snapshots.stop(agent, fleet[1])
        snapshots.load(agent, fleet[1], taken.id)
        snapshots.start(agent, fleet[1])
        assert user.fails(24, "audit", "llama", "--node", "pair").says(fleet[1].text)
        assert user.fails(24, "fetch", "llama", "back", "--node", "pair").says(fleet[1].text)
        last = user.net.ledger()[-1].sequence
        assert user.fails(24, *UPLOAD).says(fleet[1].text)
        assert paid(user.net.ledger(after=last)).frames_count == 0
        snapshots.delete(agent, fleet[1], taken.id)


def test_two_identities_do_not_mix_in_one_fleet(
    user: User, fleet: list[Principal], stranger: MakeUser
) -> None:
    guest = stranger("guest")
    user.arrive()
    for each in fleet:
        with closing(agent_of(user.net, user.pem)) as agent:
            CanisterNode(agent, each).begin_upload("llama/.part", frames_count=1, frame_bytes=0)
    user.ok("grant", guest.principal, "uploader", "--node", "pair")
    guest.arrive()
    registry.add(guest.config, "pair", *fleet, network="local")
    checkpoint(guest.home / "m.safetensors", 9, tensors=6, size=100_000)
    last = user.net.ledger()[-1].sequence
    done = guest.fails(11, *UPLOAD)
    assert done.says("lease", "--takeover", "member"), done.err
    assert paid(user.net.ledger(after=last)).frames_count == 0
    user.arrive()
    assert user.ok(*UPLOAD)["version"] == 1


def test_two_uploads_of_one_identity_to_overlapping_fleets_wait_for_each_other(
    user: User, fleet: list[Principal]
) -> None:
    with closing(user.agent()) as agent:
        location = locate(None, root_key=agent.network.root_key)
    held = upload_lock(location, fleet[1], user.principal, "another", Queueing())
    with held:
        done = user.fails(11, *UPLOAD, "--no-wait")
    assert done.says("another upload", "nothing was sent"), done.err
    assert user.ok(*UPLOAD, "--no-wait")["version"] == 1


def test_member_that_lost_everything_is_made_whole_by_the_same_upload(
    user: User, fleet: list[Principal]
) -> None:
    user.ok(*UPLOAD)
    with closing(agent_of(user.net, user.pem)) as agent:
        canisters.wipe(agent, fleet[1])
    done = user.fails(43, "audit", "llama", "--node", "pair")
    assert done.says(f"member {fleet[1]} does not hold its part"), done.err
    last = user.net.ledger()[-1].sequence
    again = user.ok(*UPLOAD)
    assert (again["version"], again["unchanged"]) == (1, False)
    stored = {entry.canister for entry in user.net.ledger(after=last) if entry.method == PUT}
    assert stored == {fleet[1]}
    assert user.ok("audit", "llama", "--node", "pair")["verdict"] == "ok"


@pytest.mark.nightly
@pytest.mark.parametrize("kind", ["lie", "bad-signature", "foreign-certificate"])
def test_lying_member_is_named_by_audit_and_not_believed_by_fetch(
    user: User, fleet: list[Principal], kind: str
) -> None:
    user.ok(*UPLOAD)
    user.net.faults.set(kind, canister=fleet[1])
    audit = user.run("audit", "llama", "--node", "pair")
    fetch = user.run("fetch", "llama", "back", "--node", "pair")
    user.net.faults.clear()
    for done in (audit, fetch):
        assert done.code != 0, done.out
        assert fleet[1].text in done.err + done.out
    assert not list((user.home / "back").glob("*.safetensors"))


@pytest.mark.nightly
def test_member_with_another_part_is_named_by_audit_and_not_believed_by_fetch(
    user: User, fleet: list[Principal]
) -> None:
    user.ok(*UPLOAD)
    with closing(agent_of(user.net, user.pem)) as agent:
        canisters.wipe(agent, fleet[1])
        sealed(CanisterNode(agent, fleet[1]), "llama/.part")
    for code, words in ((24, "another manifest"), (43, "certifies another part of llama")):
        for command in (("audit", "llama"), ("fetch", "llama", "back")):
            done = user.fails(code, *command, "--node", "pair")
            assert done.says(fleet[1].text, words), done.err
        shutil.rmtree(user.home / ".local")  # who has never seen the right part
    assert not list((user.home / "back").glob("*.safetensors"))
