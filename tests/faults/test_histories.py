"""Random histories of uploads, judged by the network's own ledger: no frame is paid twice or lost.

One identity on one machine: two names, two sources, restarts, threads, several spellings of one
state, restored and deleted databases, kills, replicas that lag, lie, sign badly or do not answer.
"""

import faulthandler
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.errors import DataNodeError
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader
from tests.fakes.ledger_judge import paid
from tests.faults.histories import NAMES, Between, Command, Way, history
from tests.uploader.session.stage import safetensors_bytes
from uploader.library import UploadOptions, upload

RUNS: Final = int(os.environ.get("DATANODE_HISTORIES", "4"))
A_NODE: Final = 25
"""Histories that share a node; each has contents of its own."""

HANG_S: Final = 600.0
"""Far above what an upload takes on a busy machine; what hangs tells where before it is killed."""

SLEEPER: Final = "sleeper"
ENDED, FAILED = 0, 3


@dataclass(slots=True)
class Desk:
    """One machine and one identity that upload two checkpoints to one node."""

    net: LocalNetwork
    pem: Path
    canister: Principal
    folder: Path
    seed: int

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        tensors = {
            f"{self.seed}.{i}": rng.integers(0, 256, (450, 1000), np.uint8) for i in range(7)
        }
        tensors["again"] = tensors[f"{self.seed}.3"]
        self.folder.mkdir()
        self.source("one").write_bytes(safetensors_bytes(tensors))
        for i in range(2):
            tensors[f"{self.seed}.{i}"] = rng.integers(0, 256, (450, 1000), np.uint8)
        self.source("other").write_bytes(safetensors_bytes(tensors))
        (self.folder / "real").mkdir()
        (self.folder / "link").symlink_to(self.folder / "real")

    def source(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    @property
    def database(self) -> Path:
        return self.folder / "real" / "state.db"

    def state(self, spelling: str) -> str:
        return {
            "path": str(self.database),
            "symlink": str(self.folder / "link" / "state.db"),
            "url": f"sqlite:///{self.database}",
        }[spelling]

    def model(self, name: str) -> str:
        return f"h{self.seed}/{name}"

    def upload(self, model: str, source: str, spelling: str, *, restart: bool) -> None:
        upload(
            self.source(source),
            self.model(model),
            node=self.canister.text,
            network=self.net.url,
            identity=str(self.pem),
            state=self.state(spelling),
            options=UploadOptions(restart=restart),
        )

    def run(self, command: Command) -> int:
        """Run a command in a process of its own; returns how it ended."""
        models = NAMES if command.way is Way.NAMES else (command.model,)
        for fault in command.faults:
            self.net.faults.set(**fault)  # type: ignore[arg-type]
        if command.stale:
            self.net.faults.set(
                "stale-query",
                mark=SLEEPER,
                canister=self.canister,
                probability=0.5,
                seed=self.seed,
            )
        try:
            children = [self._child(command, model) for model in models]
            return max(_wait(child, command.kill_after_s) for child in children)
        finally:
            self.net.faults.clear()

    def _child(self, command: Command, model: str) -> int:
        def upload_it() -> None:
            self.upload(model, command.source, command.state, restart=command.restart)

        def work() -> None:
            if command.way is not Way.THREADS:
                upload_it()
                return
            threads = [threading.Thread(target=_quietly, args=(upload_it,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        child = os.fork()
        if not child:
            code = 1
            faulthandler.register(signal.SIGUSR1, all_threads=True)
            try:
                code = ENDED if _quietly(work) else FAILED
            finally:
                os._exit(code)
        return child

    def between(self, what: Between) -> None:
        backup = self.folder / "backup"
        match what:
            case Between.BACKUP:
                shutil.rmtree(backup, ignore_errors=True)
                shutil.copytree(self.folder / "real", backup)
            case Between.RESTORE if backup.exists():
                shutil.rmtree(self.folder / "real")
                shutil.copytree(backup, self.folder / "real")
            case Between.DELETE | Between.RESTORE:
                for path in self.database.parent.glob("state.db*"):
                    if "lock" not in path.name:
                        path.unlink()
            case Between.MARK:
                self.net.faults.mark(self.canister, SLEEPER)

    def check_models(self) -> None:
        """Read both models back with proof and compare their bytes."""
        with closing(_agent(self.net, self.pem)) as agent:
            reader = Reader(CanisterNode(agent, self.canister), root_key=self.net.root_key)
            for name in NAMES:
                version = reader.open_version(self.model(name))
                (entry,) = version.head.files
                raw = b"".join(version.chunks(range(entry.chunk_count)))
                assert entry.path == "one.safetensors"
                assert raw == self.source("one").read_bytes()

    def frames_count(self) -> int:
        """Frames that the node stores; nothing is collected, so they are all that ever came."""
        with closing(_agent(self.net, self.pem)) as agent:
            details = CanisterNode(agent, self.canister).status().details
        assert details is not None
        return details.frames_count


def _quietly(work: Callable[[], None]) -> bool:
    try:
        work()
    except DataNodeError as error:
        if os.environ.get("DATANODE_DEBUG"):
            print(f"{type(error).__name__}: {error.what}", flush=True)
        return False
    return True


def _wait(child: int, kill_after_s: float | None) -> int:
    deadline = time.monotonic() + (HANG_S if kill_after_s is None else kill_after_s)
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    if kill_after_s is None:
        os.kill(child, signal.SIGUSR1)
        time.sleep(1.0)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert kill_after_s is not None, "the uploader hangs"
    return os.waitstatus_to_exitcode(status)


def _agent(net: LocalNetwork, pem: Path) -> Agent:
    network = Network(url=net.url, root_key=net.root_key, name="test")
    return Agent(network, identities.load(pem))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with LocalNetwork(tmp_path_factory.mktemp("histories") / "net") as made:
        yield made


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_random_histories_lose_no_frame_and_pay_none_twice(
    net: LocalNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = tmp_path / "me.pem"
    identities.generate(pem)
    first = int(os.environ.get("DATANODE_HISTORY", "0"))
    ends: dict[int, int] = {}
    for seed in range(first, first + RUNS):
        if (seed - first) % A_NODE == 0:
            with closing(_agent(net, pem)) as agent:
                canister = deploy.create_node(agent, cycles=10**15)
            net.faults.mark(canister, SLEEPER)
        desk = Desk(net, pem, canister, tmp_path / f"{seed}", seed)
        monkeypatch.setenv("XDG_STATE_HOME", str(desk.folder / "xdg"))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(desk.folder / "config"))
        last, before = net.ledger()[-1].sequence, desk.frames_count()
        for command in history(seed):
            ended = desk.run(command)
            ends[ended] = ends.get(ended, 0) + 1
            desk.between(command.between)
        for name in NAMES:
            desk.upload(name, "one", "path", restart=True)
        verdict = paid(net.ledger(after=last))
        told = f"DATANODE_HISTORY={seed}: {verdict}, {history(seed)}"
        assert verdict.twice_count == 0, told
        assert verdict.stored_count == desk.frames_count() - before, told
        desk.check_models()
        shutil.rmtree(desk.folder)
    print(f"{RUNS} histories, commands that ended by: {ends}")
