"""A member of a fleet that answers hops as it likes: the driver says so, and goes on later."""

import re
from pathlib import Path

import pytest

from datanode.errors import ConflictError, DataNodeError
from datanode.inference.questions import Generated
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, settings
from datanode.node.settings import SettingsChange
from tests.fakes.checkpoints import some_bytes
from tests.fakes.frame_source import Manner, answer, calls_count
from tests.inference.fake_member import (
    ACTIVATIONS,
    GAP,
    REFUSED,
    STALE,
    TOKEN,
    Driven,
    driven_by_fake,
    leg,
    reply,
)

MOST_STALE = 4
LONG = 1_500_000
MOST_CHARACTERS = 700
"""Most characters of an error that carries a text of a member."""

LIES = {
    "empty": (Manner.REPLY, b"", "gave no sensible reply"),
    "garbage": (Manner.REPLY, some_bytes(900, 1), "gave no sensible reply"),
    "nobody's leg": (Manner.REPLY, reply(), "gave no sensible reply"),
    "no token": (Manner.REPLY, reply(leg(TOKEN, 1, token=10**6)), "gave no sensible reply"),
    "too many positions": (Manner.REPLY, reply(leg(TOKEN, 9)), "gave no sensible reply"),
    "nothing computed": (Manner.REPLY, reply(leg(ACTIVATIONS)), "gave no sensible reply"),
    "a gap behind": (Manner.REPLY, reply(leg(GAP, number=10**6)), "gave no sensible reply"),
    "the last number": (Manner.REPLY, reply(leg(STALE, number=2**64 - 1)), "no sensible reply"),
    "activations cut off": (Manner.REPLY, reply(leg(0, 1)), "have all blocks|behind the last"),
    "too many activations": (
        Manner.REPLY,
        reply(leg(ACTIVATIONS, 1, payload=bytes(LONG))),
        "gave no sensible reply",
    ),
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
    driven.tell(leg(TOKEN, 1, token=21))
    part = driven.go_on(begun.conversation)
    assert isinstance(part, Generated), part


def test_a_member_that_calls_every_hop_stale_is_given_up(driven: Driven) -> None:
    begun = driven.start()
    before = calls_count(driven.member)
    driven.tell(leg(STALE, number=2**63))
    error = driven.go_on(begun.conversation)
    assert isinstance(error, ConflictError)
    assert "gave no sensible reply" in error.what
    assert calls_count(driven.member) == before + MOST_STALE + 1


TEXT = "é".encode() * (LONG // 2)
LONG_TEXTS = {
    "refusal": (Manner.REPLY, reply(kind=REFUSED, text=TEXT)),
    "refused legs": (Manner.REPLY, reply(*2 * [leg(REFUSED, payload=TEXT[: LONG // 2])])),
    "reject": (Manner.REJECT, TEXT),
    "trap": (Manner.TRAP, TEXT),
}


@pytest.mark.parametrize("way", LONG_TEXTS)
def test_a_long_text_of_a_member_is_cut_for_each_conversation(driven: Driven, way: str) -> None:
    """Whole, for two conversations, it is more than a reply can hold."""
    begun = [driven.start().conversation for _ in range(2)]
    answer(driven.member, *LONG_TEXTS[way])
    for error in driven.go_on_together(begun):
        assert isinstance(error, ConflictError)
        assert re.search(r"é{100,}\.\.\. \(cut off\)$", error.what), error.what
        assert len(error.what) < MOST_CHARACTERS
    driven.tell(leg(TOKEN, 1, token=21))
    for number in begun:
        part = driven.go_on(number)
        assert isinstance(part, Generated), part


@pytest.mark.nightly
def test_a_trap_in_the_callback_of_a_hop_sets_the_conversations_free(tmp_path: Path) -> None:
    """On a full subnet, a reply that takes more heap would set more cycles aside than allowed."""
    with (
        LocalNetwork(tmp_path / "network", subnet_used_gib=800) as network,
        driven_by_fake(network, tmp_path) as driven,
    ):
        begun = [driven.start().conversation for _ in range(2)]
        canister = driven.driver.principal
        reserved = deploy.canister_status(driven.agent, canister).reserved_cycles
        settings.apply(
            driven.agent, canister, SettingsChange(reserved_cycles_limit=max(1, reserved))
        )
        answer(driven.member, Manner.REPLY, reply(leg(ACTIVATIONS, 1, payload=bytes(LONG))))
        with pytest.raises(DataNodeError, match="reserved"):
            driven.go_on_together(begun)
        driven.tell(leg(TOKEN, 1, token=21))
        for number in begun:
            part = driven.go_on(number)
            assert isinstance(part, Generated), part
