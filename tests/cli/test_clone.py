"""`datanode node clone`: a whole node by snapshot, proven, whatever breaks on the way."""

import os
import signal
from collections import Counter
from contextlib import closing

import pytest

from datanode.errors import CyclesError, NetworkError
from datanode.localnet.state.compiled_modules import CHECKPOINT_INTERVAL_NS
from datanode.localnet.state.ledger import BillEntry
from datanode.node import clone_journal, deploy, snapshots, subnets
from datanode.node.port import Settled
from datanode.principal import Principal
from datanode.units import SECOND_NS, TC
from tests.bench.rig import noise_frames, timeless_cycles
from tests.cli import canisters
from tests.cli.stage import MakeUser, User, checkpoint
from uploader.cli import main


@pytest.fixture
def own(user: User) -> User:
    """A user with a node `src` of their own that holds a model."""
    return _with_source(user)


@pytest.fixture
def alone(mortal: User) -> User:
    """The same on a network of their own, whose time may pass."""
    return _with_source(mortal)


def _with_source(user: User) -> User:
    made = user.ok("node", "create", "src", "--cycles", "40TC")
    user.canister = Principal.parse(made["canister"])
    _grow(user, 1)
    return user


def _grow(user: User, seed: int) -> None:
    """Put another model into the source."""
    source = checkpoint(user.home / f"{seed}.safetensors", 9_000 + seed)
    user.ok("upload", source, "--as", f"m{seed}", "--node", "src")


def _calls(user: User, method: str, *, of: Principal | None = None, after: int = 0) -> int:
    """Count the calls of a method that a canister paid for, by default the source."""
    wanted = (method, of or user.canister, "replied")
    entries = user.net.ledger(after=after)
    return sum((entry.method, entry.canister, entry.status) == wanted for entry in entries)


def _status(user: User, canister: Principal) -> str:
    with closing(user.agent()) as agent:
        return deploy.canister_status(agent, canister).status


def _snapshots(user: User) -> list[snapshots.Snapshot]:
    with closing(user.agent()) as agent:
        return snapshots.listed(agent, user.canister)


def _known(user: User, name: str) -> Principal:
    nodes = user.run("node", "list", "--json").results
    return Principal.parse(next(n["canister"] for n in nodes if n.get("name") == name))


def _assert_done(user: User, *names: str, models: list[str]) -> None:
    assert _status(user, user.canister) == "running"
    assert _snapshots(user) == []
    assert not list(user.state.glob("clones/*.json"))
    for name in names:
        assert _status(user, _known(user, name)) == "running"
        for model in models:
            assert user.ok("audit", model, "--node", name)["verdict"] == "ok"
            assert (
                user.ok("show", model, "--node", name)["manifest"]
                == (user.ok("show", model, "--node", "src")["manifest"])
            )


def test_clones_into_created_nodes(own: User) -> None:
    done = own.run("node", "clone", "src", "one", "two", "--cycles", "20TC", "--json")
    assert done.code == 0, done.err
    first, second = (each for each in done.results if each["type"] == "item")
    assert first["root"] == second["root"] is not None
    assert first["loaded"]
    assert second["loaded"]
    assert done.summary["copies"] == 2
    _assert_done(own, "one", "two", models=["m1"])
    own.ok("fetch", "m1", "back", "--node", "two")
    assert (own.home / "back" / "1.safetensors").read_bytes() == (
        own.home / "1.safetensors"
    ).read_bytes()
    # A copy is a node of its own.
    own.ok("upload", checkpoint(own.home / "x.safetensors", 9_999), "--as", "x", "--node", "one")
    assert own.run("models", "--node", "src", "--json").summary["models"] == 1


def test_people_are_told_the_root(own: User) -> None:
    done = own.run("node", "clone", "src", "one", "--cycles", "20TC")
    assert done.code == 0, done.err
    assert done.says("stopping", "loading", "certified root", "copy holds"), done.out


def test_an_unknown_name_is_created_only_with_cycles(own: User) -> None:
    done = own.fails(10, "node", "clone", "src", "nowhere")
    assert done.says("nowhere", "--cycles"), done.err
    assert _calls(own, "take_canister_snapshot") == 0


def test_models_of_a_copy_are_replaced_only_when_asked(own: User) -> None:
    own.ok("node", "create", "full", "--cycles", "40TC")
    own.ok("upload", checkpoint(own.home / "f.safetensors", 9_500), "--as", "f", "--node", "full")
    done = own.fails(2, "node", "clone", "src", "full")
    assert done.says("holds 1 models", "--replace"), done.err
    assert done.says("nothing was changed")
    own.fails(2, "node", "clone", "src", "full", "--replace")  # nobody is there to confirm
    assert own.ok("audit", "f", "--node", "full")["verdict"] == "ok"
    own.ok("node", "clone", "src", "full", "--replace", "--yes")
    _assert_done(own, "full", models=["m1"])
    own.fails(10, "show", "f", "--node", "full")


