"""Everything but running a network works without the extra `localnet`."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from datanode.errors import LocalNetworkError
from datanode.localnet import extra, wasm_file
from datanode.localnet.api import LocalNetwork
from tests.uploader.session.stage import safetensors_bytes, weights

WITHOUT_EXTRA: Final = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {(*extra.MODULES, "uvloop")!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""
COMMAND: Final = WITHOUT_EXTRA + "from uploader.cli import main; sys.exit(main(sys.argv[1:]))"


def run(program: str, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DATANODE_", "XDG_"))}
    return subprocess.run(
        [sys.executable, "-c", program, *args],
        cwd=folder,
        env={**inherited, "HOME": str(folder), "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=False,
    )


def test_plans_uploads_fetches_and_audits_against_a_url(
    shared_localnet: LocalNetwork, tmp_path: Path
) -> None:
    (tmp_path / "m.safetensors").write_bytes(safetensors_bytes({"w": weights(3, 64)}))
    there = ("--network", shared_localnet.url)
    for args in (
        ["plan", "m.safetensors"],
        ["node", "create", "main", *there],
        ["upload", "m.safetensors", "--as", "m", *there],
        ["audit", "m", "--report", "a.json", *there],
        ["audit", "--verify", "a.json", *there],
        ["fetch", "m", "back", *there],
        ["doctor", *there],
        ["localnet", "status", "--state-dir", str(shared_localnet.directory)],
    ):
        done = run(COMMAND, tmp_path, *args)
        assert done.returncode == 0, (args, done.stderr)
    back = tmp_path / "back" / "m.safetensors"
    assert back.read_bytes() == (tmp_path / "m.safetensors").read_bytes()


@pytest.mark.parametrize("detach", ["--detach", "--no-detach"])
def test_starting_a_network_names_the_command_that_installs_it(tmp_path: Path, detach: str) -> None:
    done = run(COMMAND, tmp_path, "localnet", "start", "--port", "0", detach)
    assert done.returncode == LocalNetworkError.exit_code
    assert 'pip install "datanode[localnet]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_the_server_program_names_the_command_that_installs_it(tmp_path: Path) -> None:
    program = (
        WITHOUT_EXTRA + "import runpy; runpy.run_module('datanode.localnet', None, '__main__')"
    )
    done = run(program, tmp_path)
    assert done.returncode == LocalNetworkError.exit_code
    assert 'pip install "datanode[localnet]"' in done.stderr


def test_a_fixture_names_the_command_that_installs_it(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(localnet): pass\n")
    program = WITHOUT_EXTRA + (
        "import pytest; sys.exit(pytest.main(['-q', '-p', 'datanode.localnet.fixtures', "
        "'-p', 'no:cacheprovider', '-c', '/dev/null', '--rootdir', '.', 'test_it.py']))"
    )
    done = run(program, tmp_path)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert 'pip install "datanode[localnet]"' in done.stdout


def test_webassembly_text_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "MODULES", ("not_a_module_of_anybody",))
    (tmp_path / "a.wat").write_text("(module)")
    with pytest.raises(LocalNetworkError, match="not_a_module_of_anybody"):
        wasm_file.read(tmp_path / "a.wat")


def test_the_extra_lists_what_is_checked() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    listed = {each.partition(">")[0] for each in project["optional-dependencies"]["localnet"]}
    assert listed == {*extra.MODULES, "uvloop"}
    assert not [each for each in project["dependencies"] if each.partition(">")[0] in listed]
