"""Clients that nobody here wrote, fetched from their registries at fixed versions."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode.localnet.api import LocalNetwork
from tests.conformance.icp_program import Icp
from tests.fakes.counter import counter_wasm

BUILD = Path(__file__).parents[2] / "build/conformance"
"""What is built or fetched once and used again."""

CLIENTS = ("@icp-sdk/core@6.1.0", "@icp-sdk/icp-cli-linux-x64@1.5.0")
TOOLS = (
    *("@icp-sdk/core@5.4.0", "@icp-sdk/canisters@3.6.0", "@dfinity/utils@4.2.1"),
    *("@dfinity/response-verification@3.0.3", "azle@0.33.0", "motoko@4.10.0"),
)
"""What makes and uses canisters; it needs the JS agent's release before the newest."""


@pytest.fixture(scope="session")
def npm_folder() -> Path:
    """A folder with the clients in its `node_modules`."""
    return installed("npm_clients", CLIENTS)


@pytest.fixture(scope="session")
def tools_folder() -> Path:
    """A folder with the makers of canisters in its `node_modules`."""
    return installed("npm_tools", TOOLS)


def installed(name: str, packages: tuple[str, ...]) -> Path:
    """Install packages from the npm registry into a folder, once."""
    folder = BUILD / name
    stamp = folder / "installed.json"
    if not stamp.exists() or json.loads(stamp.read_text()) != list(packages):
        if shutil.which("npm") is None:
            pytest.fail("npm is needed: apt-get install -y npm")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        stamp.write_text(json.dumps(packages))
    return folder


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    """A network that runs."""
    with LocalNetwork(tmp_path_factory.mktemp("localnet")) as network:
        yield network


@pytest.fixture(scope="session")
def icp(net: LocalNetwork, npm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Icp:
    """The `icp` command line."""
    program = npm_folder / "node_modules/@icp-sdk/icp-cli-linux-x64/bin/icp"
    return Icp(program, tmp_path_factory.mktemp("home"), net)


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
