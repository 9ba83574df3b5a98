"""`datanode batch`: a list of uploads, each done once, by processes that may die."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from datanode.principal import Principal
from tests.cli.stage import Done, User, checkpoint
from tests.fakes.ledger_judge import Paid, paid
from tests.uploader.state.facts import POSTGRES
from uploader.cli import main
from uploader.session import batch

JOBS = 40


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A state database that processes share."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shared.db'}"
    if not POSTGRES:
        pytest.skip("DATANODE_TEST_POSTGRES names no server")
    engine = sa.create_engine(POSTGRES)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP SCHEMA public CASCADE")
        connection.exec_driver_sql("CREATE SCHEMA public")
    engine.dispose()
    return POSTGRES


@pytest.fixture
def own(user: User) -> User:
    """A user with a node of their own, `a`, which the command takes by default."""
    made = user.ok("node", "create", "a", "--cycles", "60TC")
    user.canister = Principal.parse(made["canister"])
    user.patch.setenv("DATANODE_NODE", "a")
    return user


def _list(user: User, count: int, *, nodes: tuple[str, ...] = (), size: int = 2_000) -> Path:
    path = user.home / "list.jsonl"
    lines = []
    for number in range(count):
        checkpoint(user.home / "models" / f"{number}.safetensors", 30_000 + number, size=size)
        job = {"source": f"models/{number}.safetensors", "model": f"batch/{number}"}
        lines.append(json.dumps(job | ({"node": nodes[number % len(nodes)]} if nodes else {})))
    path.write_text("\n".join(lines) + "\n\n")
    return path


def _paid(user: User, *canisters: Principal) -> Paid:
    members = canisters or (user.canister,)
    return paid([entry for entry in user.net.ledger() if entry.canister in members])


def _forked(work: Callable[[], int]) -> int:
    child = os.fork()
    if not child:
        code = 1
        try:
            sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - it ends here
            code = work()
        finally:
            os._exit(code)
    return child


def _items(done: Done) -> list[dict[str, object]]:
    return [each for each in done.results if each["type"] == "item"]


def _assert_done(user: User, path: Path, state: str, count: int) -> list[dict[str, object]]:
    done = user.run("batch", path, "--state", state, "--json")
    assert done.code == 0, done.err
    items = _items(done)
    assert len(items) == count
    assert {each["status"] for each in items} == {"done"}
    assert done.summary["done"] == count
    return items


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_processes_do_every_job_once(own: User, state: str) -> None:
    other = Principal.parse(own.ok("node", "create", "b", "--cycles", "60TC")["canister"])
    path = _list(own, JOBS, nodes=("a", "b"))
    command = ["batch", str(path), "--state", state, "--json"]
    children = [_forked(lambda: main(command)) for _ in range(2)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    items = _assert_done(own, path, state, JOBS)
    assert [each["attempts"] for each in items] == [1] * JOBS
    verdict = _paid(own, own.canister, other)
    assert verdict.twice_count == 0
    versions = [
        own.ok("show", f"batch/{number}", "--node", "ab"[number % 2])["version"]
        for number in (0, 1, JOBS - 1)
    ]
    assert versions == [1, 1, 1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_jobs_of_a_killed_process_are_finished_by_the_other(
    own: User, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(batch, "STALE_S", 3.0)
    path = _list(own, 8, size=900_000)
    command = ["batch", str(path), "--state", state, "--json"]
    doomed, heir = (_forked(lambda: main(command)) for _ in range(2))
    while not _paid(own).stored_count:
        time.sleep(0.01)
    os.kill(doomed, signal.SIGKILL)
    os.waitpid(doomed, 0)
    assert os.waitpid(heir, 0)[1] == 0
    _assert_done(own, path, state, 8)
    assert _paid(own).twice_count == 0
    for number in range(8):
        assert own.ok("show", f"batch/{number}")["version"] == 1


def test_again_does_nothing(own: User) -> None:
    path = _list(own, 3)
    first = own.ok("batch", path)
    assert (first["jobs"], first["done"], first["failed"]) == (3, 3, 0)
    before = _paid(own)
    assert own.ok("batch", path)["cycles"] == first["cycles"] > 0
    assert _paid(own) == before


def test_job_goes_to_a_fleet(own: User) -> None:
    members = own.ok("node", "create", "pair", "--count", "2", "--cycles", "20TC")["members"]
    path = _list(own, 2, nodes=("pair", "a"))
    checkpoint(own.home / "models" / "0.safetensors", 30_100, tensors=4, size=60_000)
    done = own.run("batch", path, "--json")
    assert done.code == 0, done.err
    assert [each["node"] for each in _items(done)] == [members[0], own.canister.text]
    for member in members:
        assert own.ok("show", "batch/0/.part", "--node", member)["version"] == 1
    verdict = _paid(own, *map(Principal.parse, members))
    assert verdict.stored_count == verdict.frames_count
    assert own.ok("audit", "batch/0", "--node", "pair")["verdict"] == "ok"
    assert own.ok("batch", path)["cycles"] == done.summary["cycles"]


def test_budget_is_shared_by_all_jobs_and_the_next_run_resumes(own: User) -> None:
    path = _list(own, 6, size=900_000)
    limit = 6_000_000_000
    done = own.fails(25, "batch", path, "--max-cycles", limit)
    assert done.says("all jobs of this batch"), done.err
    stored = _paid(own)
    assert 0 < stored.cycles <= limit
    own.fails(25, "batch", path, "--max-cycles", limit)
    assert _paid(own).stored_count == stored.stored_count
    summary = own.ok("batch", path)
    assert summary["done"] == 6
    assert summary["cycles"] > limit
    assert _paid(own).twice_count == 0


def test_failed_jobs_are_told_and_do_not_stop_the_others(own: User) -> None:
    path = _list(own, 3)
    good = (own.home / "models" / "1.safetensors").read_bytes()
    (own.home / "models" / "1.safetensors").write_bytes(b"no checkpoint")
    done = own.run("batch", path, "--json")
    assert done.code == 42, done.err
    assert [each["status"] for each in _items(done)] == ["done", "failed", "done"]
    assert _items(done)[1]["exit_code"] == 13
    people = own.fails(42, "batch", path)
    assert people.says("1 of 3 jobs failed", "--retry-failed", "2 jobs are done"), people.err
    (own.home / "models" / "1.safetensors").write_bytes(good)
    own.fails(42, "batch", path)
    assert own.ok("batch", path, "--retry-failed")["done"] == 3


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", 2, "lists no jobs"),
        ("no json", 2, "line 1"),
        ("[1]", 2, "line 1"),
        ('{"source": "a"}', 2, "line 1 needs"),
        ('{"source": "a", "model": 3}', 2, "line 1 needs"),
        ('{"source": "a", "model": "m", "nod": "x"}', 2, "line 1 may have"),
        ('{"source": "a", "model": "m"}\n{"source": "b", "model": "m"}', 2, "twice"),
        ('{"source": "a", "model": "m", "node": "nowhere"}', 10, "nowhere"),
    ],
)
def test_bad_lists_start_nothing(user: User, text: str, code: int, words: str) -> None:
    (user.home / "list.jsonl").write_text(text)
    assert user.fails(code, "batch", "list.jsonl").says(words)
    assert user.run("status", "--json").summary["uploads"] == 0


def test_a_missing_list_is_told(user: User) -> None:
    assert user.fails(2, "batch", "nothing.jsonl").says("nothing.jsonl")
