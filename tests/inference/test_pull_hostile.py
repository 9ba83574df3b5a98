"""A source that lies, fails or is gone: the canister keeps only what it asked for, and says why."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from datanode import frame
from datanode.agent.candid import Value, encode
from datanode.agent.client import Agent
from datanode.digest import frame_digest
from datanode.errors import ConflictError, DataNodeError, NodeFullError
from datanode.inference.client import InferenceNode
from datanode.localnet.api import LocalNetwork
from datanode.localnet.handle import CanisterHandle
from datanode.node.candid_interface import METHODS
from datanode.node.canister import CanisterNode
from datanode.node.port import PutResult, PutStatus
from datanode.node.settings import CALL_CYCLES
from datanode.principal import Principal
from tests.fakes.checkpoints import some_bytes
from tests.fakes.frame_source import Manner, answer, calls_count, frame_source_wasm
from tests.inference.tiny_node import World, upgrade_at_once

FRAME_BYTES = 1_000
POLL_S = 0.005
LARGE_BYTES = 1_800_000
TRIES = 5
"""How often a call is made whose outcome is unknown."""
MESSAGES_CYCLES = 60_000_000
"""Most that messages and instructions of a pull of small frames cost, besides the call's price."""
REPLY = METHODS["get_frames"].reply


def reply(*answers: Value) -> bytes:
    """Encode a reply of `get_frames`."""
    return encode((REPLY,), (("Ok", list(answers)),))


def given(*frames: bytes) -> bytes:
    """Encode a reply that gives frames."""
    return reply(*(("frame", data) for data in frames))


@dataclass(frozen=True, slots=True)
class Pulling:
    """A source, and a canister with a lease that pulls from it.

    Attributes:
        network: Where they are.
        source: What the tests make it answer.
        canister: Pulls.
        node: The same, as a storage node.
        lease: Of the caller; it holds `kept`.
        kept: Digest of a frame that the lease holds from the beginning.
    """

    network: LocalNetwork
    source: CanisterHandle
    canister: InferenceNode
    node: CanisterNode
    lease: int
    kept: bytes

    def pull(self, frames: Sequence[bytes], source: Principal | None = None) -> list[PutResult]:
        """Pull frames from the source."""
        return self.canister.pull(
            source or self.source.id,
            self.lease,
            model="m",
            manifest=bytes(32),
            chunks=list(range(len(frames))),
            frames=[frame_digest(data) for data in frames],
        )

    def held(self) -> set[bytes]:
        """List the digests that the lease holds."""
        return {record.frame for record in self.node.lease_frames(self.lease)}

    def stored_count(self) -> int:
        """Count the frames of the canister."""
        details = self.node.status().details
        assert details is not None
        return details.frames_count

    def paid(self, since: int) -> int:
        """Add up what the canister has paid since a position of the ledger."""
        entries = self.network.canister(self.node.principal).ledger(after=since)
        return sum(cycles for e in entries for name, cycles in e.items if name not in RENT)

    def last(self) -> int:
        """Return the newest position of the ledger."""
        return self.network.ledger()[-1].sequence


RENT = ("storage", "base", "compute", "ingress")


@pytest.fixture(scope="module")
def source(network: LocalNetwork) -> CanisterHandle:
    return network.create_canister(frame_source_wasm())


@pytest.fixture
def pulling(
    world: World, source: CanisterHandle, agent: Agent, node: InferenceNode
) -> Iterator[Pulling]:
    storage = CanisterNode(agent, world.canister)
    lease = storage.begin_upload("pulled", frames_count=0, frame_bytes=0, takeover=True).id
    kept = frame.seal_raw(some_bytes(FRAME_BYTES, 7))
    storage.send(storage.prepare(lease, [kept]))
    yield Pulling(world.network, source, node, storage, lease, frame_digest(kept))
    world.network.faults.clear()
    storage.end_upload(lease)


def frames_of(seed: int, count: int = 2, size: int = FRAME_BYTES) -> list[bytes]:
    return [frame.seal_raw(some_bytes(size, 1_000 * seed + index)) for index in range(count)]


