"""`make release-check`: wheel and sdist in fresh environments, without and with the extra.

For every Python that is installed here; packages come from the index that pip is configured for.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeGuard

import pytest

from datanode.errors import LocalNetworkError
from datanode.localnet import extra
from datanode.localnet.api import LocalNetwork
from tests.repo.test_package import ROOT, build
from tests.uploader.session.stage import safetensors_bytes, weights

pytestmark = pytest.mark.nightly
MAX_MB: Final = 215
"""Megabytes of site-packages without extras, pip aside; 135 are NumPy, botocore and SQLAlchemy."""
MAX_DOWNLOAD_MB: Final = 60
"""Megabytes that pip downloads without extras, the wheel itself among them."""
NOT_WITHOUT_EXTRA: Final = {*extra.MODULES, "uvloop", "model_signing", "sigstore"}


def pythons() -> Iterator[str]:
    """Find one interpreter of each version: on the PATH, or among those of pyenv."""
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(11, 15):
        name = f"python3.{minor}"
        found = [shutil.which(name), *sorted(map(str, kept.glob(f"3.{minor}.*/bin/{name}")))]
        yield from list(filter(_is_usable, found))[:1]


def _is_usable(program: str | None) -> TypeGuard[str]:
    if program is None:
        return False
    asked = [program, "-c", "import venv, ensurepip"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    wheel, sdist = build(ROOT, tmp_path_factory.mktemp("dist"), "--sdist", "--wheel")
    return {"wheel": wheel, "sdist": sdist}


class Installed:
    """A fresh environment, a HOME of its own and a checkpoint."""

    def __init__(self, python: str, what: str, folder: Path) -> None:
        self.folder = folder
        (folder / "home").mkdir()
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
        self.python("-m", "pip", "install", "--quiet", "--disable-pip-version-check", what)
        (folder / "m.safetensors").write_bytes(safetensors_bytes({"w": weights(3, 64)}))

    @property
    def site_packages(self) -> Path:
        (found,) = (self.folder / "venv" / "lib").glob("python*/site-packages")
        return found

    def megabytes(self) -> float:
        """Size of everything that was installed, pip and setuptools aside."""
        aside = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
        files = [path for path in self.site_packages.rglob("*") if path.is_file()]
        counted = [
            p for p in files if not p.relative_to(self.site_packages).parts[0].startswith(aside)
        ]
        return sum(path.stat().st_size for path in counted) / 1e6

    def python(self, *args: str) -> str:
        return self._run(self.folder / "venv" / "bin" / "python", *args)

    def datanode(self, *args: str, expect: int = 0) -> str:
        return self._run(self.folder / "venv" / "bin" / "datanode", *args, expect=expect)

    def _run(self, *command: Path | str, expect: int = 0) -> str:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("DATANODE_", "XDG_", "PYTHON"))
        }
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**inherited, "HOME": str(self.folder / "home")}
            if "pip" not in command
            else inherited,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, (command, done.stdout, done.stderr)
        return done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("python", list(pythons()))
def test_reads_and_writes_a_node_elsewhere_without_the_extra(
    python: str,
    kind: str,
    built: dict[str, Path],
    shared_localnet: LocalNetwork,
    tmp_path: Path,
) -> None:
    installed = Installed(python, str(built[kind]), tmp_path)
    assert not NOT_WITHOUT_EXTRA & {path.name for path in installed.site_packages.iterdir()}
    print(f"{kind}: {installed.megabytes():.0f} MB")
    assert installed.megabytes() <= MAX_MB
    there = ("--network", shared_localnet.url)
    installed.datanode("plan", "m.safetensors")
    installed.datanode("node", "create", "main", *there)
    installed.datanode("upload", "m.safetensors", "--as", "m", *there)
    installed.datanode("audit", "m", *there)
    installed.datanode("fetch", "m", "back", *there)
    compare(tmp_path)
    told = installed.datanode("localnet", "start", expect=LocalNetworkError.exit_code)
    assert extra.INSTALL in told


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("python", list(pythons()))
def test_does_the_main_job_with_the_extra(
    python: str, kind: str, built: dict[str, Path], tmp_path: Path
) -> None:
    installed = Installed(python, f"{built[kind]}[localnet]", tmp_path)
    installed.datanode("localnet", "start", "--detach", "--port", "0")
    try:
        installed.datanode("node", "create", "main")
        installed.datanode("upload", "m.safetensors", "--as", "m")
        installed.datanode("audit", "m")
        installed.datanode("fetch", "m", "back")
    finally:
        installed.datanode("localnet", "stop")
    compare(tmp_path)


def compare(folder: Path) -> None:
    back = folder / "back" / "m.safetensors"
    assert back.read_bytes() == (folder / "m.safetensors").read_bytes()


def test_download_without_extras_is_bounded(built: dict[str, Path], tmp_path: Path) -> None:
    pip = [next(pythons()), "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "download", "-q", "-d", tmp_path, built["wheel"]], check=True)
    sizes = {path.name: path.stat().st_size / 1e6 for path in tmp_path.iterdir()}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1])[:10]:
        print(f"{size:6.1f} MB  {name}")
    print(f"{sum(sizes.values()):6.1f} MB  in all")
    assert sum(sizes.values()) <= MAX_DOWNLOAD_MB