def test_bad_members_are_refused_before_anything_stops(
    own: User, stranger: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.ok("node", "create", "one", "--cycles", "20TC")
    own.fails(2, "node", "clone", "src", "src")
    own.fails(2, "node", "clone", "src", "one", "one")
    own.fails(10, "node", "clone", "nowhere", "one")
    other = stranger("other")
    done = other.fails(12, "node", "clone", own.canister, _id(other))
    assert done.says("controller", "nothing"), done.err
    own.arrive()
    with monkeypatch.context() as patch:
        one = _known(own, "one")
        subnet_of = subnets.subnet_of
        patch.setattr(
            subnets,
            "subnet_of",
            lambda agent, canister: canister if canister == one else subnet_of(agent, canister),
        )
        done = own.fails(38, "node", "clone", "src", "one")
        assert done.says("subnet", "datanode copy"), done.err
    assert _calls(own, "stop_canister") == 0
    assert not list(own.state.glob("clones/*.json"))


def _id(user: User) -> Principal:
    return Principal.parse(user.ok("node", "create", "theirs", "--cycles", "20TC")["canister"])


def test_a_source_that_was_stopped_stays_stopped(own: User) -> None:
    own.ok("node", "create", "one", "--cycles", "20TC")
    canisters.stop(own, own.canister)
    own.ok("node", "clone", "src", "one")
    assert _status(own, own.canister) == "stopped"
    canisters.start(own, own.canister)
    _assert_done(own, "one", models=["m1"])


def _poor(*_: object) -> snapshots.Snapshot:
    raise CyclesError("the canister has too few cycles")


def test_a_poor_source_is_started_again(own: User, monkeypatch: pytest.MonkeyPatch) -> None:
    own.ok("node", "create", "one", "--cycles", "20TC")

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "take", _poor)
        own.fails(20, "node", "clone", "src", "one")
    assert _status(own, own.canister) == "running"
    own.ok("node", "clone", "src", "one")
    _assert_done(own, "one", models=["m1"])


STEPS: tuple[tuple[object, str], ...] = (
    (clone_journal.CloneJournal, "write"),
    (snapshots, "stop"),
    (snapshots, "take"),
    (snapshots, "start"),
    (snapshots, "load"),
    (snapshots, "delete"),
    (clone_journal.CloneJournal, "forget"),
)


def _die(owner: object, name: str, *, after: bool, nth: int) -> None:
    """Make this process die before or after the step is taken for the nth time."""
    step = getattr(owner, name)
    count = 0

    def dying(*args: object, **kwargs: object) -> object:
        nonlocal count
        count += 1
        if count == nth and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = step(*args, **kwargs)
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, dying)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.nightly
@pytest.mark.parametrize("nth", [1, 2])
def test_kill_at_every_step_is_resumed_and_paid_once(own: User, nth: int) -> None:
    own.ok("node", "create", "one", "--cycles", "40TC")
    struck, one = 0, _known(own, "one")
    for number, (owner, name) in enumerate(STEPS):
        for after in (False, True):
            _grow(own, 100 + 2 * number + after)
            last = own.net.ledger()[-1].sequence
            child = os.fork()
            if not child:
                try:
                    _die(owner, name, after=after, nth=nth)
                    main(["node", "clone", "src", "one", "--replace", "--yes", "--json"])
                finally:
                    os._exit(0)
            _, status = os.waitpid(child, 0)
            struck += os.WIFSIGNALED(status)
            own.ok("node", "clone", "src", "one", "--replace", "--yes")
            if os.WIFSIGNALED(status):
                finished = name == "forget" and after
                taken = _calls(own, "take_canister_snapshot", after=last)
                loaded = _calls(own, "load_canister_snapshot", of=one, after=last)
                assert (taken, loaded) == (1 + finished, 1), (name, after)
            _assert_done(own, "one", models=[])
    assert struck >= 6
    _assert_done(own, "one", models=["m1", "m100"])


def test_a_lost_answer_of_a_load_is_not_paid_twice(
    own: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.ok("node", "create", "one", "--cycles", "20TC")
    load = snapshots.load

    def lost(*args: object) -> None:
        load(*args)  # type: ignore[arg-type]
        raise NetworkError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "load", lost)
        done = own.fails(30, "node", "clone", "src", "one")
        assert done.says("is kept, and costs rent"), done.err
    own.ok("node", "clone", "src", "one")
    assert _calls(own, "load_canister_snapshot", of=_known(own, "one")) == 1
    _assert_done(own, "one", models=["m1"])


MANAGEMENT = {
    "take_canister_snapshot",
    "load_canister_snapshot",
    "list_canister_snapshots",
    "read_canister_snapshot_metadata",
    "delete_canister_snapshot",
    "stop_canister",
    "start_canister",
    "canister_status",
    "update_settings",
    "install_code",
}
BOUND_CYCLES = 7 * TC // 1_000
"""Cycles of a clone of 500 MB beside the creation of a node."""


def _managed(user: User, *members: Principal, after: int) -> list[BillEntry]:
    """List the management calls that these canisters paid for."""
    return [
        entry
        for entry in user.net.ledger(after=after)
        if entry.method in MANAGEMENT and entry.canister in members
    ]


