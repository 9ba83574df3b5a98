"""Snapshots of canisters: what they bring back, what they cost, whose they are."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from datanode.agent import candid
from datanode.agent.candid import Record, Type, Value
from datanode.agent.identity import Identity, anonymous
from datanode.errors import DataNodeError
from datanode.localnet.management import interface_types, snapshot_types
from datanode.localnet.state import ledger
from datanode.localnet.state.canister_record import Canister
from datanode.principal import Principal
from datanode.units import MIB, TC
from tests.fakes.counter import argument, counter_wasm, number
from tests.fakes.gateway import Gateway, RejectedError

BASELINE = 2_000_000_000
PAGE = 65_536
SIZE = 3 * PAGE + 32 + len(counter_wasm())
"""Heap, stable memory, the instruction counter's global, the module."""


def one(kind: Type, reply: bytes) -> Value:
    (value,) = candid.decode((kind,), reply)
    return value


def record(kind: Record, reply: bytes) -> Mapping[str, Value]:
    return cast("Mapping[str, Value]", one(kind, reply))


def take(net: Gateway, who: Identity, canister: Principal, **more: Value) -> Mapping[str, Value]:
    method = "take_canister_snapshot"
    reply = net.manage(who, method, snapshot_types.TAKE, canister_id=canister, **more)
    return record(snapshot_types.SNAPSHOT, reply)


def load(net: Gateway, who: Identity, canister: Principal, identifier: Value) -> None:
    fields = {"canister_id": canister, "snapshot_id": identifier}
    net.manage(who, "load_canister_snapshot", snapshot_types.ONE, **fields)


def remove(net: Gateway, who: Identity, canister: Principal, identifier: Value) -> None:
    fields = {"canister_id": canister, "snapshot_id": identifier}
    net.manage(who, "delete_canister_snapshot", snapshot_types.ONE, **fields)


def listed(net: Gateway, who: Identity, canister: Principal) -> list[Mapping[str, Value]]:
    reply = net.manage(
        who, "list_canister_snapshots", interface_types.CANISTER, canister_id=canister
    )
    return cast("list[Mapping[str, Value]]", one(snapshot_types.SNAPSHOTS, reply))


def found(net: Gateway, canister: Principal) -> Canister:
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    return slot.canister


def folders(net: Gateway, canister: Principal) -> list[str]:
    folder = net.folder / "canisters" / canister.text / "snapshots"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def certified(net: Gateway, who: Identity, canister: Principal) -> object:
    # Only the canister's own queries may read it, out of their certificate.
    tree = net.verified(net.query(who, canister, "certified"), canister)
    return tree.lookup([b"canister", canister.raw, b"certified_data"])


def test_a_loaded_snapshot_brings_back_memory_code_and_certified_data(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(4))
    data = certified(net, alice, canister)
    taken = take(net, alice, canister)
    assert taken["id"] == bytes(8) + canister.raw
    assert taken["total_size"] == SIZE + 8
    assert listed(net, alice, canister) == [taken]
    net.call(alice, canister, "add", argument(3))
    assert certified(net, alice, canister) != data
    net.manage(alice, "uninstall_code", interface_types.CANISTER, canister_id=canister)
    version = found(net, canister).version
    load(net, alice, canister, taken["id"])
    assert found(net, canister).version == version + 1
    net.reopen()
    assert number(net.query(alice, canister, "get")) == 4
    assert certified(net, alice, canister) == data
    assert number(net.call(alice, canister, "add", argument(1))) == 5
    load(net, alice, canister, taken["id"])
    assert number(net.query(alice, canister, "get")) == 4


