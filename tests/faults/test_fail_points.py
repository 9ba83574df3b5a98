"""Every named point of an upload is struck once: killed, without room, broken or slow.

Afterwards the same command without a fault ends as if nothing had been: the manifest of an upload
that nothing disturbed, byte for byte, and no frame paid twice by the network's own ledger.
"""

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.errors import DataNodeError
from datanode.fees import FeeSchedule
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader
from tests.fakes.ledger_judge import paid
from tests.faults.fail_points import STEPS, Action, FailPoints
from tests.uploader.session.stage import safetensors_bytes
from uploader.session.upload import UploadContext, upload
from uploader.source import open_source
from uploader.state.database import open_database
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
ENDED, FAILED, KILLED = 0, 3, -signal.SIGKILL
SHARED = 2


@dataclass(frozen=True, slots=True)
class Stage:
    """A network with a node, and whoever uploads to it."""

    net: LocalNetwork
    pem: Path
    canister: Principal
    folder: Path
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    def agent(self) -> Agent:
        network = Network(url=self.net.url, root_key=self.net.root_key, name="test")
        return Agent(network, identities.load(self.pem))

    def weights(self) -> Path:
        """Tensors that all sources share, and tensors of this source: three messages."""
        number = next(self.numbers)
        rng = np.random.default_rng(number)
        shared = np.random.default_rng(0)
        tensors = {f"a.{i}": shared.integers(0, 256, (300, 400), np.uint8) for i in range(SHARED)}
        tensors |= {f"b.{i}": rng.integers(0, 256, (1300, 1000), np.uint8) for i in range(3)}
        path = self.folder / f"{number}" / "model.safetensors"
        path.parent.mkdir()
        path.write_bytes(safetensors_bytes(tensors))
        return path

    def upload(self, source: Path, model: str, state: str) -> None:
        with (
            closing(self.agent()) as agent,
            open_database(f"sqlite:///{source.parent / state}.db") as database,
        ):
            node = CanisterNode(agent, self.canister)
            place = UploadContext(
                node=node,
                me=agent.identity.principal,
                reader=Reader(node, root_key=self.net.root_key),
                state=StateStore(database, me=agent.identity.principal),
                outbox=Outbox(source.parent / f"{state}-outbox"),
                fees=FeeSchedule.load(),
            )
            upload(open_source(source), model, place)

    def assert_whole(self, source: Path, model: str) -> None:
        """The model is there byte for byte, under the manifest of an undisturbed upload."""
        self.upload(source, f"{model}-undisturbed", "undisturbed")
        with closing(self.agent()) as agent:
            reader = Reader(CanisterNode(agent, self.canister), root_key=self.net.root_key)
            version = reader.open_version(model)
            (entry,) = version.head.files
            assert version.version == 1
            assert version.manifest == reader.open_version(f"{model}-undisturbed").manifest
            assert b"".join(version.chunks(range(entry.chunk_count))) == source.read_bytes()

    def forget(self, source: Path, model: str) -> None:
        """Delete what is proven, so that the node stays small."""
        source.unlink()
        with closing(self.agent()) as agent:
            for name in (model, f"{model}-undisturbed"):
                CanisterNode(agent, self.canister).delete_model(name)


def _child(work: Callable[[], None], points: FailPoints, report: Path) -> int:
    """Run work in a forked process with fail points; returns how it ended."""
    child = os.fork()
    if not child:
        code = 1
        try:
            points.install()
            try:
                work()
                code = ENDED
            except (DataNodeError, OSError):
                code = FAILED
            with report.open("w") as file:
                json.dump(points.met, file)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("stage")
    pem = folder / "me.pem"
    identities.generate(pem)
    with LocalNetwork(folder / "net") as net:
        where = Network(url=net.url, root_key=net.root_key, name="test")
        agent = Agent(where, identities.load(pem))
        canister = deploy.create_node(agent, cycles=10**15)
        agent.close()
        made = Stage(net, pem, canister, folder)
        made.upload(made.weights(), "base", "state")
        yield made


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("side", ["before", "after"])
def test_a_fault_at_any_named_point_loses_nothing_and_pays_nothing_twice(
    stage: Stage, side: str
) -> None:
    report = stage.folder / "met.json"
    first = stage.weights()
    model = f"first-{side}"  # a new name, as each strike has: another version meets other points
    assert _child(lambda: stage.upload(first, model, "state"), FailPoints(), report) == ENDED
    met: dict[str, int] = json.loads(report.read_text())
    named = {f"{owner.__name__}.{step}" for owner, steps in STEPS.items() for step in steps}
    assert met.keys() == {f"{step} {side}" for step in named for side in ("before", "after")}
    assert len(met) >= 40

    ends: dict[str, int] = {}
    for strike in _strikes({point: met[point] for point in met if point.endswith(side)}, side):
        source = stage.weights()
        model = source.parent.name
        ended = _child(partial(stage.upload, source, model, "state"), strike, report)
        assert ended in (ENDED, FAILED, KILLED), f"{strike}: {ended}"
        assert (ended == KILLED) == (strike.action is Action.KILL), f"{strike}: {ended}"
        ends[f"{strike.action} {ended}"] = ends.get(f"{strike.action} {ended}", 0) + 1
        stage.upload(source, model, "state")
        stage.assert_whole(source, model)
        stage.forget(source, model)
    verdict = paid(stage.net.ledger())
    print(f"{len(met)} points, {ends}, {verdict}")
    assert verdict.twice_count == 0
    assert verdict.stored_count == verdict.frames_count


def _strikes(met: dict[str, int], side: str) -> Iterator[FailPoints]:
    """Every step with a kill before or after it and, in turn, one other action; in the long form
    both sides of all of them with all actions, the first and the last time that they are met."""
    others = itertools.cycle([Action.ENOSPC, Action.EIO, Action.DELAY])
    for index, (point, count) in enumerate(sorted(met.items())):
        if LONG:
            for action, nth in itertools.product(Action, sorted({1, count})):
                yield FailPoints(point=point, nth=nth, action=action)
        elif index % 2 == (side == "after"):
            yield FailPoints(point=point, nth=1 + index % count)
            if index % 3 == 0:
                yield FailPoints(point=point, nth=1 + index % count, action=next(others))
