"""Folders follow the XDG specification, and a user without a home is told so."""

import pwd
from pathlib import Path

import pytest

from datanode.errors import UsageError
from datanode.folders import config_folder, seen_folder, state_folder


def test_the_environment_names_the_folders() -> None:
    environment = {"XDG_CONFIG_HOME": "/etc/c", "XDG_STATE_HOME": "/var/s"}
    assert config_folder(environment) == Path("/etc/c/datanode")
    assert seen_folder(environment) == Path("/var/s/datanode/seen")


def test_relative_paths_are_ignored() -> None:
    assert state_folder({"XDG_STATE_HOME": "here"}) == Path.home() / ".local/state/datanode"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_user: int) -> None:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(UsageError) as caught:
        config_folder({})
    assert "XDG_CONFIG_HOME" in caught.value.hint
