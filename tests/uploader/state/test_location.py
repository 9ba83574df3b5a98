"""uploader.state.location: where the state lies, however it is spelled."""

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from datanode.errors import DataNodeError, DiskFullError, StateDamagedError, UsageError
from tests.uploader.state.facts import NODE, OTHER_NODE, SENDER
from uploader.state.database import open_database
from uploader.state.location import StateLocation, locate, mapped_os_errors

OTHER_SENDER = OTHER_NODE


def test_the_state_lies_in_the_users_state_folder(tmp_path: Path) -> None:
    location = locate(None, {"XDG_STATE_HOME": str(tmp_path)})
    assert location.folder == tmp_path / "datanode"
    assert location.url.startswith(f"sqlite:///{tmp_path}/datanode/state-")
    assert locate(None, {}).folder == Path.home() / ".local" / "state" / "datanode"
    assert locate(None, {"XDG_STATE_HOME": "here"}) == locate(None, {})


def test_each_network_has_its_own_database(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    places = [locate(None, environment, root_key=key) for key in (b"", b"one", b"two", b"one")]
    assert len({place.url for place in places}) == 3
    assert len({place.key(NODE, SENDER) for place in places}) == 3


def test_another_database_is_named_by_url_or_path(tmp_path: Path) -> None:
    environment = {"XDG_STATE_HOME": str(tmp_path)}
    assert locate("postgresql://h/x", environment).url == "postgresql://h/x"
    assert locate(str(tmp_path / "x.db"), environment).url == f"sqlite:///{tmp_path}/x.db"
    assert locate("x.db", environment).url == f"sqlite:///{Path.cwd()}/x.db"
    with pytest.raises(UsageError) as caught:
        locate("://me:secret@h", environment)
    assert "secret" not in str(caught.value)


@given(st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1))
def test_every_file_name_is_a_path_of_a_database(name: str) -> None:
    if "://" not in name and name not in {".", ".."} and not name.startswith("~"):
        assert make_url(locate(name).url).database == str(Path.cwd() / name)


@pytest.mark.parametrize("name", ["runs?.db", "a%20b.db", "a%2Fb.db", "a#b.db", "a b.db", "~x.db"])
def test_a_path_is_the_name_of_one_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_database(locate(f"./{name}").url).close()
    assert {path.name.removesuffix("-wal").removesuffix("-shm") for path in tmp_path.iterdir()} == {
        name
    }


@pytest.mark.parametrize("state", ["~/x.db", "sqlite:///~/x.db"])
def test_the_home_folder_may_be_written_short(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/of/mine")
    assert locate(state).url == "sqlite:////of/mine/x.db"


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ("sqlite:///./runs?.db", "%3F"),
        ("sqlite:///runs?a=1&b", "%3F"),
        ("~no-such-user-here/x.db", "home of an unknown user"),
    ],
)
def test_a_spelling_that_would_name_another_file_is_refused(state: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        locate(state)
    assert says in caught.value.what + caught.value.hint


def test_uploads_are_told_apart_by_network_identity_and_node_alone(tmp_path: Path) -> None:
    urls = ("sqlite:////a/x.db", "postgresql://me:one@localhost/x", "postgresql://127.0.0.1/x")
    keys = {
        (network, node, identity): {
            StateLocation(folder=tmp_path, url=url, network=network).outbox(node, identity)
            for url in urls
        }
        for network in ("one", "two")
        for node in (NODE, OTHER_NODE)
        for identity in (SENDER, OTHER_SENDER)
    }
    assert all(len(folders) == 1 for folders in keys.values())
    assert len(set.union(*keys.values())) == len(keys)


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
