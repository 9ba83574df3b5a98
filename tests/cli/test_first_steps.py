"""Messages for first-time users: what exists and what to do next."""

import socket
import sqlite3
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from tests.cli.stage import MakeUser, User, checkpoint
from tests.cli.test_start_up import all_commands
from uploader.cli import main
from uploader.cli.commands import app


def test_an_empty_list_has_no_header_and_says_what_comes_next(stranger: MakeUser) -> None:
    newcomer = stranger("newcomer")
    newcomer.ok("node", "remove", "main")
    done = newcomer.run("node", "list")
    assert done.out == "no node is known; `datanode node create NAME` makes one\n"
    done = newcomer.run("models", "--node", newcomer.canister)
    assert done.out == "no models that this identity may read\n"
    for command in ("status", "cost"):
        done = newcomer.run(command)
        assert done.says("nothing was uploaded from here to this network"), command
        assert "model  " not in done.out


def test_a_command_that_does_not_exist_is_answered_with_where_the_others_stand(user: User) -> None:
    done = user.fails(2, "modles")
    assert done.says("no such command", "`datanode --help`")


def test_a_network_that_cannot_start_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def started(*more: str) -> str:
        where = ["localnet", "start", "--detach", "--state-dir", str(tmp_path)]
        assert main([*where, *more]) == 50
        return capsys.readouterr().err

    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = started("--port", str(taken.getsockname()[1]))
    assert "is in use" in said
    assert "next:  Choose another one with --port, or 0 for any. Its log is" in said
    with sqlite3.connect(tmp_path / "network.db") as database:
        database.execute("PRAGMA user_version=1")
    database.close()
    said = started("--port", "0")
    assert "has layout 1" in said
    assert "next:  `datanode localnet reset` starts a new, empty network." in said


def test_nodes_of_another_network_are_not_forgotten(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = user.home / "elsewhere" / ".datanode" / "localnet"
    network.mkdir(parents=True)
    monkeypatch.chdir(user.home / "elsewhere")
    done = user.run("localnet", "reset", "--yes")
    assert (done.code, done.out) == (0, "there is no network in .datanode/localnet\n")
    (network / "seed").touch()
    done = user.run("localnet", "reset", "--yes")
    assert (done.code, done.out) == (0, "the network is deleted\n")
    assert "main" in user.run("node", "list").out
    network.mkdir()
    (network / "seed").touch()
    (user.config / "nodes.json").write_text("damaged")
    done = user.run("localnet", "reset", "--yes")
    assert (done.code, done.out) == (0, "the network is deleted\n")


def test_network_is_found_from_anywhere_and_forgotten_with_its_nodes(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its first canister has the id that the shared network's first one has.
    user.ok("node", "remove", "main")
    place = user.home / "place"
    elsewhere = user.home / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    none = user.run("localnet", "status", "--json")
    assert (none.code, none.summary["running"]) == (50, False)
    monkeypatch.chdir(place)
    url = user.ok("localnet", "start", "--detach", "--port", "0")["url"]
    try:
        user.ok("node", "create", "mine")
        user.ok("node", "create", "by-address", "--network", url)
        monkeypatch.chdir(elsewhere)
        found = user.ok("localnet", "status")
        assert (found["url"], found["running"]) == (url, True)
        assert user.run("localnet", "status").says(f"started in {place}")
        monkeypatch.chdir(place)
        assert user.ok("localnet", "status")["url"] == url
    finally:
        monkeypatch.chdir(place)
        gone = user.ok("localnet", "reset", "--yes")
    assert gone["forgotten"] == ["by-address", "mine"]
    assert user.run("node", "list").says("no node is known")
    assert user.run("localnet", "status").code == 50


def test_every_help_fits_eighty_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    for command in all_commands(group):
        assert main([*command, "--help"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("Usage: ")
        assert not [line for line in lines if len(line) > 80], command


def test_a_version_that_is_not_there_is_named(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 11)
    user.ok("upload", source, "--as", "versions")
    for command in (["show", "versions"], ["fetch", "versions", "out"], ["audit", "versions"]):
        done = user.fails(10, *command, "--version", "9")
        assert done.says("version 9 of versions", "`datanode show versions`"), command