def _pass_checkpoint(user: User) -> None:
    """Let the subnet forget which modules it has compiled, and the next interval begin."""
    user.net.advance(seconds=CHECKPOINT_INTERVAL_NS // SECOND_NS)


def _sum(entries: list[BillEntry]) -> int:
    return sum(timeless_cycles(entry) for entry in entries)


def test_a_clone_costs_two_snapshots_beside_a_creation(alone: User) -> None:
    _pass_checkpoint(alone)
    last = alone.net.ledger()[-1].sequence
    alone.ok("node", "create", "plain", "--cycles", "20TC")
    plain = _managed(alone, _known(alone, "plain"), after=last)
    _pass_checkpoint(alone)
    last = alone.net.ledger()[-1].sequence
    alone.ok("node", "clone", "src", "one", "--cycles", "20TC")
    one = _known(alone, "one")
    calls = _managed(alone, alone.canister, one, after=last)
    counts = Counter((entry.canister == one, entry.method) for entry in calls)
    assert {each: count for each, count in counts.items() if "snapshot" in each[1]} == {
        (False, "list_canister_snapshots"): 3,
        (False, "take_canister_snapshot"): 1,
        (False, "read_canister_snapshot_metadata"): 1,
        (False, "delete_canister_snapshot"): 1,
        (True, "load_canister_snapshot"): 1,
    }
    assert not counts.keys() & {(True, "install_code"), (True, "stop_canister")}
    of = {entry.method: entry.instructions for entry in calls}
    (installed,) = (each for each in plain if each.method == "install_code")
    # The module is compiled once, when it is loaded, and no more than an installation compiles.
    compiling = of["load_canister_snapshot"] - of["take_canister_snapshot"]
    assert 0 < compiling < installed.instructions
    stored_bytes = of["take_canister_snapshot"] - 2_000_000_000
    beside = _sum(calls) - _sum(plain) + 2 * (500_000_000 - stored_bytes)
    print(f"500 MB beside a creation: {beside / TC:.4f} TC; of {compiling / TC:.4f} to compile")
    assert beside <= BOUND_CYCLES


@pytest.mark.nightly
def test_a_clone_of_500_mb_costs_two_snapshots(alone: User) -> None:
    size_mb = 500
    alone.ok("node", "top-up", "src", "--cycles", "100TC")
    with alone.node() as node:
        lease = node.begin_upload("big", frames_count=size_mb, frame_bytes=size_mb * 10**6)
        for index in range(size_mb // 2):
            outcome = node.send(node.prepare(lease.id, noise_frames(f"{index}", 1, 2_000_000)))
            assert isinstance(outcome, Settled)
    _pass_checkpoint(alone)
    alone.ok("node", "create", "one", "--cycles", "40TC")
    one, last = _known(alone, "one"), alone.net.ledger()[-1].sequence
    alone.ok("node", "clone", "src", "one")
    paid = _managed(alone, alone.canister, one, after=last)
    of = {entry.method: entry.instructions for entry in paid}
    compiling = of["load_canister_snapshot"] - of["take_canister_snapshot"]
    print(f"{_sum(paid) / TC:.4f} TC, {compiling / TC:.4f} of them to compile the module again")
    assert _sum(paid) <= BOUND_CYCLES


def test_an_empty_copy_that_a_run_left_is_loaded_by_the_next(
    own: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "take", _poor)
        own.fails(20, "node", "clone", "src", "one", "--cycles", "20TC")
    one = _known(own, "one")
    settings = own.ok("node", "status", "one")
    assert (settings["module_hash"], settings["freezing_threshold_days"]) == (None, 90)
    own.ok("node", "clone", "src", "one")
    assert _known(own, "one") == one
    _assert_done(own, "one", models=["m1"])


def test_a_fleet_is_cloned_member_by_member_and_goes_on_after_a_failure(
    own: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.ok("node", "create", "pair", "--count", "2", "--cycles", "40TC")
    source = checkpoint(own.home / "m.safetensors", 9_100, tensors=6, size=100_000)
    own.ok("upload", source, "--as", "llama", "--node", "pair")
    own.fails(2, "node", "clone", "pair", "src")
    command = ("node", "clone", "pair", "twin", "--cycles", "20TC")
    load, calls = snapshots.load, 0

    def failing(*args: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise NetworkError("no answer")
        load(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "load", failing)
        own.fails(30, *command)
    last = own.net.ledger()[-1].sequence
    done = own.run(*command, "--json")
    assert [each["loaded"] for each in done.results if each["type"] == "item"] == [False, True]
    loads = [each for each in own.net.ledger(after=last) if each.method == "load_canister_snapshot"]
    assert len(loads) == 1
    twins = next(
        row["members"] for row in own.run("node", "list", "--json").results if row["name"] == "twin"
    )
    for member in twins:
        assert own.ok("audit", "llama/.part", "--node", member)["verdict"] == "ok"
