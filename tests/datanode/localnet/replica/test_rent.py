"""datanode.localnet.replica.rent: time is paid for, and who cannot pay loses the code."""

from dataclasses import replace

import pytest

from datanode.agent.identity import Identity
from datanode.localnet.management import interface_types
from datanode.localnet.replica import rent
from datanode.localnet.state import ledger
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.ledger import BillEntry
from datanode.principal import Principal
from datanode.units import DAY_S, TC
from tests.fakes.counter import argument, number
from tests.fakes.gateway import Gateway, RejectedError


def slot_of(net: Gateway, canister: Principal) -> Slot:
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    return slot


def rents(net: Gateway, canister: Principal) -> list[BillEntry]:
    entries = ledger.page(net.network.records.database)
    return [entry for entry in entries if (entry.canister, entry.method) == (canister, rent.METHOD)]


def test_rent_is_due_after_ten_seconds_and_not_before(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.wall.pass_s(9)
    net.call(alice, canister, "add", argument(1))
    assert rents(net, canister) == []
    net.wall.pass_s(2)
    net.query(alice, canister, "get")
    (paid,) = rents(net, canister)
    assert dict(paid.items)["base"] == 10 * 10_000
    assert paid.balance_cycles == net.balance(canister)
    net.interface.rent.settle(slot_of(net, canister))
    assert rents(net, canister) == [paid]


def test_rent_is_paid_out_of_what_is_set_aside_first(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    slot = slot_of(net, canister)
    before = slot.canister.balance_cycles
    slot.canister = replace(slot.canister, reserved_cycles=250_000)
    net.wall.pass_s(16)
    net.interface.rent.settle(slot)
    (paid,) = rents(net, canister)
    items = dict(paid.items)
    due = items["storage"] + items["base"]
    assert items["base"] == 15 * 10_000
    assert items["reserve"] == -due
    assert paid.total_cycles == 0
    assert slot.canister.reserved_cycles == 250_000 - due
    assert slot.canister.balance_cycles == before
    net.wall.pass_s(20)
    net.interface.rent.settle(slot)
    again = rents(net, canister)[-1]
    assert dict(again.items)["reserve"] == -(250_000 - due)
    assert again.total_cycles == before - slot.canister.balance_cycles > 0
    assert slot.canister.reserved_cycles == 0


def test_a_canister_that_cannot_pay_is_uninstalled(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice, TC)
    net.manage(
        alice, "upload_chunk", interface_types.UPLOAD_CHUNK, canister_id=canister, chunk=b"chunk"
    )
    version = slot_of(net, canister).canister.version
    net.wall.pass_s(1_200 * DAY_S)
    with pytest.raises(RejectedError, match="out of cycles"):
        net.call(alice, canister, "add", argument(1))
    lost = rents(net, canister)[-1]
    assert lost.status == "uninstalled"
    assert dict(lost.items) == {"burnt": lost.total_cycles}
    slot = slot_of(net, canister)
    assert slot.canister.memory_bytes == 0
    assert slot.canister.balance_cycles == 0
    assert slot.canister.module_hash is None
    assert slot.canister.certified_data == b""
    assert slot.canister.version == version + 1
    assert slot.canister.settings.controllers == (alice.principal,)
    assert net.network.records.database.rows("SELECT * FROM chunks") == []
    entries = [e for e in ledger.page(net.network.records.database) if e.canister == canister]
    assert sum(entry.total_cycles for entry in entries) == 0
    net.reopen()
    assert slot_of(net, canister).canister.module_hash is None
    net.wall.pass_s(DAY_S)
    net.interface.rent.settle(slot_of(net, canister))
    assert rents(net, canister)[-1] == lost


def test_an_uninstalled_canister_lives_again_once_it_is_fed(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice, TC)
    net.wall.pass_s(1_200 * DAY_S)
    top_up = "provisional_top_up_canister"
    net.manage(alice, top_up, interface_types.TOP_UP, canister_id=canister, amount=TC)
    with pytest.raises(RejectedError, match="contains no Wasm module"):
        net.call(alice, canister, "add", argument(1))
    net.install(alice, canister)
    assert number(net.call(alice, canister, "add", argument(4))) == 4


def test_a_canister_whose_calls_cannot_be_looked_up_goes_on_and_owes_its_rent(
    net: Gateway, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    canister = net.counter(alice, TC)
    net.wall.pass_s(1_200 * DAY_S)
    with monkeypatch.context() as patch:
        patch.setattr(net.network.traffic.calls, "contexts", lambda _: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            net.interface.rent.settle(slot_of(net, canister))
    assert slot_of(net, canister).canister.module_hash is not None
    net.interface.rent.settle(slot_of(net, canister))
    assert slot_of(net, canister).canister.module_hash is None


def test_a_full_disk_leaves_the_rent_due(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.network.records.database.write("PRAGMA max_page_count=1")
    for _ in range(1000):
        net.wall.pass_s(60)
        due_since_ns = slot_of(net, canister).canister.charged_ns
        assert number(net.query(alice, canister, "get")) == 0
        if slot_of(net, canister).canister.charged_ns == due_since_ns:
            break
    paid_count = len(rents(net, canister))
    assert 0 < paid_count < 1000
    net.network.records.database.write("PRAGMA max_page_count=1000000")
    net.query(alice, canister, "get")
    assert len(rents(net, canister)) == paid_count + 1
