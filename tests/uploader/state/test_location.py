"""uploader.state.location: where the state lies, and who may work on it."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from datanode.errors import (
    DataNodeError,
    DiskFullError,
    LeaseHeldError,
    StateDamagedError,
    UsageError,
)
from tests.uploader.state.facts import NODE, OTHER_NODE
from uploader.state.location import StateLocation, locate, mapped_os_errors, state_folder

ROOT = Path(__file__).parents[3]


@pytest.fixture
def location(tmp_path: Path) -> StateLocation:
    return locate(None, {"XDG_STATE_HOME": str(tmp_path)})


def test_the_state_lies_in_the_users_state_folder(tmp_path: Path) -> None:
    location = locate(None, {"XDG_STATE_HOME": str(tmp_path)})
    assert location.folder == tmp_path / "datanode"
    assert location.url.startswith(f"sqlite:///{tmp_path}/datanode/state-")
    assert state_folder({}) == Path.home() / ".local" / "state" / "datanode"
    assert state_folder({"XDG_STATE_HOME": "here"}) == state_folder({})


def test_each_network_has_its_own_database(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    places = [locate(None, environment, root_key=key) for key in (b"", b"one", b"two", b"one")]
    assert len({place.url for place in places}) == 3
    assert len({place.outbox(NODE, "m") for place in places}) == 3


def test_another_database_is_named_by_url_or_path(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    assert locate("postgresql://h/x", environment).url == "postgresql://h/x"
    assert locate(str(tmp_path / "x.db"), environment).url == f"sqlite:///{tmp_path}/x.db"
    assert locate("x.db", environment).url == f"sqlite:///{Path.cwd()}/x.db"
    with pytest.raises(UsageError) as caught:
        locate("://me:secret@h", environment)
    assert "secret" not in str(caught.value)


def test_each_upload_has_its_own_outbox(location: StateLocation) -> None:
    other = StateLocation(folder=location.folder, url="postgresql://h/x")
    folders = {
        where.outbox(node, model)
        for where in (location, other)
        for node in (NODE, OTHER_NODE)
        for model in ("m", "../n")
    }
    assert len(folders) == 8
    assert {folder.parent for folder in folders} == {location.folder / "outbox"}


def test_a_password_changes_no_key() -> None:
    urls = ("postgresql://me:one@h/x", "postgresql://me:two@h/x")
    folders = {StateLocation(folder=Path("/s"), url=url).outbox(NODE, "m") for url in urls}
    assert len(folders) == 1


def test_an_upload_is_held_by_one_process_until_it_ends(location: StateLocation) -> None:
    with location.lock(NODE, "m"):
        with location.lock(NODE, "n"), location.lock(OTHER_NODE, "m"):
            pass
        with pytest.raises(LeaseHeldError, match="another process"), location.lock(NODE, "m"):
            raise AssertionError("two holders")
    with location.lock(NODE, "m"):
        pass


def test_kill_9_frees_the_lock(location: StateLocation) -> None:
    script = (
        "import sys, time, pathlib\n"
        "from tests.uploader.state.facts import NODE\n"
        "from uploader.state.location import StateLocation\n"
        "where = StateLocation(folder=pathlib.Path(sys.argv[1]), url=sys.argv[2])\n"
        "with where.lock(NODE, 'm'):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(location.folder), location.url]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        says = rf"pid {holder.pid}\)"
        with pytest.raises(LeaseHeldError, match=says), location.lock(NODE, "m"):
            raise AssertionError("two holders")
        holder.kill()
    with location.lock(NODE, "m"):
        pass


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EACCES, UsageError),
        (errno.EROFS, UsageError),
        (errno.EIO, StateDamagedError),
    ],
)
def test_errors_of_the_file_system_become_ours(code: int, kind: type[DataNodeError]) -> None:
    with pytest.raises(kind), mapped_os_errors(Path("/s")):
        raise OSError(code, "reason")
