"""`datanode copy`: the same manifest on another node, each frame sent once, whatever breaks."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from datanode.node import registry
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader, VerifiedVersion
from tests.cli.stage import MakeUser, User, checkpoint
from tests.fakes.ledger_judge import Paid, paid

OpenVersion = Callable[[Principal, str], VerifiedVersion]


@pytest.fixture
def other(user: User) -> Principal:
    """A second node of the same network, under the name `b`."""
    user.patch.setenv("DATANODE_NODE", "main")
    return Principal.parse(user.ok("node", "create", "b", "--cycles", "40TC")["canister"])


def _paid(user: User, canister: Principal) -> Paid:
    return paid([entry for entry in user.net.ledger() if entry.canister == canister])


@pytest.fixture
def opened(user: User) -> Iterator[OpenVersion]:
    """Opens versions of models on any node."""
    with closing(user.agent()) as agent:

        def open_version(canister: Principal, model: str) -> VerifiedVersion:
            reader = Reader(CanisterNode(agent, canister), root_key=user.net.root_key)
            return reader.open_version(model)

        yield open_version


def _uploaded(user: User, model: str, seed: int, *, tensors: int = 3, size: int = 400_000) -> Path:
    folder = user.home / model
    checkpoint(folder / "model.safetensors", seed, tensors=tensors, size=size)
    (folder / "config.json").write_text(f'{{"seed": {seed}}}')
    user.ok("upload", folder, "--as", model, "--node", "main")
    return folder


def _frames(version: VerifiedVersion) -> list[bytes]:
    return [data for _, _, data in version.frames(enumerate(version.records()))]


def test_copy_has_same_manifest_and_frames(
    user: User, other: Principal, opened: OpenVersion
) -> None:
    folder = _uploaded(user, "m", 1)
    made = user.ok("copy", "m", "--from", "main", "--to", "b")
    assert (made["version"], made["known_bytes"], made["unchanged"]) == (1, 0, False)
    original, copied = opened(user.canister, "m"), opened(other, "m")
    assert made["manifest"] == original.manifest.hex() == copied.manifest.hex()
    assert _frames(original) == _frames(copied)
    assert copied.placement().nodes == (other,)
    assert _paid(user, other).twice_count == 0
    user.ok("fetch", "m", "back", "--node", "b")
    for path in ("model.safetensors", "config.json"):
        assert (user.home / "back" / path).read_bytes() == (folder / path).read_bytes()
    assert user.ok("audit", "m", "--node", "b")["verdict"] == "ok"


def test_second_copy_sends_nothing(user: User, other: Principal) -> None:
    _uploaded(user, "m", 2)
    user.ok("copy", "m", "--from", "main", "--to", "b")
    before = _paid(user, other)
    again = user.ok("copy", "m", "--from", "main", "--to", "b")
    assert (again["unchanged"], again["version"], again["sent_bytes"]) == (True, 1, 0)
    elsewhere = user.ok("copy", "m", "--from", "main", "--to", "b", "--state", "empty.db")
    assert elsewhere["unchanged"]
    assert _paid(user, other) == before


def test_copy_sends_only_what_the_target_lacks(
    user: User, other: Principal, opened: OpenVersion
) -> None:
    _uploaded(user, "first", 3, tensors=2)
    user.ok("copy", "first", "--from", "main", "--to", "b")
    before = _paid(user, other)
    checkpoint(user.home / "more" / "model.safetensors", 3, tensors=3, size=400_000)
    user.ok("upload", user.home / "more", "--as", "second", "--node", "main")
    records = set(opened(user.canister, "second").records())
    held = set(opened(other, "first").records())
    copied = user.ok("copy", "second", "--from", "main", "--to", "b", "--state", "empty.db")
    sent = _paid(user, other).stored_count - before.stored_count
    parts_count = 4  # head, one page of chunks, one of tensors, the placement record
    assert copied["frames"] == sent == len(records - held) + parts_count
    assert copied["known_bytes"] == sum(record.raw_bytes for record in records & held)
    assert _paid(user, other).twice_count == 0


def test_copy_under_another_name_on_the_same_node_pins(user: User) -> None:
    _uploaded(user, "m", 4)
    user.fails(2, "copy", "m", "--from", "main", "--to", "main")
    copied = user.ok("copy", "m", "--from", "main", "--to", "main", "--as", "n")
    assert copied["frames"] <= 1, "at most the placement record"
    assert copied["known_bytes"] == copied["raw_bytes"]
    assert user.ok("audit", "n", "--node", "main")["verdict"] == "ok"


def test_budget_ends_a_copy_and_the_next_run_resumes(user: User, other: Principal) -> None:
    _uploaded(user, "m", 5, tensors=4, size=1_500_000)
    command = ("copy", "m", "--from", "main", "--to", "b")
    done = user.fails(25, *command, "--max-cycles", 7_000_000_000)
    assert done.says("stored and paid", "larger --max-cycles"), done.err
    assert _paid(user, other).stored_count
    assert user.ok(*command)["version"] == 1
    assert _paid(user, other).twice_count == 0
    assert user.ok("audit", "m", "--node", "b")["verdict"] == "ok"


def test_resumes_with_an_empty_state(user: User, other: Principal) -> None:
    _uploaded(user, "m", 6, tensors=4, size=1_500_000)
    command = ("copy", "m", "--from", "main", "--to", "b")
    user.fails(25, *command, "--max-cycles", 7_000_000_000)
    assert user.ok(*command, "--state", "elsewhere.db")["version"] == 1
    assert _paid(user, other).twice_count == 0


def test_kill_loses_nothing_and_pays_nothing_twice(user: User, other: Principal) -> None:
    _uploaded(user, "m", 7, tensors=8, size=1_500_000)
    command = ("copy", "m", "--from", "main", "--to", "b", "--json")
    for stored_count in (1, 3, 5):
        process = user.start(*command)
        while process.poll() is None and _paid(user, other).stored_count < stored_count:
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert user.ok(*command[:-1])["version"] == 1
    assert _paid(user, other).twice_count == 0
    assert user.ok("audit", "m", "--node", "b")["verdict"] == "ok"


def test_source_deleted_in_the_midst_is_told(user: User, other: Principal) -> None:
    _uploaded(user, "m", 8, tensors=4, size=1_500_000)
    command = ("copy", "m", "--from", "main", "--to", "b")
    user.fails(25, *command, "--max-cycles", 7_000_000_000)
    user.ok("delete", "m", "--node", "main", "--yes")
    done = user.fails(10, *command)
    assert done.says("not on the node", "m"), done.err
    # The same content, uploaded again, has the same manifest: the copy goes on from there.
    user.ok("upload", user.home / "m", "--as", "m", "--node", "main", "--state", "new.db")
    user.ok(*command)
    assert _paid(user, other).twice_count == 0


def test_source_deleted_while_it_is_read(
    user: User, other: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _uploaded(user, "m", 9, tensors=4, size=1_500_000)
    original = CanisterNode.get_frames
    calls = 0

    def deleting(self: CanisterNode, *args: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            with user.node() as node:
                node.delete_model("m")
        return original(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(CanisterNode, "get_frames", deleting)
    done = user.fails(10, "copy", "m", "--from", "main", "--to", "b")
    assert done.says("is no longer there: it was deleted", "another node"), done.err


def test_another_version_in_the_midst_needs_a_word(user: User, other: Principal) -> None:
    _uploaded(user, "m", 10, tensors=4, size=1_500_000)
    command = ("copy", "m", "--from", "main", "--to", "b")
    user.fails(25, *command, "--max-cycles", 7_000_000_000)
    first = user.ok("show", "m", "--node", "main")["version"]
    checkpoint(user.home / "m" / "more.safetensors", 11)
    user.ok("upload", user.home / "m", "--as", "m", "--node", "main")
    done = user.fails(31, *command)
    assert done.says("--version", "--restart"), done.err
    assert user.ok(*command, "--version", first)["version"] == 1
    assert user.ok(*command)["version"] == 2
    assert _paid(user, other).twice_count == 0


def test_bad_input_sends_nothing(user: User, other: Principal) -> None:
    _uploaded(user, "m", 12)
    before = _paid(user, other)
    user.patch.setattr("datanode.command_context.WaitPolicy.__call__", lambda *_: None)
    for code, words, *args in (
        (10, "nothing", "nothing", "--from", "main", "--to", "b"),
        (10, "nowhere", "m", "--from", "nowhere", "--to", "b"),
        (10, "nowhere", "m", "--from", "main", "--to", "nowhere"),
        (10, "999", "m", "--from", "main", "--to", "b", "--version", "999"),
        (2, "not the name", "m", "--from", "main", "--to", "b", "--as", "a name"),
        (2, "--to", "m", "--from", "main"),
        (30, "127.0.0.1", "m", "--from", "b", "--to", "b", "--from-network", "http://127.0.0.1:9"),
    ):
        assert user.fails(code, "copy", *args).says(words)
    assert _paid(user, other) == before


def test_target_without_room_goes_on_when_it_can_grow(user: User, other: Principal) -> None:
    _uploaded(user, "m", 13, tensors=12, size=2_000_000)
    user.ok("localnet", "fault", "set", "no-growth", "--canister", other)
    try:
        done = user.fails(21, "copy", "m", "--from", "main", "--to", "b")
        assert done.says("copy to another node"), done.err
    finally:
        user.net.faults.clear()
    assert user.ok("copy", "m", "--from", "main", "--to", "b")["version"] == 1
    assert _paid(user, other).twice_count == 0


def test_damaged_source_frame_is_not_copied(user: User, other: Principal) -> None:
    _uploaded(user, "m", 14)
    user.flip("m", chunk=1)
    done = user.fails(40, "copy", "m", "--from", "main", "--to", "b")
    assert done.says("chunk 1", "datanode audit"), done.err
    assert user.run("models", "--node", "b", "--json").summary["models"] == 0


def test_model_of_somebody_else_is_copied_by_a_reader(
    user: User, other: Principal, stranger: MakeUser
) -> None:
    _uploaded(user, "m", 15)
    user.ok("publish", "m", "--node", "main")
    reader = stranger("reader")
    user.arrive()
    user.ok("grant", reader.principal, "uploader", "--node", "b")
    reader.arrive()
    copied = reader.ok("copy", "m", "--from", user.canister, "--to", other)
    assert copied["version"] == 1
    assert reader.ok("audit", "m", "--node", other)["verdict"] == "ok"


@pytest.fixture
def second_network(tmp_path: Path) -> Iterator[LocalNetwork]:
    with LocalNetwork(tmp_path / "second") as net:
        yield net


@pytest.mark.nightly
def test_copies_between_networks(
    user: User, second_network: LocalNetwork, opened: OpenVersion
) -> None:
    folder = _uploaded(user, "m", 16)
    url = second_network.url
    trust = ("--root-key", second_network.root_key.hex())
    user.ok("node", "create", "far", "--network", url, *trust)
    known = registry.nodes(user.config, network=url)
    command = ("copy", "m", "--from", user.canister, "--to", known["far"], "--to-network", url)
    copied = user.ok(*command, "--to-root-key", second_network.root_key.hex())
    assert copied["manifest"] == opened(user.canister, "m").manifest.hex()
    user.ok("fetch", "m", "back", "--node", "far", "--network", url, *trust)
    name = "model.safetensors"
    assert (user.home / "back" / name).read_bytes() == (folder / name).read_bytes()
