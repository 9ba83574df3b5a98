"""The package: one version, and a wheel that works where the checkout is not."""

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import datanode
from tests.uploader.session.stage import safetensors_bytes, weights

ROOT = Path(__file__).parents[2]


def test_the_version_is_said_once_and_copied_right() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == datanode.__version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT],
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_carries_module_migrations_and_fees(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "datanode/_wasm/storage.wasm.gz" in names
    assert "datanode/fees/docs.toml" in names
    assert "datanode/py.typed" in names
    assert any(name.startswith("uploader/_migrations/versions/0001") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "migrations/", "canisters/"))]


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A virtual environment with the wheel; dependencies come from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    installed = Path(pytest.__file__).parents[1]
    (site / "dependencies.pth").write_text(f"{installed}\n")
    (folder / "home").mkdir()
    yield folder
    _run(folder, "localnet", "stop")


def _run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    program = "import sys; from uploader.cli import main; sys.exit(main())"
    environment = {"HOME": str(folder / "home"), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [folder / "venv/bin/python", "-I", "-c", program, *args],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_main_job_runs_from_the_wheel(elsewhere: Path) -> None:
    (elsewhere / "m.safetensors").write_bytes(safetensors_bytes({"w": weights(3, 64)}))
    for command in (
        ["localnet", "start", "--detach", "--port", "0"],
        ["node", "create", "main"],
        ["upload", "m.safetensors", "--as", "m"],
        ["audit", "m"],
        ["fetch", "m", "back"],
    ):
        done = _run(elsewhere, *command)
        assert done.returncode == 0, (command, done.stderr)
    before, after = elsewhere / "m.safetensors", elsewhere / "back" / "m.safetensors"
    assert before.read_bytes() == after.read_bytes()


def test_the_fixtures_of_pytest_come_with_the_wheel(elsewhere: Path) -> None:
    example = ROOT / "tests" / "datanode" / "localnet" / "example"
    shutil.copytree(example, elsewhere / "example", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"HOME": str(elsewhere / "home"), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [elsewhere / "venv/bin/python", "-I", "-m", "pytest", "-q", "example"],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert f"{(example / 'test_counter.py').read_text().count('def test_')} passed" in done.stdout
