"""A model over two canisters says what it says on one, whatever becomes of the calls between."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from datanode.errors import ConflictError, DataNodeError, NodeRejectedError
from datanode.inference.client import Generated, Question
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy
from datanode.principal import Principal
from tests.inference import tiny_checkpoint
from tests.inference.fleet_stage import HOP, Fleet, running_fleet

PROMPT = "the capital of France is"
TOKENS = 12
QUESTION = Question(prompt=PROMPT, max_tokens=TOKENS)


@pytest.fixture(scope="module")
def made(network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    with running_fleet(network, folder, tiny_checkpoint.write(folder / "tiny"), 2) as fleet:
        yield fleet


@pytest.fixture
def fleet(made: Fleet) -> Iterator[Fleet]:
    made.load()
    yield made
    made.network.faults.clear()


def said(parts: list[Generated]) -> str:
    return "".join(part.text for part in parts)


def test_two_canisters_say_what_one_says(fleet: Fleet) -> None:
    first, second = fleet.parts
    assert (first.part.first_block, first.part.end_block, first.part.embed) == (0, 1, True)
    assert (second.part.first_block, second.part.end_block, second.part.head) == (1, 2, False)
    parts = list(fleet.driver.generate(QUESTION, tokens_a_message=5))
    assert said(parts) == tiny_checkpoint.answer(PROMPT, TOKENS)
    assert [part.hops_count for part in parts] == [5, 5, 2]


@pytest.mark.parametrize(
    ("kind", "every"),
    [("lose-response", 2), ("lose-call", 3), ("refuse-call", 2)],
)
def test_a_lost_or_refused_hop_is_repeated(fleet: Fleet, kind: str, every: int) -> None:
    before = fleet.hops()
    fault = fleet.network.faults.set(kind, canister=fleet.block, method=HOP, every=every)
    parts = list(fleet.driver.generate(QUESTION))
    assert fleet.network.faults.clear(fault) == 1
    assert said(parts) == tiny_checkpoint.answer(PROMPT, TOKENS)
    assert sum(part.hops_count for part in parts) > TOKENS
    # A repeated hop is answered from what is kept: the member computes each position once.
    assert fleet.hops() >= before + TOKENS


def test_a_reloaded_member_is_given_what_it_lacks(fleet: Fleet) -> None:
    generation = fleet.driver.generate(QUESTION, tokens_a_message=4)
    parts = [next(generation)]
    member = fleet.parts[1]
    fleet.node(member.node).configure(
        member.model, version=member.version, part=member.part, role=member.role
    )
    with pytest.raises(ConflictError, match=r"has not loaded its part: run `datanode load`"):
        next(fleet.driver.generate(QUESTION))
    fleet.load()
    parts += generation
    assert said(parts) == tiny_checkpoint.answer(PROMPT, TOKENS)


def test_a_member_that_was_upgraded_is_loaded_and_the_answer_goes_on(fleet: Fleet) -> None:
    generation = fleet.driver.generate(QUESTION, tokens_a_message=4)
    parts = [next(generation)]
    deploy.upgrade_node(fleet.agent, fleet.block)
    fleet.load()
    parts += generation
    assert said(parts) == tiny_checkpoint.answer(PROMPT, TOKENS)


def test_only_the_driver_may_call_a_hop(fleet: Fleet) -> None:
    member = fleet.parts[1]
    before = fleet.hops()
    with pytest.raises(DataNodeError):
        fleet.agent.call(member.node, HOP, b"DIDL\x01\x6d\x7b\x01\x00\x00")
    assert fleet.hops() == before
    stranger = replace(member.role, drivers=(member.node,))
    with pytest.raises(NodeRejectedError, match="does not call itself"):
        fleet.node(member.node).configure(member.model, part=member.part, role=stranger)
    nobody = replace(member.role, drivers=())
    fleet.node(member.node).configure(
        member.model, version=member.version, part=member.part, role=nobody
    )
    list(fleet.node(member.node).load())
    with pytest.raises(ConflictError, match=f"{member.node}.*only the drivers"):
        next(fleet.driver.generate(QUESTION))
    refused = fleet.network.canister(member.node).ledger()[-1]
    assert refused.method == HOP
    assert refused.instructions < 1_000_000


def test_a_member_of_another_version_or_place_is_told(fleet: Fleet) -> None:
    member = fleet.parts[1]
    node = fleet.node(member.node)
    other = replace(member.role, whole=bytes(32))
    for role, exact, part in (
        (other, False, member.part),
        (member.role, True, member.part),
        (member.role, False, replace(member.part, first_block=2)),
    ):
        node.configure(member.model, version=member.version, exact=exact, part=part, role=role)
        list(node.load())
        with pytest.raises(ConflictError, match=f"{member.node}.*(version or mode|other blocks)"):
            next(fleet.driver.generate(QUESTION))


def test_a_member_that_is_gone_is_named(fleet: Fleet) -> None:
    first, _ = fleet.parts
    gone = Principal.parse("rwlgt-iiaaa-aaaaa-aaaaa-cai")
    driver = fleet.driver
    driver.configure(
        first.model,
        version=first.version,
        part=first.part,
        role=replace(first.role, blocks=(gone,)),
    )
    list(driver.load())
    with pytest.raises(ConflictError, match=f"member {gone} of the fleet does not answer"):
        next(driver.generate(QUESTION))


def test_a_query_is_refused_with_what_to_do(fleet: Fleet) -> None:
    with pytest.raises(NodeRejectedError, match="a query does not call other canisters"):
        fleet.driver.ask(QUESTION)
    with pytest.raises(NodeRejectedError, match="runs a part of a model"):
        fleet.node(fleet.block).ask(QUESTION)


def test_prompts_that_begin_alike_are_computed_once(fleet: Fleet) -> None:
    cold, *_ = list(fleet.driver.generate(replace(QUESTION, max_tokens=1)))
    longer = replace(QUESTION, prompt=PROMPT + " not", max_tokens=3)
    warm = list(fleet.driver.generate(longer))
    assert said(warm) == tiny_checkpoint.answer(longer.prompt, 3)
    assert sum(part.instructions for part in warm) < 1.5 * cold.instructions
