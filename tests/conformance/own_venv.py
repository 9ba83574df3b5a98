"""A Python of its own for a program whose packages must not meet ours."""

import subprocess
import venv
from pathlib import Path

from tests.conformance.conftest import BUILD


def python_with(name: str, requirements: Path) -> Path:
    """Make a venv with the releases and hashes of a file, once; return its interpreter."""
    home = BUILD / name
    program, installed = home / "bin/python", home / "requirements.txt"
    if not installed.exists() or installed.read_bytes() != requirements.read_bytes():
        venv.create(home, clear=True, with_pip=True)
        command: list[str | Path] = [program, "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--require-hashes", "--only-binary", ":all:", "-r", requirements]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        installed.write_bytes(requirements.read_bytes())
    return program
