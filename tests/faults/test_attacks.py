"""Audits and uploads on a network that lies, forgets or starves: found, with its exit code."""

from collections.abc import Iterator

import pytest

from datanode.principal import Principal
from datanode.reader import Reader
from tests.cli.stage import User, checkpoint


@pytest.fixture
def own(user: User) -> Iterator[User]:
    """A user with a node of their own and a model in it, on a network without faults."""
    made = user.ok("node", "create", "own", "--cycles", "20TC")
    user.patch.setenv("DATANODE_NODE", "own")
    user.canister = Principal.parse(made["canister"])
    user.net.faults.clear()
    user.ok("upload", _source(user, 1), "--as", "m")
    yield user
    user.net.faults.clear()


def _source(user: User, seed: int) -> object:
    path = user.home / f"{seed}" / "m.safetensors"
    return checkpoint(path, 7_000 + seed, tensors=3, size=200_000)


def _fault(user: User, kind: str, *options: object) -> None:
    user.ok("localnet", "fault", "set", kind, "--canister", user.canister, *options)


def _frame_offset(user: User) -> tuple[int, int]:
    """Where the frame of the second chunk lies, and how long it is."""
    with user.node() as node:
        version = Reader(node, root_key=user.net.root_key).open_version("m")
        (frame,) = node.get_frames("m", version.manifest, [1])
    assert isinstance(frame, bytes)
    offset = user.net.find(user.canister, frame)
    assert offset is not None
    return offset, len(frame)


def test_a_flipped_byte_is_corruption(own: User) -> None:
    offset, length = _frame_offset(own)
    own.ok("localnet", "fault", "flip", own.canister, "--offset", offset + length - 1)
    own.fails(40, "audit", "m")


def test_an_erased_frame_is_corruption_and_repaired(own: User) -> None:
    offset, length = _frame_offset(own)
    own.ok("localnet", "fault", "erase", own.canister, "--offset", offset, "--length", length)
    own.fails(40, "audit", "m")
    own.ok("audit", "m", "--repair", _source(own, 1))
    assert own.ok("audit", "m")["verdict"] == "ok"


@pytest.mark.parametrize(
    ("fault", "options", "code"),
    [
        ("bad-signature", [], 23),
        ("foreign-certificate", ["--verb", "query"], 23),
        ("foreign-certificate", ["--verb", "read_state"], 23),
        ("old-certificate", ["--verb", "query", "--age-s", 900], 23),
        ("old-certificate", ["--verb", "read_state", "--age-s", 900], 23),
        ("pruned-certificate", ["--verb", "query"], 23),
        ("lie", ["--method", "get_frames"], 40),
        ("lie", ["--method", "get_manifest"], 40),
        ("lie", ["--method", "witness", "--at", 300], 23),
        ("skew", ["--s", 600], 23),
        ("skew", ["--s", -600], 23),
    ],
)
def test_an_audit_on_a_network_that_lies_finds_it(
    own: User, fault: str, options: list[object], code: int
) -> None:
    assert own.ok("audit", "m")["verdict"] == "ok"
    if fault == "skew":
        own.ok("localnet", "fault", "set", fault, *options)
    else:
        _fault(own, fault, *options)
    own.fails(code, "audit", "m")
    own.ok("localnet", "fault", "clear")
    assert own.ok("audit", "m")["verdict"] == "ok"


def test_a_state_that_was_put_back_is_a_rollback_for_whoever_has_seen_more(own: User) -> None:
    own.ok("localnet", "fault", "mark", own.canister)
    own.ok("upload", _source(own, 2), "--as", "m")
    assert own.ok("audit", "m")["version"] == 2
    own.ok("localnet", "fault", "rollback", own.canister)
    own.fails(24, "audit", "m")


def test_a_stale_replica_is_a_rollback_for_whoever_has_seen_more(own: User) -> None:
    own.ok("localnet", "fault", "mark", own.canister, "--as", "early")
    own.ok("upload", _source(own, 2), "--as", "m")
    assert own.ok("audit", "m")["version"] == 2
    _fault(own, "stale-query", "--mark", "early")
    own.fails(24, "audit", "m")
    own.ok("localnet", "fault", "clear")
    assert own.ok("audit", "m")["version"] == 2


def test_an_upload_after_a_rollback_sends_what_is_lost_and_ends_whole(own: User) -> None:
    own.ok("localnet", "fault", "mark", own.canister)
    own.ok("upload", _source(own, 3), "--as", "n")
    own.ok("localnet", "fault", "rollback", own.canister)
    own.ok("upload", _source(own, 3), "--as", "n")
    own.ok("fetch", "n", "back")
    source = own.home / "3" / "m.safetensors"
    assert (own.home / "back" / source.name).read_bytes() == source.read_bytes()


def test_a_node_that_cannot_grow_is_full_and_goes_on_when_it_can(own: User) -> None:
    source = checkpoint(own.home / "big" / "m.safetensors", 7_100, tensors=13, size=1_500_000)
    _fault(own, "no-growth")
    done = own.fails(21, "upload", source, "--as", "big")
    assert done.says("cannot grow its memory"), done.err
    own.ok("localnet", "fault", "clear")
    own.ok("upload", source, "--as", "big")
    assert own.ok("audit", "big")["verdict"] == "ok"


def test_a_drained_node_says_so_and_goes_on_when_it_is_topped_up(own: User) -> None:
    source = _source(own, 4)
    own.ok("localnet", "fault", "drain", own.canister)
    own.fails(20, "upload", source, "--as", "poor")
    own.ok("node", "top-up", "own", "--cycles", "20TC")
    own.ok("upload", source, "--as", "poor")
    assert own.ok("audit", "poor")["verdict"] == "ok"


def test_a_node_without_any_cycles_is_out_of_cycles_too(own: User) -> None:
    own.ok("localnet", "fault", "drain", own.canister, "--to", "zero")
    assert own.run("upload", _source(own, 5), "--as", "poor").code == 20
