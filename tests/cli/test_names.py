"""Text from outside never reaches the terminal raw; everything that is typed wrong is told so."""

import json
from pathlib import Path

import pytest

from tests.cli.stage import User, checkpoint

ESCAPE = "\x1b]0;owned\x07\x1b[31m"


@pytest.mark.parametrize(
    "command",
    [
        ["show", ESCAPE],
        ["fetch", ESCAPE, "out"],
        ["fetch", "x", "out", "--tensor", ESCAPE],
        ["audit", ESCAPE],
        ["audit", "--verify", ESCAPE],
        ["upload", ESCAPE, "--as", "m"],
        ["plan", ESCAPE],
        ["models", "--node", ESCAPE],
        ["models", "--network", ESCAPE],
        ["models", "--network", f"http://{ESCAPE}"],
        ["models", "--identity", ESCAPE],
        ["models", "--root-key", ESCAPE],
        ["status", "--state", f"{ESCAPE}://x"],
        ["grant", ESCAPE],
        ["delete", ESCAPE, "--yes"],
        ["node", "create", ESCAPE],
        ["node", "add", ESCAPE, "aaaaa-aa"],
        ["node", "add", "x", ESCAPE],
        ["node", "top-up", "--cycles", ESCAPE],
        ["upload", "x", "--as", "m", "--max-cycles", ESCAPE],
        ["audit", "m", "--rolling", ESCAPE],
        [ESCAPE],
        ["models", f"--{ESCAPE}"],
        ["show", "m", "--version", ESCAPE],
        ["localnet", "ledger", "--state-dir", ESCAPE],
    ],
)
def test_escapes_are_shown_and_not_obeyed(user: User, command: list[str]) -> None:
    for more in ([], ["--json"]):
        done = user.run(*command, *more)
        assert done.code not in {0, 1}, done
        assert "\x07" not in done.err + done.out
        assert done.out == ""


def test_a_folder_with_escapes_in_its_name_travels(user: User) -> None:
    folder = user.home / f"dir{ESCAPE.replace('/', '')}"
    checkpoint(folder / "model.safetensors", 300)
    (folder / "evil\x1b[2J.bin").write_bytes(b"x")
    done = user.run("upload", folder, "--as", "escapes")
    assert done.code in {0, 13}, done.err
    assert user.run("status").code == 0
    assert user.run("plan", folder).code in {0, 13}


@pytest.mark.parametrize(
    "command",
    [
        ["audit"],
        ["audit", "m", "--sample", "3", "--scrub"],
        ["audit", "m", "--rolling", "0/0"],
        ["audit", "m", "--rolling", "4/3"],
        ["audit", "m", "--sample", "0"],
        ["upload"],
        ["upload", "x"],
        ["upload", "x", "--as", "m", "--jobs", "-1"],
        ["fetch", "m"],
        ["nonsense"],
        ["node", "nonsense"],
        ["node", "create", "--cycles", "-5"],
        ["node", "create", "--cycles", "nan TC"],
        ["node", "create", "--cycles", "infTC"],
        ["grant", "not-a-principal"],
        ["models", "--root-key", "00"],
        ["models", "--root-key", "xyz"],
        ["models", "--network", "ftp://x"],
        ["models", "--network", "http://user@127.0.0.1:1"],
        ["models", "--network", "http://192.0.2.1:1"],
        ["models", "--network", "elsewhere"],
        ["status", "--state", "mysql://x"],
        ["delete", "m", "--json"],
    ],
)
def test_a_command_line_that_makes_no_sense_is_code_2(user: User, command: list[str]) -> None:
    done = user.run(*command, "--json") if "--json" not in command else user.run(*command)
    assert done.code == 2, done.err
    assert done.out == ""
    assert done.error["exit_code"] == 2
    assert done.error["what"]


def test_a_settings_file_that_makes_no_sense_is_named(user: User) -> None:
    path = user.config / "datanode.toml"
    for text in ("network = 3", "colour = 'red'", "= x", "\x00"):
        path.write_text(text)
        assert user.fails(2, "models").says("datanode.toml")
    path.write_text('network = "local"\nnode = "main"\n')
    assert user.run("models").code == 0


def test_a_damaged_list_of_nodes_is_named_and_kept(user: User) -> None:
    path = user.config / "nodes.json"
    good = path.read_text()
    for text in ("", "[]", '{"v": 1}', '{"v": "x", "nodes": []}', '{"v": 1, "nodes": [3]}'):
        path.write_text(text)
        assert user.fails(2, "models").says("nodes.json")
        assert user.fails(2, "node", "list").says("nodes.json")
        assert path.read_text() == text
    path.write_text(json.dumps({"v": 3, "nodes": []}))
    assert user.fails(34, "models").says("newer")
    path.write_text(good)
    assert user.run("models").code == 0


def test_help_of_every_command_is_there(user: User) -> None:
    from uploader.cli.commands import app

    names = [[command.name] for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        names += [[group.name, each.name] for each in group.typer_instance.registered_commands]
    assert len(names) > 20
    for name in names:
        assert all(isinstance(part, str) for part in name)
        done = user.run(*name, "--help")
        assert done.code == 0
        assert done.says("usage:", "--json"), name


def test_the_version_is_told(user: User, tmp_path: Path) -> None:
    import datanode

    done = user.run("--version")
    assert (done.code, done.out.strip()) == (0, f"datanode {datanode.__version__}")


@pytest.mark.parametrize("group", [[], ["node"], ["localnet"], ["localnet", "fault"]])
def test_a_group_without_a_command_shows_its_help(user: User, group: list[str]) -> None:
    done, helped = user.run(*group), user.run(*group, "--help")
    assert done.code == 2
    assert (done.err, done.out) == (helped.out, "")
    assert "..." not in helped.out.replace("[ARGS]...", "")
