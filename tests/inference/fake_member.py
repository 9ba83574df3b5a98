"""A driver whose member is a fake: it answers hops as tests tell it to (`hop.rs`)."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from datanode.agent.client import Agent
from datanode.errors import DataNodeError
from datanode.inference.client import InferenceNode
from datanode.inference.questions import Continuation, Generated, Question
from datanode.localnet.api import LocalNetwork
from datanode.localnet.handle import CanisterHandle
from tests.fakes.frame_source import Manner, answer, calls_count, frame_source_wasm
from tests.inference import tiny_checkpoint
from tests.inference.fleet_stage import running_fleet

PROMPT = "the"
"""So short that its positions travel in one hop."""
ACTIVATIONS, TOKEN, GAP, STALE, REFUSED = range(5)
OUTCOMES = 5
BLOCKS = 2
MOST_POSITIONS = 8
_POLL_S = 0.005


def leg(
    kind: int, positions: int = 0, *, token: int = 0, number: int = 0, payload: bytes = b""
) -> bytes:
    """Encode what becomes of a conversation."""
    fields = (kind, positions, len(payload), token)
    numbers = b"".join(each.to_bytes(4, "little") for each in fields)
    return numbers + number.to_bytes(8, "little") + bytes(8) + payload


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
    agent: Agent
    driver: InferenceNode
    member: CanisterHandle

    def tell(self, *legs: bytes) -> None:
        """Have the member answer so."""
        answer(self.member, Manner.REPLY, reply(*legs))

    def start(self) -> Generated:
        """Have the member answer well, and begin a conversation with one token.

        How many positions it is asked for depends on what the driver has computed before.
        """
        for positions in 2 * list(range(1, MOST_POSITIONS)):
            self.tell(leg(TOKEN, positions, token=20))
            (part,) = self.driver.generate_many([Question(prompt=PROMPT, max_tokens=1)]).answers
            if isinstance(part, Generated):
                return part
        raise AssertionError(part)

    def go_on(self, number: int) -> Generated | DataNodeError:
        """Continue a conversation by a token."""
        (part,) = self.go_on_together([number])
        return part

    def go_on_together(self, numbers: list[int]) -> tuple[Generated | DataNodeError, ...]:
        """Continue conversations by a token each, in one message."""
        wishes = [Continuation(conversation=number, max_tokens=1) for number in numbers]
        return self.driver.generate_many(wishes).answers

    def await_call(self, before: int) -> None:
        """Wait until the member has been called once more than before."""
        while calls_count(self.member) <= before:
            time.sleep(_POLL_S)


@contextmanager
def driven_by_fake(network: LocalNetwork, folder: Path) -> Iterator[Driven]:
    """Load a driver, and have it call a fake instead of the member that has the further blocks."""
    with running_fleet(network, folder, tiny_checkpoint.write(folder / "tiny"), 2) as fleet:
        member = network.create_canister(frame_source_wasm())
        first, _ = fleet.parts
        role = replace(first.role, blocks=(member.id,))
        fleet.driver.configure(first.model, version=first.version, part=first.part, role=role)
        list(fleet.driver.load())
        yield Driven(network, fleet.agent, fleet.driver, member)
