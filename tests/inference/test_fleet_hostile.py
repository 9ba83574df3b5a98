"""A member of a fleet that answers hops as it likes: the driver says so, and goes on later."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from datanode.errors import ConflictError, DataNodeError
from datanode.inference.client import InferenceNode
from datanode.inference.questions import Continuation, Generated, Question
from datanode.localnet.api import LocalNetwork
from datanode.localnet.handle import CanisterHandle
from tests.fakes.checkpoints import some_bytes
from tests.fakes.frame_source import Manner, answer, calls_count, frame_source_wasm
from tests.inference import tiny_checkpoint
from tests.inference.fleet_stage import running_fleet

PROMPT = "the"
"""So short that its positions travel in one hop."""
TOKEN, GAP, STALE, REFUSED = 1, 2, 3, 4
OUTCOMES = 5
BLOCKS = 2
MOST_POSITIONS = 8
MOST_STALE = 4
LONG = 1_500_000


def leg(kind: int, positions: int = 0, *, token: int = 0, number: int = 0) -> bytes:
    """Encode what becomes of a conversation."""
    numbers = b"".join(each.to_bytes(4, "little") for each in (kind, positions, 0, token))
    return numbers + number.to_bytes(8, "little") + bytes(8)


def reply(*legs: bytes, kind: int = OUTCOMES, text: bytes = b"") -> bytes:
    """Encode a reply to a hop."""
    head = b"".join(each.to_bytes(4, "little") for each in (kind, len(legs), BLOCKS)) + bytes(20)
    body = head + b"".join(legs) + text
    length, rest = b"", len(body)
    while rest >= 0x80:
        length += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return b"DIDL\x01\x6d\x7b\x01\x00" + length + bytes([rest]) + body


@dataclass(frozen=True, slots=True)
class Driven:
    """A driver and the member that it calls."""

    network: LocalNetwork
    driver: InferenceNode
    member: CanisterHandle

    def start(self) -> Generated:
        """Have the member answer well, and begin a conversation with one token.

        How many positions it is asked for depends on what the driver has computed before.
        """
        for positions in 2 * list(range(1, MOST_POSITIONS)):
            answer(self.member, Manner.REPLY, reply(leg(TOKEN, positions, token=20)))
            (part,) = self.driver.generate_many([Question(prompt=PROMPT, max_tokens=1)]).answers
            if isinstance(part, Generated):
                return part
        raise AssertionError(part)

    def go_on(self, number: int) -> Generated | DataNodeError:
        """Continue a conversation by a token."""
        wish = Continuation(conversation=number, max_tokens=1)
        (part,) = self.driver.generate_many([wish]).answers
        return part


@pytest.fixture(scope="module")
def driven(network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driven]:
    folder = tmp_path_factory.mktemp("hostile")
    with running_fleet(network, folder, tiny_checkpoint.write(folder / "tiny"), 2) as fleet:
        member = network.create_canister(frame_source_wasm())
        first, _ = fleet.parts
        role = replace(first.role, blocks=(member.id,))
        fleet.driver.configure(first.model, version=first.version, part=first.part, role=role)
        list(fleet.driver.load())
        yield Driven(network, fleet.driver, member)


LIES = {
    "empty": (Manner.REPLY, b"", "gave no sensible reply"),
    "garbage": (Manner.REPLY, some_bytes(900, 1), "gave no sensible reply"),
    "nobody's leg": (Manner.REPLY, reply(), "gave no sensible reply"),
    "no token": (Manner.REPLY, reply(leg(TOKEN, 1, token=10**6)), "gave no sensible reply"),
    "too many positions": (Manner.REPLY, reply(leg(TOKEN, 9)), "gave no sensible reply"),
    "nothing computed": (Manner.REPLY, reply(leg(0)), "gave no sensible reply"),
    "a gap behind": (Manner.REPLY, reply(leg(GAP, number=10**6)), "gave no sensible reply"),
    "activations cut off": (Manner.REPLY, reply(leg(0, 1)), "have all blocks|behind the last"),
    "refusal": (Manner.REPLY, reply(kind=REFUSED, text=b"no paper"), "no paper"),
    "refused leg": (Manner.REPLY, reply(leg(REFUSED)), "of the fleet $"),
    "reject": (Manner.REJECT, b"not today", "does not answer: not today"),
    "trap": (Manner.TRAP, b"out of paper", "does not answer.*out of paper"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_member_that_lies_is_named_and_the_conversation_goes_on(driven: Driven, lie: str) -> None:
    manner, what, told = LIES[lie]
    begun = driven.start()
    answer(driven.member, manner, what)
    before = calls_count(driven.member)
    error = driven.go_on(begun.conversation)
    assert isinstance(error, ConflictError)
    assert re.search(told, error.what), error.what
    assert calls_count(driven.member) <= before + 1
    answer(driven.member, Manner.REPLY, reply(leg(TOKEN, 1, token=21)))
    part = driven.go_on(begun.conversation)
    assert isinstance(part, Generated), part


def test_a_member_that_calls_every_hop_stale_is_given_up(driven: Driven) -> None:
    begun = driven.start()
    before = calls_count(driven.member)
    answer(driven.member, Manner.REPLY, reply(leg(STALE, number=2**63)))
    error = driven.go_on(begun.conversation)
    assert isinstance(error, ConflictError)
    assert "gave no sensible reply" in error.what
    assert calls_count(driven.member) == before + MOST_STALE + 1


def test_a_trap_in_the_callback_of_a_hop_sets_the_conversations_free(driven: Driven) -> None:
    """The member's reason, told for two conversations, is more than a reply can hold."""
    begun = [driven.start().conversation for _ in range(2)]
    answer(driven.member, Manner.REPLY, reply(kind=REFUSED, text=b"!" * LONG))
    wishes = [Continuation(conversation=number, max_tokens=1) for number in begun]
    with pytest.raises(DataNodeError, match="payload size"):
        driven.driver.generate_many(wishes)
    answer(driven.member, Manner.REPLY, reply(leg(TOKEN, 1, token=21)))
    for number in begun:
        part = driven.go_on(number)
        assert isinstance(part, Generated), part
