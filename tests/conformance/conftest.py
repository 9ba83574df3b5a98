"""Clients that nobody here wrote, fetched from their registries at fixed versions."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from tests.fakes.counter import counter_wasm

BUILD = Path(__file__).parents[2] / "build/conformance"
"""What is built or fetched once and used again."""

PACKAGES = ("@icp-sdk/core@6.1.0", "@icp-sdk/icp-cli-linux-x64@1.5.0")


@pytest.fixture(scope="session")
def npm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients in its `node_modules`."""
    folder = tmp_path_factory.mktemp("npm")
    if shutil.which("npm") is None:
        pytest.fail("npm is needed: apt-get install -y npm")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network that runs."""
    with LocalNetwork(tmp_path_factory.mktemp("localnet")) as network:
        yield network


@pytest.fixture(scope="session")
def wasm_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The counter canister as a file."""
    path = tmp_path_factory.mktemp("wasm") / "counter.wasm"
    path.write_bytes(counter_wasm())
    return path


@pytest.fixture(scope="session")
def large_wasm_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The counter canister, too large for one message: 3 MB of a custom section behind it."""
    size = 3_000_000
    length = b"".join(bytes([size >> shift & 0x7F | 0x80]) for shift in (0, 7, 14))
    section = b"\0" + length + bytes([size >> 21]) + b"\4junk" + bytes(size - 5)
    path = tmp_path_factory.mktemp("wasm") / "large.wasm"
    path.write_bytes(counter_wasm() + section)
    return path
