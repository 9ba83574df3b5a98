"""Imports of a command at start-up, counted in modules because times are not exact.

The libraries of the work take most of a second to import; whoever asks for help, for a name or what
runs here does not wait for them.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from tests.cli.stage import PYTHON, User
from uploader.cli.commands import app

HEAVY: Final = {
    *(
        "alembic",
        "asyncio",
        "cbor2",
        "cryptography",
        "httptools",
        "httpcore",
        "ic",
        "jinja2",
        "numpy",
    ),
    *(
        "boto3",
        "botocore",
        "py_arkworks_bls12381",
        "sqlalchemy",
        "tenacity",
        "uvicorn",
        "wasmtime",
        "zstandard",
    ),
}
"""What no command needs to be described."""
RUNNING: Final = """
import contextlib, io, json, sys
from uploader.cli import main
codes = []
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    for args in json.loads(sys.argv[1]):
        codes.append(main(args))
print(json.dumps([codes, sorted(sys.modules)]))
"""
IMPORTING: Final = "import json, sys; import {}; print(json.dumps([[], sorted(sys.modules)]))"


def brought_along(program: str, *args: str, **more: str) -> tuple[list[Any], set[str]]:
    """Run a program; returns what it tells, and the packages that it had imported at its end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **more}
    command = [PYTHON, "-c", program, *args]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    codes, modules = json.loads(said.stdout.splitlines()[-1])
    return codes, {name.partition(".")[0] for name in modules}


def ran(*commands: list[str]) -> set[str]:
    """Run commands that succeed, one after the other; returns what they brought along."""
    codes, brought = brought_along(RUNNING, json.dumps(commands))
    assert codes == [0] * len(commands)
    return brought


def all_commands(group: TyperGroup, *path: str) -> Iterator[list[str]]:
    yield list(path)
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from all_commands(command, *path, name)
        else:
            yield [*path, name]


def test_the_help_of_every_command_needs_only_its_words(user: User) -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    commands = list(all_commands(group))
    assert ["localnet", "fault", "set"] in commands
    brought = ran(*([*command, "--help"] for command in commands))
    assert not brought & {*HEAVY, "http", "rich", "sqlite3"}


@pytest.mark.parametrize(
    "command",
    [
        ["--version"],
        ["node", "list"],
        ["node", "remove", "main"],
        ["localnet", "status"],
        ["localnet", "ledger"],
        ["localnet", "time"],
        ["localnet", "fault", "list"],
    ],
    ids=" ".join,
)
def test_what_stands_on_this_machine_is_told_without_the_libraries_of_the_work(
    user: User, command: list[str]
) -> None:
    assert not ran(command) & HEAVY


def test_names_are_completed_without_the_libraries_of_the_work(user: User) -> None:
    program = """
import contextlib, io, json, sys
from uploader.cli import main
sys.argv = ["datanode"]
with contextlib.redirect_stdout(io.StringIO()) as shown:
    main([])
print(json.dumps([shown.getvalue().split(), sorted(sys.modules)]))
"""
    names, brought = brought_along(
        program,
        _DATANODE_COMPLETE="complete_bash",
        COMP_WORDS="datanode upload --node ma",
        COMP_CWORD="3",
    )
    assert names == ["main"]
    assert not brought & HEAVY


def test_a_list_of_models_needs_no_database_and_no_codec(user: User) -> None:
    brought = ran(["models"])
    assert "httpcore" in brought
    assert not brought & {"alembic", "numpy", "sqlalchemy", "wasmtime"}


@pytest.mark.parametrize("package", ["datanode", "datanode.localnet", "uploader"])
def test_a_package_brings_nothing_along(package: str) -> None:
    _, brought = brought_along(IMPORTING.format(package))
    assert package.partition(".")[0] in brought
    assert not brought & {*HEAVY, "blake3", "rich", "typer"}


def test_the_network_for_programs_needs_neither_its_server_nor_our_storage() -> None:
    _, brought = brought_along(IMPORTING.format("datanode.localnet.api"))
    assert not brought & {"alembic", "numpy", "sqlalchemy", "uvicorn", "wasmtime"}
