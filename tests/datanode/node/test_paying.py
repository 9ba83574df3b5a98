"""A node is paid for once, whatever is lost on the way; the ledger is the embedded network's."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from datanode.agent import identity
from datanode.agent.candid import Nat, Record, Value, encode
from datanode.agent.candid import Principal as PrincipalType
from datanode.agent.client import Agent
from datanode.errors import (
    CyclesError,
    NodeRejectedError,
    NotStorageNodeError,
    UnknownOutcomeError,
    UnsupportedVersionError,
    UsageError,
)
from datanode.localnet.api import LocalNetwork
from datanode.localnet.management.account_book import START_CYCLES
from datanode.localnet.state.ledger import BillEntry
from datanode.node import cycles_ledger_client, deploy, management, paying
from datanode.node.cycles_ledger_client import FEE_CYCLES, LEDGER
from datanode.principal import Principal
from datanode.units import DAY_S, SECOND_NS, TC
from tests.fakes.canister_world import network_of
from tests.fakes.lost_answers import lose_answers


@pytest.fixture
def agent(network: LocalNetwork, tmp_path: Path) -> Iterator[Agent]:
    with Agent(network_of(network), identity.generate(tmp_path / "me.pem")) as agent:
        yield agent


def create(agent: Agent, folder: Path, cycles: int = 7 * TC, **more: Any) -> Principal:
    with paying.created_node(agent, folder, "main", cycles=cycles, **more) as canister:
        return canister


def created(network: LocalNetwork, agent: Agent) -> list[BillEntry]:
    """Return the canisters that this caller created, from the network's ledger."""
    me = agent.identity.principal
    found = [e for e in network.ledger() if (e.method, e.sender) == ("create_canister", me)]
    return [entry for entry in found if entry.status == "replied"]


def orders_in(folder: Path) -> list[Path]:
    return sorted(folder.glob("orders/*.json"))


def test_a_node_is_created_and_fed_from_the_account(
    network: LocalNetwork, agent: Agent, tmp_path: Path
) -> None:
    canister = create(agent, tmp_path)
    assert deploy.canister_status(agent, canister).module_hash is not None
    (entry,) = created(network, agent)
    assert entry.canister == canister
    assert dict(entry.items) == {"deposit": -7 * TC, "creation": 500 * 10**9}
    assert cycles_ledger_client.balance(agent) == START_CYCLES - 7 * TC - FEE_CYCLES
    before = deploy.canister_status(agent, canister).cycles
    paying.top_up(agent, tmp_path, canister, 5 * TC)
    assert deploy.canister_status(agent, canister).cycles > before + 4.99 * TC
    assert cycles_ledger_client.balance(agent) == START_CYCLES - 12 * TC - 2 * FEE_CYCLES
    assert orders_in(tmp_path) == []


