"""datanode.localnet.replica.housekeeping: rent is charged without anybody asking."""

import threading

from datanode.agent.identity import Identity
from datanode.localnet.state import ledger
from datanode.localnet.state.ledger import BillEntry
from datanode.units import DAY_S
from tests.fakes.gateway import Gateway


def rents(net: Gateway) -> list[BillEntry]:
    return [entry for entry in ledger.page(net.network.records.database) if entry.method == "rent"]


def test_a_round_charges_every_canister(net: Gateway, alice: Identity) -> None:
    canisters = {net.counter(alice), net.counter(alice)}
    net.wall.pass_s(60)
    net.housekeeper().round()
    assert {entry.canister for entry in rents(net)} == canisters


def test_a_canister_that_cannot_be_charged_stops_no_other(net: Gateway, alice: Identity) -> None:
    broken, sound = net.counter(alice), net.counter(alice)
    net.wall.pass_s(60)
    net.network.records.database.write(
        "CREATE TRIGGER refuse BEFORE INSERT ON ledger WHEN NEW.canister = x'"
        f"{broken.raw.hex()}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
    )
    net.housekeeper().round()
    assert [entry.canister for entry in rents(net)] == [sound]


def test_a_change_of_canister_time_wakes_the_housekeeper(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    before = net.balance(canister)
    housekeeper = net.housekeeper()
    housekeeper.start()
    try:
        net.network.runtime.canister_time.advance(30 * DAY_S)
        charged = threading.Event()
        while not charged.wait(0.01):
            if net.balance(canister) < before:
                charged.set()
    finally:
        housekeeper.stop()
    (entry,) = rents(net)
    assert dict(entry.items)["base"] == 10_000 * 30 * DAY_S
    assert before - net.balance(canister) == entry.total_cycles
