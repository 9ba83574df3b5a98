"""uploader.state.upload_lock: uploads of one identity to one node run one after another."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from datanode.errors import LeaseHeldError, StoppedByUserError, UsageError
from datanode.files import LockFile, locked
from tests.uploader.state.facts import NODE, OTHER_NODE, POSTGRES, SENDER
from uploader.state.location import StateLocation
from uploader.state.upload_lock import Queueing, upload_lock

ROOT = Path(__file__).parents[3]
AT_ONCE = Queueing(wait=False)


def location(folder: Path, url: str = "") -> StateLocation:
    return StateLocation(folder=folder, url=url or f"sqlite:///{folder}/state.db")


def attempt(where: StateLocation, model: str = "m") -> AbstractContextManager[None]:
    return upload_lock(where, NODE, SENDER, model, AT_ONCE)


@pytest.fixture
def where(tmp_path: Path) -> StateLocation:
    return location(tmp_path / "state")


def test_one_identity_uploads_one_model_at_a_time_to_a_node(where: StateLocation) -> None:
    with attempt(where, "first"):
        with (
            upload_lock(where, OTHER_NODE, SENDER, "m", AT_ONCE),
            upload_lock(where, NODE, OTHER_NODE, "m", AT_ONCE),
        ):
            pass
        with pytest.raises(LeaseHeldError, match=f"first, pid {os.getpid()} on "), attempt(where):
            raise AssertionError("two holders")
    with attempt(where):
        pass


def test_a_lock_that_is_free_again_is_free_after_a_failure(where: StateLocation) -> None:
    with pytest.raises(KeyboardInterrupt), attempt(where):
        raise KeyboardInterrupt
    with attempt(where):
        pass


def spellings(folder: Path) -> Iterator[tuple[StateLocation, StateLocation]]:
    """Pairs of states that lead to the same outbox, folder or database."""
    home, other = folder / "home", folder / "other"
    home.mkdir()
    (folder / "link").symlink_to(home)
    (folder / "x.db").symlink_to(home / "state.db")
    yield location(home), location(folder / "link")
    yield location(home), location(home, "sqlite:////elsewhere/x.db")
    url = POSTGRES or "postgresql://127.0.0.1/x"
    yield location(home, url), location(home, url.replace("127.0.0.1", "localhost"))
    yield location(home), location(other, f"sqlite:///{home}/state.db")
    yield (
        location(other, f"sqlite:///{folder}/x.db"),
        location(folder, f"sqlite:///{home}/state.db"),
    )


@pytest.mark.parametrize("number", range(5))
def test_every_spelling_of_a_state_meets_the_same_lock(number: int, tmp_path: Path) -> None:
    one, other = list(spellings(tmp_path))[number]
    if "postgresql" in one.url and not POSTGRES:
        assert one.outbox(NODE, SENDER) == other.outbox(NODE, SENDER)
        return
    with attempt(one), pytest.raises(LeaseHeldError), attempt(other):
        raise AssertionError("two holders")


@pytest.mark.skipif(not POSTGRES, reason="DATANODE_TEST_POSTGRES names no server")
class TestPostgresql:
    def test_hosts_meet_in_the_server(self, tmp_path: Path) -> None:
        one, other = location(tmp_path / "one", POSTGRES), location(tmp_path / "two", POSTGRES)
        with attempt(one, "first"):
            with upload_lock(other, OTHER_NODE, SENDER, "m", AT_ONCE):
                pass
            says = f"first, pid {os.getpid()} on "
            with pytest.raises(LeaseHeldError, match=says), attempt(other):
                raise AssertionError("two holders")
        with attempt(other):
            pass

    def test_who_waits_goes_on_when_the_other_ends(self, tmp_path: Path) -> None:
        one, other = location(tmp_path / "one", POSTGRES), location(tmp_path / "two", POSTGRES)
        assert in_turn(one, other) == ["one in", "waiting", "one out", "two in"]


def in_turn(one: StateLocation, other: StateLocation) -> list[str]:
    """Hold `one` until `other` waits for it, and write down what happens in which order."""
    events: list[str] = []
    release = threading.Event()

    def waiting(text: str) -> None:
        assert f"waiting for another upload of this identity to {NODE} (first, pid " in text
        events.append("waiting")
        release.set()

    def second() -> None:
        with upload_lock(other, NODE, SENDER, "second", Queueing(say=waiting)):
            events.append("two in")

    thread = threading.Thread(target=second)
    with attempt(one, "first"):
        events.append("one in")
        thread.start()
        assert release.wait(30)
        events.append("one out")
    thread.join(30)
    return events


def test_an_upload_waits_for_its_turn_and_says_so_once(where: StateLocation) -> None:
    assert in_turn(where, where) == ["one in", "waiting", "one out", "two in"]


def test_a_wish_to_stop_ends_the_waiting(where: StateLocation) -> None:
    wishes = iter([False, False, True])
    slept: list[float] = []
    queueing = Queueing(stopping=lambda: next(wishes), sleep=slept.append)
    with (
        attempt(where),
        pytest.raises(StoppedByUserError),
        upload_lock(where, NODE, SENDER, "m", queueing),
    ):
        raise AssertionError("two holders")
    assert len(slept) == 2


def test_kill_9_frees_the_lock(where: StateLocation) -> None:
    script = (
        "import sys, time, pathlib\n"
        "from tests.uploader.state.test_upload_lock import attempt, location\n"
        "with attempt(location(pathlib.Path(sys.argv[1])), 'killed'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(where.folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LeaseHeldError, match=f"killed, pid {holder.pid} on "), attempt(where):
            raise AssertionError("two holders")
        holder.kill()
    with attempt(where):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize(
    "acquire",
    [lambda path: LockFile(path).try_acquire("me"), lambda path: locked(path).__enter__()],
)
def test_a_file_system_without_locks_is_named_with_the_remedy(
    code: int,
    acquire: Callable[[Path], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def flock(_descriptor: int, _operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UsageError) as caught:
        acquire(tmp_path / "lock")
    assert str(tmp_path / "lock") in caught.value.what
    assert "XDG_STATE_HOME" in caught.value.hint