def test_taking_and_loading_cost_their_baseline_and_a_byte_an_instruction(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    before = net.balance(canister)
    taken = take(net, alice, canister)
    entry = ledger.page(net.network.records.database)[-1]
    assert (entry.method, entry.instructions) == ("take_canister_snapshot", BASELINE + SIZE)
    items = dict(entry.items)
    assert items.pop("ingress") > 0
    assert items == {"instructions": BASELINE + SIZE}
    assert before - net.balance(canister) == entry.total_cycles
    load(net, alice, canister, taken["id"])
    entry = ledger.page(net.network.records.database)[-1]
    compiling = entry.instructions - BASELINE - SIZE
    assert compiling > 0
    assert compiling % 60 == 0  # a hundredth: the subnet has compiled it when it was installed
    assert "execution" not in dict(entry.items)
    assert dict(entry.items)["instructions"] == entry.instructions
    assert entry.balance_cycles == net.balance(canister)


def test_a_snapshot_counts_in_memory_and_rent_until_it_is_deleted(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    before = found(net, canister)
    taken = take(net, alice, canister)
    after = found(net, canister)
    assert after.snapshot_bytes == SIZE
    assert after.memory_bytes == before.memory_bytes + SIZE
    assert after.idle_cycles_per_day(net.fees) > before.idle_cycles_per_day(net.fees)
    assert folders(net, canister) == ["0"]
    remove(net, alice, canister, taken["id"])
    assert found(net, canister).memory_bytes == before.memory_bytes
    assert folders(net, canister) == []
    assert listed(net, alice, canister) == []
    with pytest.raises(RejectedError, match="Could not find the snapshot ID") as rejected:
        load(net, alice, canister, taken["id"])
    assert rejected.value.error_code == "IC0305"


def test_a_canister_has_ten_snapshots_and_a_new_one_may_replace_an_old_one(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice, 100 * TC)
    taken = [take(net, alice, canister)["id"] for _ in range(10)]
    with pytest.raises(RejectedError, match="the maximum number of snapshots allowed: 10") as full:
        take(net, alice, canister)
    assert full.value.error_code == "IC0406"
    newest = take(net, alice, canister, replace_snapshot=taken[3])["id"]
    assert newest == (10).to_bytes(8) + canister.raw
    assert [each["id"] for each in listed(net, alice, canister)] == [
        *(each for each in taken if each != taken[3]),
        newest,
    ]
    assert found(net, canister).snapshot_bytes == 10 * SIZE
    with pytest.raises(RejectedError, match="Could not find"):
        take(net, alice, canister, replace_snapshot=taken[3])
    net.reopen()
    assert len(folders(net, canister)) == len(listed(net, alice, canister)) == 10


def test_a_snapshot_is_loaded_onto_another_canister_of_the_same_controller(
    net: Gateway, alice: Identity, bob: Identity
) -> None:
    source, target, foreign = net.counter(alice), net.create(alice), net.create(bob)
    net.call(alice, source, "add", argument(9))
    taken = take(net, alice, source)["id"]
    load(net, alice, target, taken)
    assert number(net.call(alice, target, "add", argument(1))) == 10
    assert number(net.query(alice, source, "get")) == 9
    with pytest.raises(RejectedError, match="Only a controller of the canister") as rejected:
        load(net, bob, foreign, taken)
    assert rejected.value.error_code == "IC0406"
    with pytest.raises(RejectedError, match="does not belong to") as rejected:
        remove(net, alice, target, taken)
    assert rejected.value.error_code == "IC0406"
    remove(net, alice, source, taken)
    net.reopen()
    assert number(net.query(alice, target, "get")) == 10


def test_snapshots_are_for_controllers_and_shown_to_whom_the_setting_allows(
    net: Gateway, alice: Identity, bob: Identity
) -> None:
    canister = net.counter(alice)
    taken = take(net, alice, canister)["id"]
    for act in (
        lambda: take(net, bob, canister),
        lambda: load(net, bob, canister, taken),
        lambda: remove(net, bob, canister, taken),
        lambda: listed(net, bob, canister),
    ):
        with pytest.raises(RejectedError, match="Only controllers") as rejected:
            act()
        assert (rejected.value.error_code, rejected.value.certified) == ("IC0512", False)
    settings = dict.fromkeys((name for _, name, _ in interface_types.SETTINGS.fields), None)
    public = {**settings, "snapshot_visibility": ("public", None)}
    net.manage(
        alice,
        "update_settings",
        interface_types.UPDATE_SETTINGS,
        canister_id=canister,
        settings=public,
    )
    assert len(listed(net, anonymous(), canister)) == 1
    with pytest.raises(RejectedError, match="Only controllers"):
        remove(net, bob, canister, taken)


def test_a_canister_without_code_has_nothing_to_take(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice)
    with pytest.raises(RejectedError, match="Failed to create snapshot for empty") as rejected:
        take(net, alice, canister)
    assert (rejected.value.error_code, rejected.value.certified) == ("IC0406", True)


def test_code_may_be_uninstalled_in_the_same_step(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(2))
    taken = take(net, alice, canister, uninstall_code=True)
    after = found(net, canister)
    assert after.module_hash is None
    assert after.snapshot_bytes == taken["total_size"]
    assert after.memory_bytes == after.snapshot_bytes + after.history.size_bytes
    with pytest.raises(RejectedError, match="no Wasm module"):
        net.query(alice, canister, "get")
    net.reopen()
    load(net, alice, canister, taken["id"])
    assert number(net.query(alice, canister, "get")) == 2


def test_a_canister_that_cannot_pay_or_would_freeze_takes_no_snapshot(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    held = slot.canister.frozen_below_cycles(net.fees)
    rent = replace(slot.canister, snapshot_bytes=SIZE).frozen_below_cycles(net.fees) - held
    for spare, code in ((rent // 2, "IC0532"), (rent + BASELINE // 2, "IC0207")):
        slot.canister = replace(slot.canister, balance_cycles=held + spare)
        with pytest.raises(RejectedError) as rejected:
            take(net, alice, canister)
        assert (rejected.value.error_code, rejected.value.certified) == (code, True)
        assert folders(net, canister) == []
        assert found(net, canister).snapshot_bytes == 0
        assert listed(net, alice, canister) == []


def test_the_chunk_store_is_kept_and_brought_back(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.manage(
        alice, "upload_chunk", interface_types.UPLOAD_CHUNK, canister_id=canister, chunk=b"one"
    )
    taken = take(net, alice, canister)
    assert taken["total_size"] == SIZE + MIB
    net.manage(alice, "clear_chunk_store", interface_types.CANISTER, canister_id=canister)
    net.manage(
        alice, "upload_chunk", interface_types.UPLOAD_CHUNK, canister_id=canister, chunk=b"two"
    )
    net.manage(
        alice, "upload_chunk", interface_types.UPLOAD_CHUNK, canister_id=canister, chunk=b"three"
    )
    load(net, alice, canister, taken["id"])
    reply = net.manage(alice, "stored_chunks", interface_types.CANISTER, canister_id=canister)
    stored = one(interface_types.STORED_CHUNKS, reply)
    assert isinstance(stored, list)
    assert len(stored) == 1
    assert found(net, canister).chunk_bytes == MIB


def test_uninstalling_keeps_snapshots_and_deleting_the_canister_removes_them(
    net: Gateway, alice: Identity
) -> None:
    canister, other = net.counter(alice), net.create(alice)
    taken = take(net, alice, canister)
    net.manage(alice, "uninstall_code", interface_types.CANISTER, canister_id=canister)
    net.install(alice, canister)
    net.install(alice, canister, "reinstall")
    assert listed(net, alice, canister) == [taken]
    net.manage(alice, "stop_canister", interface_types.CANISTER, canister_id=canister)
    load(net, alice, canister, taken["id"])
    net.manage(alice, "delete_canister", interface_types.CANISTER, canister_id=canister)
    assert net.network.records.snapshots.of(canister) == []
    with pytest.raises(RejectedError, match="Could not find"):
        load(net, alice, other, taken["id"])


def test_a_snapshot_whose_transaction_failed_leaves_nothing(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    kept = take(net, alice, canister)
    net.call(alice, canister, "add", argument(1))
    for act in (
        lambda: take(net, alice, canister),
        lambda: take(net, alice, canister, uninstall_code=True),
        lambda: load(net, alice, canister, kept["id"]),
        lambda: remove(net, alice, canister, kept["id"]),
    ):
        balance = net.balance(canister)
        net.network.records.database.write("ALTER TABLE ledger RENAME TO away")
        with pytest.raises(DataNodeError, match="no such table"):
            act()
        net.network.records.database.write("ALTER TABLE away RENAME TO ledger")
        assert net.balance(canister) == balance
        assert folders(net, canister) == ["0"]
        assert number(net.query(alice, canister, "get")) == 1
    net.reopen()
    assert listed(net, alice, canister) == [kept]
    assert number(net.query(alice, canister, "get")) == 1


def test_files_of_a_snapshot_that_was_never_recorded_are_swept(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    kept = take(net, alice, canister)
    left = net.folder / "canisters" / canister.text / "snapshots" / "1"
    left.mkdir()
    (left / "heap.bin").write_bytes(b"half")
    net.reopen()
    assert folders(net, canister) == ["0"]
    assert take(net, alice, canister)["id"] == (1).to_bytes(8) + canister.raw
    load(net, alice, canister, kept["id"])


def test_a_full_disk_refuses_a_snapshot_in_plain_words(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.free_bytes = 1 << 20
    with pytest.raises(RejectedError, match="1 MiB left; updates are refused") as rejected:
        take(net, alice, canister)
    assert rejected.value.error_code == "IC0507"
    net.free_bytes = 1 << 40
    assert folders(net, canister) == []
    assert number(net.query(alice, canister, "get")) == 0


@pytest.mark.parametrize("identifier", [b"", b"\xff" * 8, b"\xff" * 18, bytes(400)])
def test_an_id_that_names_nothing_is_not_found(
    net: Gateway, alice: Identity, identifier: bytes
) -> None:
    canister = net.counter(alice)
    for act in (load, remove):
        with pytest.raises(RejectedError) as rejected:
            act(net, alice, canister, identifier)
        assert rejected.value.error_code == "IC0305"
