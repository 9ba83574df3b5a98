"""datanode.agent against the embedded network: the whole way, with real certificates."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from datanode.agent import candid, identity
from datanode.agent.candid import Nat, Null, Opt, Principal, Record, Text, Variant
from datanode.agent.client import Agent
from datanode.agent.hash_tree import ABSENT
from datanode.agent.message_outcome import CertifiedReply
from datanode.agent.network import connect
from datanode.agent.reject import reject_of
from datanode.agent.signed_message import Unsettled
from datanode.errors import (
    CertificateError,
    NodeRejectedError,
    NodeStoppedError,
    UnauthorizedError,
)
from datanode.localnet.api import LocalNetwork
from datanode.principal import MANAGEMENT_CANISTER
from datanode.principal import Principal as PrincipalValue
from tests.datanode.agent.subnet import ROOT

CREATED = Record({"canister_id": Principal})
ABOUT = Record({"canister_id": Principal})
STATUS = Record({"status": Variant({"running": Null, "stopping": Null, "stopped": Null})})


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with LocalNetwork(tmp_path_factory.mktemp("localnet")) as network:
        yield network


@pytest.fixture
def agent(network: LocalNetwork, tmp_path: Path) -> Iterator[Agent]:
    who = identity.generate(tmp_path / "identity.pem")
    where = connect(network.url, root_key=network.root_key, say=lambda _: None)
    with Agent(where, who) as agent:
        yield agent


def create(agent: Agent) -> PrincipalValue:
    arguments = Record({"amount": Opt(Nat), "settings": Opt(Record({}))})
    reply = agent.call(
        MANAGEMENT_CANISTER,
        "provisional_create_canister_with_cycles",
        candid.encode([arguments], [{"amount": 10**13, "settings": None}]),
        effective=PrincipalValue(bytes(7) + b"\x10\x01\x01"),
    )
    ((made,),) = (tuple(record.values()) for record in candid.decode([CREATED], reply))  # type: ignore[union-attr]
    assert isinstance(made, PrincipalValue)
    return made


def about(canister: PrincipalValue) -> bytes:
    return candid.encode([ABOUT], [{"canister_id": canister}])


def test_the_root_key_that_it_gives_is_the_one_that_it_signs_with(network: LocalNetwork) -> None:
    said: list[str] = []
    assert connect(network.url, say=said.append).root_key == network.root_key
    assert len(said) == 1


def test_a_canister_is_created_asked_about_and_stopped(agent: Agent) -> None:
    canister = create(agent)
    for method, status in (("stop_canister", "stopped"), ("start_canister", "running")):
        agent.call(MANAGEMENT_CANISTER, method, about(canister), effective=canister)
        reply = agent.call(
            MANAGEMENT_CANISTER, "canister_status", about(canister), effective=canister
        )
        assert candid.decode([STATUS], reply) == ({"status": (status, None)},)


def test_state_is_read_with_a_certificate(agent: Agent) -> None:
    canister = create(agent)
    module_hash = [b"canister", canister.raw, b"module_hash"]
    controllers = [b"canister", canister.raw, b"controllers"]
    tree = agent.read_state(canister, [module_hash, controllers])
    assert tree.lookup(module_hash) is ABSENT
    assert agent.identity.principal.raw in bytes(tree.lookup(controllers))  # type: ignore[arg-type]
    assert abs(agent.skew_ns) < 60 * 10**9


def test_a_message_runs_once_however_often_and_from_wherever_it_is_sent(
    agent: Agent, network: LocalNetwork
) -> None:
    canister = create(agent)
    before = len(network.ledger())
    message = agent.prepare(
        MANAGEMENT_CANISTER, "canister_status", about(canister), effective=canister
    )
    assert agent.recover(message.request_id, canister, message.expiry_ns) is Unsettled.UNKNOWN
    found: list[CertifiedReply | Unsettled] = []
    threads = [threading.Thread(target=lambda: found.append(agent.send(message))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.append(agent.recover(message.request_id, canister, message.expiry_ns))
    replies = [one for one in found if isinstance(one, CertifiedReply)]
    assert replies
    assert {reply.data for reply in replies} == {replies[0].data}
    assert isinstance(found[-1], CertifiedReply)
    mine = [entry for entry in network.ledger()[before:] if entry.request_id == message.request_id]
    assert len(mine) == 1


def test_only_the_sender_may_ask_what_became_of_a_message(
    agent: Agent, network: LocalNetwork, tmp_path: Path
) -> None:
    canister = create(agent)
    message = agent.prepare(
        MANAGEMENT_CANISTER, "canister_status", about(canister), effective=canister
    )
    agent.send(message)
    other = identity.generate(tmp_path / "other.pem")
    with Agent(agent.network, other) as stranger, pytest.raises(NodeRejectedError):
        stranger.recover(message.request_id, canister, message.expiry_ns)


def test_a_canister_without_code_says_so_to_calls_and_queries(agent: Agent) -> None:
    canister = create(agent)
    with pytest.raises(NodeStoppedError) as caught:
        agent.call(canister, "models", candid.encode([Opt(Text)], [None]))
    assert reject_of(caught.value) is not None
    with pytest.raises(NodeStoppedError):
        agent.query(canister, "models", candid.encode([Opt(Text)], [None]))


def test_a_stranger_is_refused_in_plain_words(agent: Agent, tmp_path: Path) -> None:
    canister = create(agent)
    other = identity.generate(tmp_path / "other.pem")
    with Agent(agent.network, other) as stranger, pytest.raises(UnauthorizedError) as caught:
        stranger.call(MANAGEMENT_CANISTER, "stop_canister", about(canister), effective=canister)
    reject = reject_of(caught.value)
    assert reject is not None
    assert "controller" in reject.message.lower()


def test_a_network_with_another_key_is_not_believed(agent: Agent) -> None:
    canister = create(agent)
    where = connect(agent.network.url, root_key=ROOT.public_key_der, say=lambda _: None)
    for ask in (Agent.call, Agent.query):
        with Agent(where, agent.identity) as wrong, pytest.raises(CertificateError):
            ask(wrong, canister, "models", candid.encode([Opt(Text)], [None]))
