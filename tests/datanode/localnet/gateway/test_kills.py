"""The server is killed under load, over and over: nothing acknowledged is lost, nothing is half.

Clients send messages whose effects are known, each until its outcome is certified, over all kills.
"""

import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from datanode import frame
from datanode.agent.certificate import verify
from datanode.agent.client import Agent
from datanode.agent.identity import Identity
from datanode.agent.message_outcome import CertifiedReply
from datanode.agent.network import Network
from datanode.agent.reject import is_certified
from datanode.agent.signed_message import SignedMessage
from datanode.errors import DataNodeError
from datanode.localnet.api import LocalNetwork
from datanode.localnet.state.ledger import BillEntry
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.node.port import PutStatus, Settled
from datanode.principal import Principal
from datanode.units import TC
from tests.datanode.localnet.gateway_client import Client
from tests.datanode.localnet.wasm_canisters import COUNTER
from tests.fakes import puppet
from tests.fakes.counter import argument, number
from tests.fakes.gateway import EMPTY
from tests.fakes.puppet import See, puppet_wasm

CYCLES = 100_000 * TC
KILLS = int(os.environ.get("DATANODE_SERVER_KILLS", "8"))
BETWEEN_KILLS_S = (0.02, 0.5)
FRAME_BYTES = 100_000
FRAMES = 1_000_000


@dataclass
class Job:
    """Messages of one kind and what became of them."""

    canister: Principal
    method: str
    argument: bytes = EMPTY
    settled: list[tuple[SignedMessage, bytes | None]] = field(default_factory=list)
    """Message and reply; None for a certified reject."""

    def work(self, agent: Agent, load: "Load") -> None:
        while not load.done.is_set():
            message = agent.prepare(self.canister, self.method, self.argument)
            reply = load.until_settled(lambda: agent.send(message))  # noqa: B023 - called at once
            self.settled.append((message, reply))

    @property
    def replies(self) -> list[bytes]:
        return [reply for _, reply in self.settled if reply is not None]


@dataclass
class Puts:
    """Frames for a storage canister."""

    node: CanisterNode
    lease: int
    stored: list[bytes] = field(default_factory=list)

    def work(self, _agent: Agent, load: "Load") -> None:
        for index in itertools.count():
            if load.done.is_set():
                return
            data = frame.seal_raw(random.Random(index).randbytes(FRAME_BYTES))
            message = self.node.prepare(self.lease, [data])
            outcome: object = None
            while not isinstance(outcome, Settled):
                load.look()
                outcome = self.node.send(message)
            assert [each.status for each in outcome.results] == [PutStatus.STORED]
            self.stored.append(data)


class Load:
    """Clients at work.

    Attributes:
        done: Set when no more messages are to be sent.
        lost: Set when nobody is left to answer those that were.
    """

    def __init__(self) -> None:
        self.done, self.lost = threading.Event(), threading.Event()

    def look(self) -> None:
        """Go on, a little later, unless there is no sense in it."""
        assert not self.lost.wait(0.02), "the network is gone"

    def until_settled(self, send: Callable[[], object]) -> bytes | None:
        """Ask until the outcome is certified; returns the reply, None for a reject."""
        while True:
            try:
                found = send()
            except DataNodeError as error:
                if is_certified(error):
                    return None
                if not error.retryable:
                    raise
                found = error
            if isinstance(found, CertifiedReply):
                return found.data
            self.look()


@contextmanager
def under_load(agent: Agent, jobs: Sequence[Job | Puts]) -> Iterator[Load]:
    """Work on all jobs meanwhile, each in a thread, and end with all messages settled."""
    load = Load()
    with ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(job.work, agent, load) for job in jobs]
        try:
            yield load
        except BaseException:
            load.lost.set()
            raise
        finally:
            load.done.set()
        for each in running:
            each.result()


def _until_settled(jobs: list[Job | Puts], count: int) -> None:
    """Let the load go on until each job has settled more than so many messages, on any machine."""
    give_up_s = time.monotonic() + 120
    while min(len(job.stored if isinstance(job, Puts) else job.settled) for job in jobs) <= count:
        assert time.monotonic() < give_up_s, "the jobs settle nothing"
        time.sleep(0.05)