WANTED = frames_of(1)
OTHERS = frames_of(2)
GIVEN = given(*WANTED)
OUTER = GIVEN.index(b"\x00\x02\x00")
"""Where in the reply `Ok`, the count and the first answer's kind stand."""
HUGE = b"\xff\xff\xff\x7f"
"""The largest length that is read."""
REFUSED: Value = ("Err", ("not_found", "m"))
LONG_TEXT = "é".encode() * 10**6
CUT_OFF = r"does not answer: .{,200}é{300,}\.\.\. \(cut off\)"

LIES = {
    "other frames": (Manner.REPLY, given(*OTHERS), "other frames than were asked for"),
    "one of two": (Manner.REPLY, given(WANTED[0], OTHERS[0]), "other frames"),
    "one twice": (Manner.REPLY, given(WANTED[0], WANTED[0]), "other frames"),
    "too few": (Manner.REPLY, given(WANTED[0]), "no sensible reply"),
    "too many": (Manner.REPLY, given(*WANTED, OTHERS[0]), "no sensible reply"),
    "none": (Manner.REPLY, reply(), "no sensible reply"),
    "empty": (Manner.REPLY, b"", "no sensible reply"),
    "garbage": (Manner.REPLY, some_bytes(5_000, 3), "no sensible reply"),
    "another type": (Manner.REPLY, b"DIDL\x00\x01\x71\x02hi", "no sensible reply"),
    "cut in a frame": (Manner.REPLY, GIVEN[:-1], "no sensible reply"),
    "cut in the table": (Manner.REPLY, GIVEN[:60], "no sensible reply"),
    "more behind": (Manner.REPLY, GIVEN + b"\0", "no sensible reply"),
    "huge count": (Manner.REPLY, GIVEN[: OUTER + 1] + HUGE, "no sensible reply"),
    "huge frame": (Manner.REPLY, GIVEN[: OUTER + 3] + HUGE, "no sensible reply"),
    "an error": (Manner.REPLY, encode((REPLY,), (REFUSED,)), "does not let this canister read"),
    "a reject": (Manner.REJECT, b"not today", "does not answer: not today"),
    "a trap": (Manner.TRAP, b"out of paper", "does not answer.*out of paper"),
    "a long reject": (Manner.REJECT, LONG_TEXT, CUT_OFF),
    "a long trap": (Manner.TRAP, LONG_TEXT, CUT_OFF),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_source_that_lies_leaves_nothing_and_is_named(pulling: Pulling, lie: str) -> None:
    manner, what, told = LIES[lie]
    answer(pulling.source, manner, what)
    frames_before, calls_before = pulling.stored_count(), calls_count(pulling.source)
    since = pulling.last()
    with pytest.raises(DataNodeError, match=told) as caught:
        pulling.pull(WANTED)
    if "other frames" not in told:
        assert isinstance(caught.value, ConflictError)
        assert pulling.source.id.text in caught.value.what
    assert calls_count(pulling.source) == calls_before + 1
    assert -pulling.paid(since) <= CALL_CYCLES + MESSAGES_CYCLES
    assert pulling.stored_count() == frames_before
    assert pulling.held() == {pulling.kept}
    answer(pulling.source, Manner.REPLY, GIVEN)
    assert [each.status for each in pulling.pull(WANTED)] == [PutStatus.STORED] * 2
    assert pulling.held() == {pulling.kept, *map(frame_digest, WANTED)}


def test_bytes_that_are_no_frame_are_told_and_not_stored(pulling: Pulling) -> None:
    damaged = bytes(1) + WANTED[1][1:]
    answer(pulling.source, Manner.REPLY, given(WANTED[0], damaged))
    stored, bad = pulling.pull(WANTED)
    assert (stored.status, bad.status) == (PutStatus.STORED, PutStatus.BAD)
    assert pulling.held() == {pulling.kept, frame_digest(WANTED[0])}


def test_what_a_source_says_of_a_chunk_is_passed_on(pulling: Pulling) -> None:
    wanted = frames_of(3, count=4)
    told: tuple[Value, ...] = (("did_not_fit", None), ("missing", None), ("elsewhere", None))
    answer(pulling.source, Manner.REPLY, reply(*told, ("frame", wanted[3])))
    results = pulling.pull(wanted)
    assert [each.status for each in results] == [
        PutStatus.NO_ROOM,
        PutStatus.BAD,
        PutStatus.BAD,
        PutStatus.STORED,
    ]
    assert results[1].detail == "the source has lost it"
    answer(pulling.source, Manner.REPLY, given(*wanted[:3]))
    assert [each.status for each in pulling.pull(wanted)] == [
        *[PutStatus.STORED] * 3,
        PutStatus.ALREADY_STORED,
    ]


def test_more_frames_than_a_message_stores_are_refused_before_the_call(pulling: Pulling) -> None:
    before = calls_count(pulling.source)
    with pytest.raises(DataNodeError, match="256"):
        pulling.pull(frames_of(4, count=257, size=8))
    assert calls_count(pulling.source) == before


def test_frames_that_exceed_the_room_are_refused_and_come_when_there_is_room(
    pulling: Pulling,
) -> None:
    pulling.network.faults.set("no-growth", canister=pulling.node.principal)
    kept: set[bytes] = set()
    seed = 0
    while True:
        (wanted,) = frames_of(100 + seed, count=1, size=LARGE_BYTES)
        answer(pulling.source, Manner.REPLY, given(wanted))
        try:
            pulling.pull([wanted])
        except NodeFullError:
            break
        kept.add(frame_digest(wanted))
        seed += 1
    assert pulling.held() == {pulling.kept, *kept}
    pulling.network.faults.clear()
    assert [each.status for each in pulling.pull([wanted])] == [PutStatus.STORED]


@pytest.mark.parametrize("kind", ["refuse-call", "lose-call", "lose-response"])
def test_a_lost_or_refused_call_is_made_again(pulling: Pulling, kind: str) -> None:
    answer(pulling.source, Manner.REPLY, GIVEN)
    before = calls_count(pulling.source)
    faults = pulling.network.faults
    faults.set(kind, canister=pulling.source.id, method="get_frames", count=TRIES - 1)
    assert [each.status for each in pulling.pull(WANTED)] == [PutStatus.STORED] * 2
    answered = TRIES if kind == "lose-response" else 1
    assert calls_count(pulling.source) == before + answered


@pytest.mark.parametrize("kind", ["refuse-call", "lose-call", "lose-response"])
def test_calls_that_are_always_lost_end_and_the_next_pull_goes_on(
    pulling: Pulling, kind: str
) -> None:
    answer(pulling.source, Manner.REPLY, GIVEN)
    fault = pulling.network.faults.set(kind, canister=pulling.source.id, method="get_frames")
    since = pulling.last()
    with pytest.raises(ConflictError, match="does not answer"):
        pulling.pull(WANTED)
    assert pulling.network.faults.struck_count() == TRIES
    assert -pulling.paid(since) <= TRIES * (CALL_CYCLES + MESSAGES_CYCLES)
    pulling.network.faults.clear(fault)
    assert pulling.held() == {pulling.kept}
    assert [each.status for each in pulling.pull(WANTED)] == [PutStatus.STORED] * 2


def test_a_source_that_is_stopped_out_of_cycles_or_gone_is_named(pulling: Pulling) -> None:
    source = pulling.network.create_canister(frame_source_wasm())
    answer(source, Manner.REPLY, GIVEN)
    source.stop()
    with pytest.raises(ConflictError, match=f"{source.id} does not answer.*stopped"):
        pulling.pull(WANTED, source.id)
    source.start()
    pulling.network.faults.drain(source.id)
    with pytest.raises(ConflictError, match=f"{source.id} does not answer.*out of cycles"):
        pulling.pull(WANTED, source.id)
    source.top_up(10**12)
    source.stop()
    source.delete()
    with pytest.raises(ConflictError, match=f"{source.id} does not answer.*not found"):
        pulling.pull(WANTED, source.id)
    assert pulling.held() == {pulling.kept}


def test_a_canister_refuses_an_upgrade_while_a_pull_is_in_flight(
    pulling: Pulling, agent: Agent
) -> None:
    answer(pulling.source, Manner.NEVER)
    before = calls_count(pulling.source)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(pulling.pull, WANTED)
        try:
            while calls_count(pulling.source) == before:
                time.sleep(POLL_S)
            with pytest.raises(DataNodeError, match="stop the canister, upgrade it"):
                upgrade_at_once(agent, pulling.node.principal)
        finally:
            answer(pulling.source, Manner.REPLY, GIVEN)
        assert [each.status for each in asked.result()] == [PutStatus.STORED] * 2
    assert calls_count(pulling.source) == before + 1
