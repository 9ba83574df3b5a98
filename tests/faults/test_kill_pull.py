"""A pull that is killed, upgraded under or never answered: the next one fetches what is missing."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from datanode import frame
from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.digest import frame_digest
from datanode.errors import ConflictError
from datanode.inference.client import InferenceNode
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.node.port import Grant, Role
from datanode.node.settings import CALL_CYCLES
from datanode.principal import Principal
from datanode.reader import Reader
from tests.agents import agent_of
from tests.fakes.checkpoints import some_bytes
from tests.fakes.frame_source import Manner, answer, calls_count, frame_source_wasm
from tests.fakes.upload_contexts import upload_contexts
from tests.faults.forked import forked, killed
from tests.faults.kill_stage import write_tensors
from uploader.session.copy_source import open_copy_source
from uploader.session.pull import pull
from uploader.session.upload import upload
from uploader.source import open_source

TENSORS = 6
MODEL = "model"
KILLS = int(os.environ.get("DATANODE_KILLS", "20"))
LONGEST_S = 0.2
TIMEOUT_S = 120
TRIES = 5
MESSAGES_CYCLES = 60_000_000
"""Most that messages and instructions of a call cost its caller, besides the call's price."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A node that holds a model, and the module of an inference canister that may read it."""

    net: LocalNetwork
    pem: Path
    source: Principal

    def agent(self) -> Agent:
        return agent_of(self.net, self.pem)

    def new_target(self) -> Principal:
        """Create an inference canister, and let it read."""
        with closing(self.agent()) as agent:
            target = deploy.create_node(agent, cycles=10**15)
            deploy.promote_node(agent, target)
            grant = Grant(to=target, role=Role.READER, model=MODEL)
            CanisterNode(agent, self.source).grant(grant)
        return target

    def pull(self, target: Principal, before_batch: Callable[[], None] = lambda: None) -> int:
        """Pull what the target lacks; returns how many frames that were."""
        with closing(self.agent()) as agent:
            reader = Reader(CanisterNode(agent, self.source), root_key=self.net.root_key)
            source = open_copy_source(reader.open_version(MODEL))
            node, canister = CanisterNode(agent, target), InferenceNode(agent, target)
            return pull(source, MODEL, node, canister, before_batch=before_batch).frames_count

    def in_child(self, target: Principal, before_batch: Callable[[], None] = lambda: None) -> None:
        """Pull, for a process of its own."""
        self.pull(target, before_batch)

    def answered(self, since: int) -> int:
        """Count calls of `get_frames` that the source has answered since then."""
        entries = self.net.canister(self.source).ledger(after=since)
        return sum(entry.method == "get_frames" and entry.instructions > 0 for entry in entries)

    def last(self) -> int:
        """Return the newest position of the ledger."""
        return self.net.ledger()[-1].sequence


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pull")
    pem = folder / "me.pem"
    identities.generate(pem)
    path = write_tensors(folder / f"{MODEL}.safetensors", 5, [f"{i}" for i in range(TENSORS)])
    with LocalNetwork(folder / "net") as net:
        with closing(agent_of(net, pem)) as agent:
            source = deploy.create_node(agent, cycles=10**15)
            with upload_contexts(agent, net.root_key, [source], folder) as (context,):
                upload(open_source(path), MODEL, context)
        yield Pair(net, pem, source)


def _kill_at(batch: int) -> Callable[[], None]:
    batches = iter(range(1, batch))

    def strike() -> None:
        if next(batches, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    return strike


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_pull_that_is_killed_before_each_message_fetches_nothing_twice(pair: Pair) -> None:
    target, since = pair.new_target(), pair.last()
    kills = 0
    while True:
        child = forked(partial(pair.in_child, target, _kill_at(2)))
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            assert status == 0
            break
        kills += 1
    batches = pair.answered(since)
    print(f"{kills} kills, {batches} calls")
    assert kills == batches - 1 >= TENSORS - 1
    assert pair.pull(target) == 0
    assert pair.answered(since) == batches


def test_a_canister_that_is_upgraded_before_each_message_fetches_nothing_twice(pair: Pair) -> None:
    target = pair.new_target()
    since = pair.last()
    with closing(pair.agent()) as agent:
        found = pair.pull(target, lambda: deploy.upgrade_node(agent, target))
    assert found >= TENSORS
    calls = pair.answered(since)
    assert pair.pull(target) == 0
    assert pair.answered(since) == calls


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_kills_at_random_moments_fetch_at_most_the_message_in_flight_twice(pair: Pair) -> None:
    rng = np.random.default_rng(11)
    kills = 0
    while kills < KILLS:
        target, since, before = pair.new_target(), pair.last(), kills
        while killed(forked(partial(pair.in_child, target)), rng.uniform(0.0, LONGEST_S)):
            kills += 1
        assert pair.pull(target) == 0
        calls = pair.answered(since)
        print(f"{kills - before} kills, {calls} calls")
        assert calls <= TENSORS + 1 + kills - before
    assert kills >= KILLS


@pytest.mark.nightly
def test_a_source_that_never_answers_is_given_up_after_the_time_limit(pair: Pair) -> None:
    source = pair.net.create_canister(frame_source_wasm())
    wanted = frame.seal_raw(some_bytes(1_000))
    answer(source, Manner.NEVER)
    target = pair.new_target()
    with closing(pair.agent()) as agent:
        node, canister = CanisterNode(agent, target), InferenceNode(agent, target)
        lease = node.begin_upload("pulled", frames_count=0, frame_bytes=0).id
        ask = partial(
            canister.pull,
            source.id,
            lease,
            model="m",
            manifest=bytes(32),
            chunks=[0],
            frames=[frame_digest(wanted)],
        )
        since = pair.last()
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask)
            for tries in range(1, TRIES + 1):
                while calls_count(source) < tries:
                    time.sleep(0.01)
                assert not asked.done()
                pair.net.advance(seconds=TIMEOUT_S + 1)
            with pytest.raises(ConflictError, match=f"{source.id} does not answer"):
                asked.result()
        entries = pair.net.canister(target).ledger(after=since)
        paid = -sum(c for e in entries for name, c in e.items if name not in RENT)
        assert paid <= TRIES * (CALL_CYCLES + MESSAGES_CYCLES)
        assert list(node.lease_frames(lease)) == []


RENT = ("storage", "base", "compute", "ingress")