def test_killed_under_load_it_keeps_what_it_acknowledged_and_half_of_nothing(
    tmp_path: Path, alice: Identity
) -> None:
    pause = random.Random(7)
    with LocalNetwork(tmp_path) as net:
        where = Network(url=net.url, root_key=net.root_key, name="test")
        with Client(where, alice) as client:
            counter, many = client.counter(CYCLES), client.canister(COUNTER, CYCLES)
            node = CanisterNode(client.agent, deploy.create_node(client.agent, cycles=CYCLES))
            lease = node.begin_upload("kills", frames_count=FRAMES, frame_bytes=FRAMES)
            adds = [Job(counter, "add", argument(1)) for _ in range(2)]
            crash, increment = Job(counter, "crash"), Job(many, "increment")
            grow = Job(many, "grow_and_trap")
            caller, callee = (client.canister(puppet_wasm(), CYCLES) for _ in range(2))
            relay = Job(caller, "run", _relayed(callee))
            puts, jobs = Puts(node, lease.id), [*adds, crash, increment, grow, relay]
            with under_load(client.agent, [*jobs, puts]):
                for _ in range(KILLS):
                    time.sleep(pause.uniform(*BETWEEN_KILLS_S))
                    net.kill()
                    net.start()
                _until_settled([*jobs, puts], KILLS // 4)
            total = number(client.query(counter, "get"))
            _check_counter(client, where, counter, total, adds)
            for job in jobs:
                traps = job in (crash, grow)
                assert len(job.replies) == (0 if traps else len(job.settled))
            _check_increments(client, many, increment)
            _check_relay(client, caller, callee, relay)
            _check_frames(node, puts)
            for job in jobs:
                _check_answers(client.agent, job)
            balances = {str(each["canister"]): each["balance_cycles"] for each in net.canisters()}
        net.stop()
        entries = net.ledger()
    _check_ledger(entries, balances)
    sent = Counter(entry.method for entry in entries)
    assert sent["add"] == total
    assert sent["crash"] == len(crash.settled)
    assert sent["increment"] == len(increment.settled)
    assert sent["grow_and_trap"] == len(grow.settled)
    assert sent["put_frames"] == len(puts.stored)


def _check_counter(
    client: Client, where: Network, counter: Principal, total: int, adds: list[Job]
) -> None:
    """Each message added exactly one: the values that they saw are all different, without a gap."""
    seen = [number(reply) for job in adds for reply in job.replies]
    assert sorted(seen) == list(range(1, total + 1))
    certificate = client.query(counter, "certified")
    tree = verify(certificate, root_key=where.root_key, canister=counter, now_ns=time.time_ns())
    path = [b"canister", counter.raw, b"certified_data"]
    assert tree.lookup(path) == total.to_bytes(8, "little")


def _check_increments(client: Client, many: Principal, increment: Job) -> None:
    """Global, heap pages and stable pages hold one number, in every reply and at the end."""
    seen = []
    for reply in [*increment.replies, client.query(many, "read")]:
        values = {reply[at : at + 8] for at in range(0, len(reply), 8)}
        assert len(values) == 1
        seen.append(int.from_bytes(values.pop(), "little"))
    assert sorted(seen[:-1]) == list(range(1, seen[-1] + 1))


def _relayed(callee: Principal) -> bytes:
    """Add one in another canister, then in this one, and reply with what the other then had."""
    inner = puppet.add(1) + puppet.see(See.COUNT) + puppet.reply()
    return puppet.call(callee, inner, reply=puppet.add(1) + puppet.forward() + puppet.reply())


def _check_relay(client: Client, caller: Principal, callee: Principal, relay: Job) -> None:
    """Each call was executed once on both sides, and answered with what it did."""
    seen = sorted(puppet.number(reply) for reply in relay.replies)
    assert seen == list(range(1, len(relay.settled) + 1))
    for canister in (caller, callee):
        assert puppet.number(client.query(canister, "count")) == len(relay.settled)


def _check_frames(node: CanisterNode, puts: Puts) -> None:
    """Every acknowledged frame is there, whole."""
    step = node.scrub(b"", len(puts.stored) * 2 * FRAME_BYTES)
    assert step.next_cursor is None
    assert len(step.checked) == len(puts.stored)
    assert not step.corrupt


def _check_answers(agent: Agent, job: Job) -> None:
    """The network tells each message's outcome again, the same."""
    for message, reply in job.settled[:: max(1, len(job.settled) // 50)]:
        request, expiry_ns = message.request_id, message.expiry_ns
        asked = partial(agent.recover, request, job.canister, expiry_ns)
        assert Load().until_settled(asked) == reply


def _check_ledger(entries: list[BillEntry], balances: dict[str, object]) -> None:
    """Each message has one entry, and the items of all entries are the change of balances."""
    ids = [(entry.request_id, entry.method) for entry in entries if entry.request_id]
    assert len(set(ids)) == len(ids)
    for canister, balance_cycles in balances.items():
        mine = [entry for entry in entries if entry.canister.text == canister]
        assert mine[-1].balance_cycles == balance_cycles
        assert balance_cycles == -sum(entry.total_cycles for entry in mine)
