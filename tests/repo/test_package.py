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


def test_version_has_one_source() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "version" not in project
    assert project["dynamic"] == ["version"]


def build(root: Path, folder: Path, *kinds: str) -> list[Path]:
    """Build distributions of a checkout into a folder."""
    subprocess.run(
        [sys.executable, "-m", "build", *kinds, "--no-isolation", "--outdir", folder, root],
        check=True,
        capture_output=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"},
    )
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (built,) = build(ROOT, tmp_path_factory.mktemp("wheel"), "--wheel")
    return built


def test_wheel_metadata_has_the_version_of_the_code(wheel: Path) -> None:
    metadata = zipfile.ZipFile(wheel).read(f"datanode-{datanode.__version__}.dist-info/METADATA")
    assert f"\nVersion: {datanode.__version__}\n".encode() in metadata


@pytest.mark.nightly
def test_builds_are_reproducible(wheel: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    ignored = shutil.ignore_patterns(
        ".*", "build", "target", "node_modules", "__pycache__", "conformance"
    )
    # Files of another age, in a folder of another name, without git.
    shutil.copytree(ROOT, copy, ignore=ignored, copy_function=shutil.copyfile)
    once = build(copy, tmp_path / "once", "--sdist", "--wheel")
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    again = build(copy, tmp_path / "again", "--sdist", "--wheel")
    assert [path.name for path in once] == [path.name for path in again]
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
    assert once[0].read_bytes() == wheel.read_bytes()


def test_localnet_dependencies_are_optional(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"datanode-{datanode.__version__}.dist-info/METADATA").decode()
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    for name in ("wasmtime", "uvicorn", "uvloop", "httptools", "jinja2"):
        lines = [each for each in required if each.split()[1].startswith(name)]
        assert all("extra == " in each for each in lines), lines
        assert any("extra == 'localnet'" in each for each in lines), lines


def test_wheel_contains_module_migrations_and_fees(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "datanode/_wasm/storage.wasm.gz" in names
    assert "datanode/fees/docs.toml" in names
    assert "datanode/py.typed" in names
    assert "datanode/localnet/example/counter.wat" in names
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


def test_main_job_runs_from_wheel(elsewhere: Path) -> None:
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


@pytest.mark.nightly
def test_wheel_registers_pytest_fixtures(elsewhere: Path) -> None:
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