def test_a_lost_answer_and_the_same_again_create_one_canister_and_pay_once(
    network: LocalNetwork, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = lose_answers(monkeypatch, "create_canister")
    for _ in range(3):
        with pytest.raises(UnknownOutcomeError):
            create(agent, tmp_path)
    found()
    canister = create(agent, tmp_path)
    assert [entry.canister for entry in created(network, agent)] == [canister]
    assert cycles_ledger_client.balance(agent) == START_CYCLES - 7 * TC - FEE_CYCLES
    assert orders_in(tmp_path) == []
    assert create(agent, tmp_path) != canister  # the order was done with: this is another one


def test_a_lost_top_up_and_the_same_again_pay_once(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    canister = create(agent, tmp_path)
    left = cycles_ledger_client.balance(agent)
    found = lose_answers(monkeypatch, "withdraw")
    with pytest.raises(UnknownOutcomeError):
        paying.top_up(agent, tmp_path, canister, 5 * TC)
    found()
    with pytest.raises(UsageError, match="no answer yet") as caught:
        paying.top_up(agent, tmp_path, canister, 6 * TC)
    assert f"--cycles {5 * TC}" in caught.value.hint
    paying.top_up(agent, tmp_path, canister, 5 * TC)
    assert cycles_ledger_client.balance(agent) == left - 5 * TC - FEE_CYCLES
    paying.top_up(agent, tmp_path, canister, 6 * TC)
    assert cycles_ledger_client.balance(agent) == left - 11 * TC - 2 * FEE_CYCLES


@pytest.mark.parametrize("step", ["install_node", "_check_module"])
def test_what_fails_after_the_payment_is_gone_on_with(
    network: LocalNetwork,
    agent: Agent,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deploy, step, fails)
        with pytest.raises(KeyboardInterrupt):
            create(agent, tmp_path)
    assert len(orders_in(tmp_path)) == 1
    canister = create(agent, tmp_path)
    assert [entry.canister for entry in created(network, agent)] == [canister]


def test_a_short_account_is_told_before_anything_is_sent(
    network: LocalNetwork, agent: Agent, tmp_path: Path
) -> None:
    with pytest.raises(CyclesError, match=r"holds 100000\.0000 TC, and 120000\.0001 TC") as caught:
        create(agent, tmp_path, 120_000 * TC)
    assert "Send 20000.0001 TC to" in caught.value.hint
    assert agent.identity.principal.text in caught.value.hint
    assert orders_in(tmp_path) == []
    assert created(network, agent) == []


def test_an_account_that_the_lost_order_emptied_is_not_taken_for_a_refusal(
    network: LocalNetwork, agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = lose_answers(monkeypatch, "create_canister")
    with pytest.raises(UnknownOutcomeError):
        create(agent, tmp_path, 60_000 * TC)
    found()
    with pytest.raises(UnknownOutcomeError, match="may have been paid") as caught:
        create(agent, tmp_path, 60_000 * TC)
    assert "nothing is paid twice" in caught.value.hint
    friend = identity.generate(tmp_path / "friend.pem")
    with Agent(network_of(network), friend) as other:
        give(other, agent.identity.principal, 30_000 * TC)
    canister = create(agent, tmp_path, 60_000 * TC)
    assert [entry.canister for entry in created(network, agent)] == [canister]
    assert cycles_ledger_client.balance(agent) == START_CYCLES - 30_000 * TC - FEE_CYCLES


def give(agent: Agent, to: Principal, cycles: int) -> None:
    account = Record({"owner": PrincipalType})
    kind = Record({"to": account, "amount": Nat})
    value: Value = {"to": {"owner": to}, "amount": cycles}
    agent.call(LEDGER, "icrc1_transfer", encode((kind,), (value,)))


def test_what_the_ledger_cannot_do_is_told_and_costs_its_fee_alone(
    network: LocalNetwork, agent: Agent, tmp_path: Path
) -> None:
    with pytest.raises(NodeRejectedError, match="Subnet does not exist") as caught:
        create(agent, tmp_path, subnet=LEDGER)
    assert "went back" in caught.value.safe
    with pytest.raises(NodeRejectedError, match="Insufficient cycles"):
        create(agent, tmp_path, TC // 10)
    nobody = Principal(bytes.fromhex("80000000001fffff0101"))
    with pytest.raises(NodeRejectedError, match="not found"):
        paying.top_up(agent, tmp_path, nobody, TC)
    with pytest.raises(NodeRejectedError, match="InvalidReceiver"):
        paying.top_up(agent, tmp_path, agent.identity.principal, TC)
    assert cycles_ledger_client.balance(agent) == START_CYCLES - 3 * FEE_CYCLES
    assert not orders_in(tmp_path)
    create(agent, tmp_path)


def test_what_is_left_once_the_canister_is_created_may_not_be_enough(
    network: LocalNetwork, agent: Agent, tmp_path: Path
) -> None:
    with pytest.raises(CyclesError) as caught:
        create(agent, tmp_path, 6 * TC // 10)
    (entry,) = created(network, agent)
    assert entry.canister.text in caught.value.safe
    assert f"node top-up {entry.canister}" in caught.value.hint
    paying.top_up(agent, tmp_path, entry.canister, TC)
    assert create(agent, tmp_path, 6 * TC // 10) == entry.canister


def test_an_order_that_the_ledger_has_forgotten_is_left_to_the_user(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_answers(monkeypatch, "create_canister")
    with pytest.raises(UnknownOutcomeError):
        create(agent, tmp_path)
    (path,) = orders_in(tmp_path)
    content = json.loads(path.read_text())
    content["made_ns"] -= 2 * DAY_S * SECOND_NS
    path.write_text(json.dumps(content))
    monkeypatch.undo()
    with pytest.raises(UnknownOutcomeError, match="forgotten") as caught:
        create(agent, tmp_path)
    assert str(path) in caught.value.hint
    assert path.exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", UsageError),
        (b"{}", UsageError),
        (b'{"v":1,"cycles":1,"subnet":"x","made_ns":1}', UsageError),
        (b'{"v":2}', UnsupportedVersionError),
    ],
)
def test_a_damaged_order_pays_nothing(
    agent: Agent, tmp_path: Path, content: bytes, kind: type[Exception]
) -> None:
    path = paying.creation(agent, "main").path(tmp_path)
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(kind):
        create(agent, tmp_path)
    assert path.read_bytes() == content
    assert cycles_ledger_client.balance(agent) == START_CYCLES


def test_a_canister_that_runs_something_else_meanwhile_is_not_overwritten(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(agent: Agent, canister: Principal) -> None:
        management.install(agent, canister, b"\0asm\1\0\0\0", b"", upgrade=False)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(deploy, "install_node", another)
        with pytest.raises(KeyboardInterrupt):
            create(agent, tmp_path)
    with pytest.raises(NotStorageNodeError, match="another module"):
        create(agent, tmp_path)


@pytest.mark.parametrize("canister", ["80000000001fffff0101", "00000000ffffffff0101"])
def test_a_network_without_a_cycles_ledger_is_known_by_its_answer(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, canister: str
) -> None:
    assert cycles_ledger_client.is_there(agent)
    monkeypatch.setattr(cycles_ledger_client, "LEDGER", Principal(bytes.fromhex(canister)))
    assert not cycles_ledger_client.is_there(agent)
