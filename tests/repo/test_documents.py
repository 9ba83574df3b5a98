"""Documents that can be wrong are held to the code."""

import re
from pathlib import Path

import pytest
import typer

from uploader.cli import main
from uploader.cli.commands import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def _commands() -> set[str]:
    command = typer.main.get_command(app)
    names: set[str] = set()
    for name, sub in command.commands.items():  # type: ignore[attr-defined]
        inner = getattr(sub, "commands", None)
        names |= {f"{name} {each}" for each in inner} if inner else {name}
    return names


def test_readme_names_every_command() -> None:
    named = set(re.findall(r"^\| `datanode ([a-z -]+?)[` ]*(?: [A-Z].*)?\|", README, re.MULTILINE))
    missing = {name for name in _commands() if f"`datanode {name}" not in README}
    assert not missing, named


def test_every_command_readme_shows_exists() -> None:
    shown = re.findall(r"`datanode ([a-z][a-z-]*(?: [a-z][a-z-]*)?)", README)
    known = _commands() | {name.partition(" ")[0] for name in _commands()}
    assert not [name for name in shown if name not in known and name.split()[0] not in known]


def test_every_make_target_readme_shows_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", README)) <= targets


@pytest.mark.parametrize("name", sorted(_commands()))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*name.split(), "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert "make test" in README
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
