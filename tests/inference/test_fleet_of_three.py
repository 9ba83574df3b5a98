"""A model with a head of its own over three canisters, whatever becomes of a member.

The first member drives, the second one has blocks only, and the last one blocks and head, so it
chooses the tokens. Weights are F16. The text is always that of the reference.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from datanode.errors import ConflictError
from datanode.inference.client import InferenceNode
from datanode.inference.questions import Continuation, Generated, Question
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, snapshots
from datanode.node.management import CANISTER, call
from tests.inference import tiny_checkpoint
from tests.inference.fleet_stage import (
    HOP,
    MODEL,
    Fleet,
    FleetShape,
    promoted,
    running_fleet,
    said,
)
from tests.smollm2 import make_checkpoint

SHAPE = {"num_hidden_layers": 3, "tie_word_embeddings": False}
PROMPT = "over three"
TOKENS = 12
QUESTION = Question(prompt=PROMPT, max_tokens=TOKENS)
EXPECTED = tiny_checkpoint.answer(PROMPT, TOKENS, **SHAPE)
MIDDLE, LAST = 1, 2
GUESTS = 256
"""Conversations that a canister holds (`conversations.rs`)."""
TOGETHER = 64


def checkpoint(folder: Path) -> Path:
    return tiny_checkpoint.write(folder, number_type=np.float16, shape=SHAPE)


FLEET = FleetShape(checkpoint, 3)


def begun(fleet: Fleet, tokens: int = 4) -> Generated:
    """Begin the conversation, and leave it open."""
    (answer,) = fleet.driver.generate_many([Question(prompt=PROMPT, max_tokens=tokens)]).answers
    assert isinstance(answer, Generated)
    return answer


def gone_on(fleet: Fleet, conversation: Generated, tokens: int = TOKENS - 4) -> Generated:
    """Continue it."""
    wish = Continuation(conversation=conversation.conversation, max_tokens=tokens)
    (answer,) = fleet.driver.generate_many([wish]).answers
    if not isinstance(answer, Generated):
        raise answer
    return answer


@pytest.mark.parametrize("exact", [False, True])
def test_three_canisters_say_what_one_model_says(fleet: Fleet, *, exact: bool) -> None:
    parts = [each.part for each in fleet.parts]
    assert [(part.first_block, part.end_block) for part in parts] == [(0, 1), (1, 2), (2, 3)]
    assert [(part.embed, part.head) for part in parts] == [
        (True, False),
        (False, False),
        (False, True),
    ]
    fleet.load(exact=exact)
    assert all(fleet.node(each.node).status().exact == exact for each in fleet.parts)
    told = list(fleet.driver.generate(QUESTION, tokens_a_message=5))
    assert said(told) == EXPECTED
    # A hop a token at each of the two others.
    assert [part.hops_count for part in told] == [10, 10, 4]


@pytest.mark.parametrize("member", [MIDDLE, LAST])
@pytest.mark.parametrize("kind", ["lose-call", "lose-response", "refuse-call"])
def test_a_hop_that_is_lost_or_comes_twice_changes_nothing(
    fleet: Fleet, member: int, kind: str
) -> None:
    canister = fleet.parts[member].node
    fault = fleet.network.faults.set(kind, canister=canister, method=HOP, every=2)
    told = list(fleet.driver.generate(QUESTION))
    struck = fleet.network.faults.struck_count()
    assert fleet.network.faults.clear(fault) == 1
    assert said(told) == EXPECTED
    assert struck >= TOKENS // 2
    # One whose response was lost was executed, and came again.
    assert sum(part.hops_count for part in told) == 2 * TOKENS + struck


@pytest.mark.parametrize("member", [0, MIDDLE, LAST])
def test_a_member_that_was_restarted_goes_on(fleet: Fleet, member: int) -> None:
    conversation = begun(fleet)
    canister = fleet.parts[member].node
    snapshots.stop(fleet.agent, canister)
    snapshots.start(fleet.agent, canister)
    before = fleet.hops(LAST)
    more = gone_on(fleet, conversation)
    assert conversation.text + more.text == EXPECTED
    # Its heap stays: nothing is computed again.
    assert fleet.hops(LAST) - before == TOKENS - 4


@pytest.mark.parametrize("member", [MIDDLE, LAST])
@pytest.mark.parametrize("is_upgraded", [False, True])
def test_a_member_that_was_loaded_anew_is_given_what_it_lacks(
    fleet: Fleet, member: int, *, is_upgraded: bool
) -> None:
    conversation = begun(fleet)
    if is_upgraded:
        deploy.upgrade_node(fleet.agent, fleet.parts[member].node)
        fleet.load()
    else:
        fleet.reload(member)
    more = gone_on(fleet, conversation)
    assert conversation.text + more.text == EXPECTED


@pytest.mark.parametrize("member", [MIDDLE, LAST])
def test_a_member_that_is_stopped_is_named_and_the_conversation_is_kept(
    fleet: Fleet, member: int
) -> None:
    conversation = begun(fleet)
    canister = fleet.parts[member].node
    snapshots.stop(fleet.agent, canister)
    try:
        with pytest.raises(ConflictError, match=f"member {canister} of the fleet does not answer"):
            gone_on(fleet, conversation)
    finally:
        snapshots.start(fleet.agent, canister)
    assert conversation.text + gone_on(fleet, conversation).text == EXPECTED


@pytest.mark.parametrize("member", [MIDDLE, LAST])
def test_a_member_that_is_upgraded_amid_an_answer_costs_a_repeated_hop(
    fleet: Fleet, member: int
) -> None:
    """The answer is finished before, or the member is named and the text goes on after loading."""
    conversation = begun(fleet)
    canister, other = fleet.parts[member].node, MIDDLE + LAST - member
    before = fleet.hops(other)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gone_on, fleet, conversation)
        while not asked.done() and fleet.hops(other) == before:
            pass
        deploy.upgrade_node(fleet.agent, canister)
        error = asked.exception()
    parts = [conversation] if error else [conversation, asked.result()]
    if error:
        assert isinstance(error, ConflictError)
        told = rf"member {canister} of the fleet (does not answer|has not loaded its part)"
        assert re.search(told, error.what)
    fleet.load()
    parts.append(gone_on(fleet, conversation))
    longest = tiny_checkpoint.answer(PROMPT, 2 * TOKENS - 4, **SHAPE)
    assert longest.startswith(said(parts))
    assert said(parts).startswith(EXPECTED)
    # A hop for each token, for the one that failed, and to compute again what the member lacks.
    tokens_count = parts[-1].positions_count - conversation.positions_count
    assert fleet.hops(other) - before <= tokens_count + 3


def test_a_budget_that_ends_within_an_answer_keeps_the_conversation(fleet: Fleet) -> None:
    (whole,) = fleet.driver.generate(QUESTION)
    limited = Question(prompt=PROMPT, max_tokens=TOKENS, max_instructions=whole.instructions // 3)
    told = list(fleet.driver.generate(limited))
    assert said(told) == whole.text == EXPECTED
    assert len(told) > 1
    assert all(len(part.tokens) < TOKENS for part in told)


def test_a_conversation_whose_cache_members_have_dropped_is_computed_again(fleet: Fleet) -> None:
    conversation = begun(fleet)
    driver = fleet.driver
    for first in range(0, GUESTS, TOGETHER):
        # The driver keeps what it was asked about last; to the members the conversation gets old.
        gone_on(fleet, conversation, 0)
        others = [Question(prompt="t", max_tokens=1)] * TOGETHER
        answers = driver.generate_many(others).answers
        assert all(isinstance(each, Generated) for each in answers), first
    before = fleet.hops(MIDDLE)
    more = gone_on(fleet, conversation)
    assert conversation.text + more.text == EXPECTED
    # One more hop found the gap.
    assert fleet.hops(MIDDLE) - before == TOKENS - 4 + 1


@pytest.mark.nightly
def test_a_member_that_was_deleted_is_named_and_the_conversation_is_kept(
    network: LocalNetwork, tmp_path: Path
) -> None:
    with running_fleet(network, tmp_path, checkpoint(tmp_path / "tiny"), 3) as fleet:
        conversation = begun(fleet)
        canister = fleet.parts[LAST].node
        snapshots.stop(fleet.agent, canister)
        argument = {"canister_id": canister}
        call(fleet.agent, "delete_canister", CANISTER, argument, effective=canister)
        for _ in range(2):
            with pytest.raises(ConflictError, match=f"member {canister} of the fleet does not"):
                gone_on(fleet, conversation)
        assert fleet.driver.status().conversations_count == 1
        again = gone_on(fleet, conversation, 0)
        assert again.positions_count >= len(PROMPT)


@pytest.mark.nightly
@pytest.mark.parametrize("exact", [False, True])
def test_smollm2_as_f16_says_the_same_over_three_canisters(tmp_path: Path, *, exact: bool) -> None:
    folder = make_checkpoint(tmp_path / "smollm2", dtype="F16")
    question = Question(prompt="The capital of France is Paris. The capital of Italy is")
    texts = []
    for count in (3, 1):
        home = tmp_path / str(count)
        home.mkdir()
        with LocalNetwork(home / "network") as network:
            texts.append(_answer(network, home, folder, question, count, exact=exact))
    over_three, on_one = texts
    assert over_three == on_one
    assert " Rome" in on_one


def _answer(
    network: LocalNetwork,
    home: Path,
    folder: Path,
    question: Question,
    count: int,
    *,
    exact: bool,
) -> str:
    """Answer on so many canisters, 24 tokens."""
    wanted = Question(prompt=question.prompt, max_tokens=24)
    if count > 1:
        with running_fleet(network, home, folder, count) as fleet:
            assert all(a.part.end_block == b.part.first_block for a, b in pairwise(fleet.parts))
            fleet.load(exact=exact)
            return said(list(fleet.driver.generate(wanted)))
    with promoted(network, home, folder, 1) as (agent, members):
        node = InferenceNode(agent, members[0])
        node.configure(MODEL, exact=exact)
        list(node.load())
        return said(list(node.generate(wanted)))
