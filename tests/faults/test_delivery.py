"""A whole upload under each fault of delivery: finished, nothing paid twice, every byte there.

The judge is the network's own ledger.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.digest import frame_digest
from datanode.fees import FeeSchedule
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.principal import Principal
from datanode.reader import Reader
from tests.cli.stage import checkpoint
from tests.fakes.ledger_judge import paid
from uploader.session.upload import UploadContext, upload
from uploader.source import open_source
from uploader.state.database import open_database
from uploader.state.outbox import Outbox
from uploader.state.store import StateStore

Faults = tuple[Mapping[str, int | float | str], ...]

CASES: Mapping[str, Faults] = {
    "slow calls": ({"kind": "latency", "ms": 40, "verb": "call"},),
    "every third call is lost": ({"kind": "lose-request", "verb": "call", "every": 3},),
    "every second answer is lost": ({"kind": "lose-answer", "verb": "call", "every": 2},),
    "every answer to frames is lost": ({"kind": "lose-answer", "method": "put_frames"},),
    "questions are lost": (
        {"kind": "lose-answer", "verb": "query", "count": 2},
        {"kind": "lose-request", "verb": "read_state", "every": 3},
    ),
    "429 with a wish": (
        {"kind": "busy", "status": 429, "retry_after_s": 0, "probability": 0.4, "seed": 1},
    ),
    "503 without one": ({"kind": "busy", "probability": 0.4, "seed": 2},),
    "late, told nothing": ({"kind": "late", "ms": 150, "every": 2},),
    "202 and done at once": ({"kind": "late"},),
    "duplicates": (
        {"kind": "duplicate", "copies": 3},
        {"kind": "duplicate", "copies": 2, "ms": 120},
    ),
    "small blocks": ({"kind": "blocks", "interval_ms": 60, "bytes": 2_100_000},),
    "a clock that is behind": ({"kind": "skew", "s": -600},),
    "a clock that is ahead": ({"kind": "skew", "s": 600},),
    "all of it": (
        {"kind": "latency", "ms": 10, "probability": 0.3, "seed": 3},
        {"kind": "busy", "probability": 0.15, "seed": 4},
        {"kind": "lose-request", "verb": "call", "probability": 0.15, "seed": 5},
        {"kind": "lose-answer", "verb": "call", "probability": 0.3, "seed": 6},
        {"kind": "late", "ms": 80, "probability": 0.3, "seed": 7},
        {"kind": "duplicate", "copies": 2, "ms": 30, "probability": 0.5, "seed": 8},
        {"kind": "skew", "s": 240},
    ),
}


def nap(seconds: float) -> None:
    """Wait a little instead of politely."""
    time.sleep(min(seconds, 0.03))


@pytest.fixture
def pem(owner_pem: Path) -> Path:
    return owner_pem


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with LocalNetwork(tmp_path_factory.mktemp("delivery") / "net") as net:
        yield net


@pytest.fixture(scope="module")
def node(own: LocalNetwork, owner_pem: Path) -> Principal:
    with _agent(own, owner_pem) as agent:
        return deploy.create_node(agent)


def _agent(net: LocalNetwork, pem: Path) -> Agent:
    network = Network(url=net.url, root_key=net.root_key, name="test")
    return Agent(network, identities.load(pem), sleep=nap)


def _set(net: LocalNetwork, faults: Faults) -> None:
    for fault in faults:
        net.faults.set(**fault)  # type: ignore[arg-type]


def _upload(net: LocalNetwork, node: Principal, pem: Path, source: Path, model: str) -> int:
    """Upload a checkpoint with a state beside it; returns the version."""
    folder = source.parent
    with (
        _agent(net, pem) as agent,
        open_database(f"sqlite:///{folder / 'state.db'}") as database,
    ):
        canister = CanisterNode(agent, node)
        place = UploadContext(
            node=canister,
            me=agent.identity.principal,
            reader=Reader(canister, root_key=net.root_key, clock_ns=agent.time_ns),
            state=StateStore(database, me=agent.identity.principal),
            outbox=Outbox(folder / "outbox"),
            fees=FeeSchedule.load(),
            sleep=nap,
        )
        return upload(open_source(source), model, place).version


def _assert_whole(net: LocalNetwork, node: Principal, pem: Path, source: Path, model: str) -> None:
    with _agent(net, pem) as agent:
        reader = Reader(CanisterNode(agent, node), root_key=net.root_key)
        version = reader.open_version(model)
        (entry,) = version.head.files
        assert b"".join(version.chunks(range(entry.chunk_count))) == source.read_bytes()


@pytest.mark.parametrize("name", list(CASES))
def test_an_upload_under_a_fault_of_delivery_pays_once_and_is_whole(
    own: LocalNetwork, node: Principal, pem: Path, tmp_path: Path, name: str
) -> None:
    seed = int.from_bytes(frame_digest(name.encode())[:3])
    source = checkpoint(tmp_path / "m.safetensors", seed, tensors=5, size=1_200_000)
    model = f"m{seed}"
    last = own.ledger()[-1].sequence
    _set(own, CASES[name])
    try:
        assert _upload(own, node, pem, source, model) == 1
        struck = own.faults.struck_count()
    finally:
        own.faults.clear()
    assert struck or name.startswith("a clock"), "the fault never struck"
    verdict = paid(own.ledger(after=last))
    assert verdict.twice_count == 0
    assert verdict.stored_count == verdict.frames_count >= 5
    _assert_whole(own, node, pem, source, model)


def test_messages_that_expire_on_their_way_are_sent_anew_and_paid_once(
    own: LocalNetwork, node: Principal, pem: Path, tmp_path: Path
) -> None:
    """The subnet's time jumps over their expiry while they are late: they never run."""
    source = checkpoint(tmp_path / "m.safetensors", 4_242, tensors=5, size=1_200_000)
    last = own.ledger()[-1].sequence
    late = own.faults.set("late", method="put_frames", ms=2_000)

    def jump() -> None:
        while not own.faults.struck_count():
            time.sleep(0.01)
        own.faults.set("skew", s=330)
        own.faults.clear(late)

    jumping = threading.Thread(target=jump)
    jumping.start()
    try:
        assert _upload(own, node, pem, source, "expired") == 1
        log = own.directory / "log.txt"
        for _ in range(600):
            if "expired before it was executed" in log.read_text():
                break
            time.sleep(0.05)
        else:
            pytest.fail("no message was late")
    finally:
        jumping.join()
        own.faults.clear()
    verdict = paid(own.ledger(after=last))
    assert verdict.twice_count == 0
    assert verdict.stored_count == verdict.frames_count >= 5
    _assert_whole(own, node, pem, source, "expired")
