"""uploader.known_networks: the state of a network is found after it has stopped."""

from pathlib import Path

import pytest

from datanode.folders import state_folder
from uploader.known_networks import recall, remember


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_last_root_key_of_each_network_is_recalled(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert recall("local") is None
    remember("local", b"one")
    remember("http://127.0.0.1:1", b"two")
    remember("local", b"three")
    assert (recall("local"), recall("http://127.0.0.1:1")) == (b"three", b"two")
    (home / "other").mkdir()
    monkeypatch.chdir(home / "other")
    assert recall("local") is None
    assert recall("http://127.0.0.1:1") == b"two"


@pytest.mark.parametrize("content", ["", "[1]", '{"x": 1}', '{"x": "zz"}', "\xff", '{"x":' * 9000])
def test_a_damaged_file_is_as_good_as_none(content: str) -> None:
    state_folder().mkdir(parents=True)
    (state_folder() / "networks.json").write_text(content, "latin-1")
    assert recall("x") is None
    remember("x", b"key")
    assert recall("x") == b"key"


def test_a_folder_that_cannot_be_written_is_no_reason_to_fail(home: Path) -> None:
    (home / "state").write_bytes(b"a file")
    remember("x", b"key")
    assert recall("x") is None
