"""How to test a canister of your own: copy this folder and exchange the counter.

It needs `pip install "datanode[localnet]" pytest`, nothing else; pytest finds the fixtures by
itself.
"""

from pathlib import Path

import pytest

from datanode.agent.candid import Nat64
from datanode.localnet.api import CanisterHandle, LocalNetwork, RejectError

COUNTER = Path(__file__).with_name("counter.wat")
TC = 10**12


@pytest.fixture
def counter(shared_localnet: LocalNetwork) -> CanisterHandle:
    return shared_localnet.create_canister(COUNTER, cycles=5 * TC)


def test_a_counter_adds(counter: CanisterHandle) -> None:
    assert counter.update("add", (Nat64, 2), returns=Nat64) == 2
    assert counter.update("add", (Nat64, 3), returns=Nat64) == 5
    assert counter.query("get", returns=Nat64) == 5
    assert counter.logs() == ["added", "added"]


def test_arguments_and_replies_can_be_textual_candid(shared_localnet: LocalNetwork) -> None:
    counter = shared_localnet.create_canister(COUNTER, candid=COUNTER.with_suffix(".did"))
    assert counter.call("add", "(2)") == "(2 : nat64)"
    assert counter.call("get") == "(2 : nat64)"


def test_a_trap_takes_everything_back(counter: CanisterHandle) -> None:
    counter.update("add", (Nat64, 7))
    with pytest.raises(RejectError, match="too much") as rejected:
        counter.update("add", (Nat64, 1_000_000))
    assert rejected.value.error_code == "IC0503"
    assert counter.query("get", returns=Nat64) == 7


def test_an_upgrade_keeps_the_sum_and_a_reinstall_does_not(counter: CanisterHandle) -> None:
    counter.update("add", (Nat64, 7))
    counter.upgrade(COUNTER)
    assert counter.query("get", returns=Nat64) == 7
    counter.reinstall(COUNTER)
    assert counter.query("get", returns=Nat64) == 0


def test_a_snapshot_brings_the_sum_back(counter: CanisterHandle) -> None:
    counter.update("add", (Nat64, 7))
    counter.stop()
    snapshot = counter.take_snapshot()
    counter.start()
    counter.update("add", (Nat64, 1))
    counter.stop()
    counter.load_snapshot(snapshot)
    counter.start()
    assert counter.query("get", returns=Nat64) == 7


def test_only_a_controller_upgrades(shared_localnet: LocalNetwork, counter: CanisterHandle) -> None:
    stranger = counter.using(shared_localnet.identity("stranger"))
    assert stranger.update("add", (Nat64, 1), returns=Nat64) == 1
    with pytest.raises(RejectError, match="Only controllers"):
        stranger.upgrade(COUNTER)


def test_a_message_costs_what_its_bill_says(counter: CanisterHandle) -> None:
    before = counter.ledger()[-1]
    counter.update("add", (Nat64, 1))
    bills = counter.ledger(after=before.sequence)  # rent may be among them
    (bill,) = [each for each in bills if each.method == "add"]
    assert dict(bill.items).keys() == {"ingress", "execution", "instructions"}
    paid = sum(each.total_cycles for each in bills)
    assert before.balance_cycles - bills[-1].balance_cycles == paid


def test_a_year_of_rent_passes_at_once(localnet: LocalNetwork) -> None:
    counter = localnet.create_canister(COUNTER, cycles=5 * TC)
    a_year = counter.status().idle_cycles_per_day * 365
    before = counter.balance_cycles
    localnet.advance(seconds=365 * 86_400)
    counter.query("get")
    assert a_year * 0.99 < before - counter.balance_cycles < a_year * 1.01


def test_a_counter_survives_a_power_cut(localnet: LocalNetwork) -> None:
    counter = localnet.create_canister(COUNTER)
    counter.update("add", (Nat64, 7))
    localnet.kill()
    localnet.start()
    assert counter.query("get", returns=Nat64) == 7
