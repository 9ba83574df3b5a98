"""Shell completion."""

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.cli.stage import PYTHON, User, checkpoint

DATANODE: Final = Path(PYTHON).with_name("datanode")
"""The installed script: completion goes by its name."""


def ran(*args: str, **more: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **more}
    command: list[str | Path] = [DATANODE, *args]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def completed(line: str, shell: str = "bash") -> list[str]:
    """Ask as the completion script of a shell does; the cursor is at the end of the line."""
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    return ran(_DATANODE_COMPLETE=f"complete_{shell}", **asked).split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_tab_completes_commands(user: User, shell: str) -> None:
    assert any("upload" in word for word in completed("datanode upl", shell))


def test_tab_completes_options_and_the_names_of_known_nodes(user: User) -> None:
    assert "--max-cycles" in completed("datanode upload --max")
    assert completed("datanode models --node ma") == ["main"]
    assert completed("datanode models --node x") == []


@pytest.mark.parametrize(
    "command",
    ["plan x --node", "node status", "node top-up", "node remove", "localnet fault drain"],
)
def test_tab_completes_a_node_wherever_one_is_named(user: User, command: str) -> None:
    assert completed(f"datanode {command} ma") == ["main"]


def test_tab_completes_models_of_the_node(user: User) -> None:
    user.ok("upload", checkpoint(user.home / "m.safetensors", 20), "--as", "tab/one")
    for command in ("show", "audit", "grant x --model"):
        assert completed(f"datanode {command} ta") == ["tab/one"], command
    assert completed("datanode show tax") == []
    assert completed("datanode show --node aaaaa-aa ta") == []


def test_tab_completes_kinds_of_faults() -> None:
    assert completed("datanode localnet fault set la") == ["latency", "late"]


def test_tab_is_silent_where_the_names_cannot_be_read(user: User) -> None:
    (user.config / "nodes.json").write_text("damaged")
    assert completed("datanode models --node ma") == []


def test_the_script_for_the_shell_is_shown() -> None:
    assert "complete_bash" in ran(_DATANODE_COMPLETE="source_bash")
