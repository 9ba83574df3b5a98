"""A model over two canisters says what it says on one, whatever becomes of the calls between."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

import uploader
from datanode.agent import identity as identities
from datanode.agent.client import Agent
from datanode.agent.network import Network
from datanode.command_context import open_place
from datanode.errors import ConflictError, DataNodeError, NodeRejectedError
from datanode.inference.client import Generated, InferenceNode, Question
from datanode.inference.fleet import RunningPart, load_fleet, running_parts
from datanode.localnet.api import LocalNetwork
from datanode.node import deploy, registry
from datanode.principal import Principal
from tests.inference import tiny_checkpoint

PROMPT = "the capital of France is"
TOKENS = 12
QUESTION = Question(prompt=PROMPT, max_tokens=TOKENS)
HOP = "model_hop"


@dataclass(frozen=True, slots=True)
class Fleet:
    """Two promoted members that hold and run a tiny model."""

    network: LocalNetwork
    agent: Agent
    parts: tuple[RunningPart, ...]

    @property
    def driver(self) -> InferenceNode:
        return self.node(self.parts[0].node)

    @property
    def block(self) -> Principal:
        return self.parts[1].node

    def node(self, principal: Principal) -> InferenceNode:
        return InferenceNode(self.agent, principal)

    def load(self) -> None:
        list(load_fleet(self.parts, self.node, exact=False))

    def hops(self) -> int:
        """Count hops that the block canister has executed."""
        entries = self.network.canister(self.block).ledger()
        return sum(entry.method == HOP for entry in entries)


@pytest.fixture(scope="module")
def made(network: LocalNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    pem = folder / "owner.pem"
    identities.generate(pem)
    where = Network(url=network.url, root_key=network.root_key, name="local")
    patch = pytest.MonkeyPatch()
    with closing(Agent(where, identities.load(pem))) as agent, patch.context() as patched:
        patched.setenv("HOME", str(folder))
        patched.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        members = [deploy.create_node(agent) for _ in range(2)]
        registry.add(folder / "config/datanode", "pair", *members, network=network.url)
        uploader.upload(
            tiny_checkpoint.write(folder / "tiny"),
            "tiny",
            node="pair",
            network=network.url,
            identity=str(pem),
            state=f"sqlite:///{folder / 'state.db'}",
        )
        for member in members:
            deploy.promote_node(agent, member)
        with open_place(
            lambda _: None, network=network.url, identity=str(pem), node="pair"
        ) as context:
            parts = running_parts(context.reader(context.coordinator()), context.node, "tiny")
        assert parts is not None
        fleet = Fleet(network, agent, parts)
        fleet.load()
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
