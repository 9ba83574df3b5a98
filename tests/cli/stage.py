"""A user at a terminal: a folder with a HOME of its own, in which `datanode` commands run.

Commands run in this process, through `uploader.cli.main`; `start` runs one in a process of its own,
where signals, kills, pipes or limits matter.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pytest

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.node import registry
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader
from tests.uploader.session.stage import safetensors_bytes
from uploader.cli import main

PYTHON: Final = sys.executable


@dataclass(frozen=True, slots=True)
class Done:
    """Result of a command."""

    code: int
    out: str
    err: str

    @property
    def results(self) -> list[dict[str, Any]]:
        """The objects of stdout."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        """The last object of stdout."""
        last = self.results[-1]
        assert last["type"] == "summary"
        return last

    @property
    def error(self) -> dict[str, Any]:
        """The last object of stderr."""
        last: dict[str, Any] = json.loads(self.err.splitlines()[-1])
        assert last["type"] == "error", self.err
        return last

    def says(self, *parts: str) -> bool:
        """Whether the text for people has all these parts."""
        text = (self.err + self.out).lower()
        return all(part.lower() in text for part in parts)


@dataclass(slots=True)
class User:
    """A user with a home folder, an identity and a running network."""

    home: Path
    net: LocalNetwork
    canister: Principal
    capture: pytest.CaptureFixture[str] = field(repr=False)
    patch: pytest.MonkeyPatch = field(repr=False)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        state = self.home / ".datanode" / "localnet"
        if not state.is_symlink():
            state.parent.mkdir()
            state.symlink_to(self.net.directory)
        self.arrive()

    def arrive(self) -> None:
        """Make this user the one whose folders and environment are in use."""
        for name in [n for n in os.environ if n.startswith(("DATANODE_", "XDG_"))]:
            self.patch.delenv(name)
        self.patch.delenv("COLUMNS", raising=False)  # xdist sets it
        self.patch.setenv("DATANODE_DEBUG", "1")
        self.patch.setenv("HOME", str(self.home))
        self.patch.chdir(self.home)
        if not self.config.exists():
            registry.add(self.config, "main", self.canister, network="local")

    @property
    def config(self) -> Path:
        """The configuration folder."""
        return self.home / ".config" / "datanode"

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.home / ".local" / "state" / "datanode"

    @property
    def database(self) -> Path:
        """The one state database."""
        (path,) = self.state.glob("*.db")
        return path

    @property
    def pem(self) -> Path:
        """The identity of the configuration folder."""
        return self.config / "identity.pem"

    @property
    def principal(self) -> Principal:
        """Return the user's principal; create an identity if there is none."""
        self.make_identity()
        return identities.load(self.pem).principal

    def make_identity(self) -> None:
        """Create the user's identity if there is none."""
        if not self.pem.exists():
            identities.generate(self.pem)

    def run(self, *args: object) -> Done:
        """Run a command in this process."""
        self.capture.readouterr()
        code = main([str(arg) for arg in args])
        out, err = self.capture.readouterr()
        assert "Traceback" not in err + out
        assert "\x1b" not in err + out
        return Done(code, out, err)

    def ok(self, *args: object) -> dict[str, Any]:
        """Run a command that succeeds, with --json; returns its summary."""
        done = self.run(*args, "--json")
        assert done.code == 0, done.err
        return done.summary

    def fails(self, code: int, *args: object) -> Done:
        """Run a command that ends with `code`, for people and with --json alike."""
        done = self.run(*args)
        assert done.code == code, (done.code, done.err, done.out)
        assert "error:" in done.err, done.err
        return done

    def command(self, *args: object) -> list[str]:
        """The command line of a command in a process of its own."""
        return [PYTHON, "-m", "uploader.cli", *map(str, args)]

    def start(self, *args: object, limits: str = "", **more: str) -> "subprocess.Popen[str]":
        """Start a command in a process of its own; `limits` runs in the shell before it."""
        command = self.command(*args)
        if limits:
            command = ["sh", "-c", f'{limits}; exec "$@"', "sh", *command]
        return subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **more},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def process(self, *args: object, limits: str = "", **more: str) -> Done:
        """Run a command in a process of its own."""
        process = self.start(*args, limits=limits, **more)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err + out, err
        return Done(process.returncode, out, err)

    def agent(self) -> Agent:
        """Speak to the network as this user."""
        self.make_identity()
        where = Network(url=self.net.url, root_key=self.net.root_key, name="local")
        return Agent(where, identities.load(self.pem))

    @contextmanager
    def node(self) -> Iterator[CanisterNode]:
        """Reach the node as this user."""
        agent = self.agent()
        try:
            yield CanisterNode(agent, self.canister)
        finally:
            agent.close()

    def flip(self, model: str, *, chunk: int = 0) -> None:
        """Flip a bit of a stored chunk, behind the canister's back."""
        with self.node() as node:
            version = Reader(node, root_key=self.net.root_key).open_version(model)
            (frame,) = node.get_frames(model, version.manifest, [chunk])
        assert isinstance(frame, bytes)
        offset = self.net.find(self.canister, frame)
        assert offset is not None
        self.net.flip(self.canister, offset + len(frame) - 1, 1)


class MakeUser(Protocol):
    """Makes users without rights."""

    def __call__(self, name: str = "") -> User:
        """Make one; each has a home of its own."""


def noise(seed: int, size: int = 40_000) -> np.ndarray:
    """Bytes that do not compress."""
    return np.random.default_rng(seed).integers(0, 256, (size // 100, 100), np.uint8)


def checkpoint(path: Path, seed: int, *, tensors: int = 1, size: int = 40_000) -> Path:
    """Write a small checkpoint; other seeds give other bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    made: Mapping[str, np.ndarray] = {
        f"layer.{index}": noise(seed * 1_000 + index, size) for index in range(tensors)
    }
    path.write_bytes(safetensors_bytes(made))
    return path
