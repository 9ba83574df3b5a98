"""Snapshots that leave the network in pieces and come back in pieces."""

from collections.abc import Mapping
from typing import cast

import pytest

from datanode.agent import candid
from datanode.agent.candid import Record, Type, Value
from datanode.agent.identity import Identity
from datanode.errors import DataNodeError
from datanode.localnet.management import interface_types, snapshot_types
from datanode.localnet.state import ledger
from datanode.principal import Principal
from datanode.units import MIB, TC
from tests.fakes.counter import argument as number_argument
from tests.fakes.counter import counter_wasm, number
from tests.fakes.gateway import Gateway, RejectedError

BASELINE = 2_000_000_000
PAGE = 65_536
PIECE = 60_000
KINDS = {
    "wasm_module": "wasm_module_size",
    "wasm_memory": "wasm_memory_size",
    "stable_memory": "stable_memory_size",
}
EMPTY_UPLOAD: Mapping[str, Value] = {
    "wasm_module_size": 1,
    "globals": [],
    "wasm_memory_size": 0,
    "stable_memory_size": 0,
    "certified_data": b"",
}


def manage(
    net: Gateway,
    who: Identity,
    method: str,
    argument: Record,
    reply: Type | None,
    /,
    **fields: Value,
) -> Mapping[str, Value]:
    data = net.manage(who, method, argument, **fields)
    if reply is None:
        return {}
    (value,) = candid.decode((reply,), data)
    return cast("Mapping[str, Value]", value)


def owner(of: bytes) -> Principal:
    return Principal(of[8:])


def take(net: Gateway, who: Identity, canister: Principal) -> bytes:
    method, kinds = "take_canister_snapshot", (snapshot_types.TAKE, snapshot_types.SNAPSHOT)
    return cast("bytes", manage(net, who, method, *kinds, canister_id=canister)["id"])


def metadata(net: Gateway, who: Identity, of: bytes) -> Mapping[str, Value]:
    method, kinds = "read_canister_snapshot_metadata", (snapshot_types.ONE, snapshot_types.METADATA)
    return manage(net, who, method, *kinds, canister_id=owner(of), snapshot_id=of)


def read(net: Gateway, who: Identity, of: bytes, kind: tuple[str, Value]) -> bytes:
    method, kinds = "read_canister_snapshot_data", (snapshot_types.READ_DATA, snapshot_types.DATA)
    found = manage(net, who, method, *kinds, canister_id=owner(of), snapshot_id=of, kind=kind)
    return cast("bytes", found["chunk"])


def announce(net: Gateway, who: Identity, canister: Principal, **fields: Value) -> bytes:
    method = "upload_canister_snapshot_metadata"
    kinds = (snapshot_types.UPLOAD_METADATA, snapshot_types.UPLOADED)
    given = {**EMPTY_UPLOAD, **fields}
    made = manage(net, who, method, *kinds, canister_id=canister, **given)
    return cast("bytes", made["snapshot_id"])


def upload(net: Gateway, who: Identity, of: bytes, kind: tuple[str, Value], chunk: bytes) -> None:
    fields: dict[str, Value] = {"canister_id": owner(of), "snapshot_id": of, "kind": kind}
    method = "upload_canister_snapshot_data"
    manage(net, who, method, snapshot_types.UPLOAD_DATA, None, **fields, chunk=chunk)


def load(net: Gateway, who: Identity, canister: Principal, of: bytes) -> None:
    method = "load_canister_snapshot"
    manage(net, who, method, snapshot_types.ONE, None, canister_id=canister, snapshot_id=of)


def carry(net: Gateway, who: Identity, of: bytes, target: Principal, **other: Value) -> bytes:
    """Download a snapshot and upload it to another canister, told otherwise where it is given."""
    known = metadata(net, who, of)
    names = [name for _, name, _ in snapshot_types.UPLOAD_METADATA.fields]
    made = announce(net, who, target, **{**{n: known[n] for n in names if n in known}, **other})
    for kind, size_name in KINDS.items():
        size = cast("int", known[size_name])
        for at in range(0, size, PIECE):
            asked = {"offset": at, "size": min(PIECE, size - at)}
            upload(net, who, made, (kind, {"offset": at}), read(net, who, of, (kind, asked)))
    for chunk in cast("list[Mapping[str, Value]]", known["wasm_chunk_store"]):
        upload(net, who, made, ("wasm_chunk", None), read(net, who, of, ("wasm_chunk", chunk)))
    return made


def test_metadata_tell_what_a_snapshot_holds(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", number_argument(5))
    taken = take(net, alice, canister)
    found = metadata(net, alice, taken)
    assert found["source"] == ("taken_from_canister", None)
    assert found["wasm_module_size"] == len(counter_wasm())
    assert found["globals"] == []
    assert (found["wasm_memory_size"], found["stable_memory_size"]) == (2 * PAGE, PAGE)
    assert found["certified_data"] == (5).to_bytes(8, "little")
    assert found["canister_version"] == 2
    assert found["global_timer"] == ("inactive", None)
    assert found["on_low_wasm_memory_hook_status"] == ("condition_not_satisfied", None)
    assert found["wasm_chunk_store"] == []


def test_a_snapshot_that_was_carried_is_the_canister(net: Gateway, alice: Identity) -> None:
    source, target = net.counter(alice), net.create(alice)
    net.call(alice, source, "add", number_argument(5))
    net.manage(
        alice, "upload_chunk", interface_types.UPLOAD_CHUNK, canister_id=source, chunk=b"one"
    )
    taken = take(net, alice, source)
    made = carry(net, alice, taken, target)
    net.reopen()
    slot = net.network.records.canisters.find(target)
    assert slot is not None
    assert slot.canister.snapshot_bytes == len(counter_wasm()) + 3 * PAGE + 8 + MIB
    load(net, alice, target, made)
    assert number(net.call(alice, target, "add", number_argument(1))) == 6
    assert metadata(net, alice, made)["source"] == ("metadata_upload", None)
    assert read(net, alice, made, ("wasm_module", {"offset": 0, "size": 4})) == b"\0asm"
    reply = net.manage(alice, "stored_chunks", interface_types.CANISTER, canister_id=target)
    (stored,) = candid.decode((interface_types.STORED_CHUNKS,), reply)
    assert isinstance(stored, list)
    assert len(stored) == 1


def test_a_told_timer_is_set_and_one_that_is_not_told_stays(net: Gateway, alice: Identity) -> None:
    source, target = net.counter(alice), net.create(alice)
    taken, due_ns = take(net, alice, source), (1 << 62) - 1
    told = carry(net, alice, taken, target, global_timer=("active", due_ns))
    silent = carry(net, alice, taken, target, global_timer=None)
    stopped = carry(net, alice, taken, target, global_timer=("inactive", None))
    slot = net.network.records.canisters.find(target)
    assert slot is not None
    for made, expected_ns in ((told, due_ns), (silent, due_ns), (stopped, 0)):
        load(net, alice, target, made)
        assert slot.canister.timer_ns == expected_ns
    assert metadata(net, alice, told)["global_timer"] == ("active", due_ns)
    assert metadata(net, alice, silent)["global_timer"] is None


def test_a_hook_that_the_heap_contradicts_is_not_loaded(net: Gateway, alice: Identity) -> None:
    source, target = net.counter(alice), net.create(alice)
    ready = ("ready", None)
    taken = take(net, alice, source)
    made = carry(net, alice, taken, target, on_low_wasm_memory_hook_status=ready)
    assert metadata(net, alice, made)["on_low_wasm_memory_hook_status"] == ready
    with pytest.raises(RejectedError, match="hook condition satisfied: false") as rejected:
        load(net, alice, target, made)
    assert rejected.value.error_code == "IC0408"
    assert "Some(Ready)" in str(rejected.value)
    silent = carry(net, alice, taken, target, on_low_wasm_memory_hook_status=None)
    load(net, alice, target, silent)
    assert number(net.query(alice, target, "get")) == 0


def test_moving_costs_a_baseline_and_a_byte_an_instruction(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    taken = take(net, alice, canister)

    def paid() -> tuple[int, int]:
        entry = ledger.page(net.network.records.database)[-1]
        items = dict(entry.items)
        assert entry.balance_cycles == net.balance(canister)
        return entry.instructions, items.get("execution", 0) + items.get("instructions", 0)

    metadata(net, alice, taken)
    assert paid() == (0, 0)
    read(net, alice, taken, ("stable_memory", {"offset": 0, "size": 1000}))
    assert paid() == (5_001_000, 5_001_000)
    made = announce(net, alice, canister, wasm_memory_size=PAGE, globals=[("i32", -1)])
    assert paid() == (BASELINE + PAGE + 33, BASELINE + PAGE + 33)
    upload(net, alice, made, ("wasm_memory", {"offset": 9}), b"12345")
    assert paid() == (5, 5)
    upload(net, alice, made, ("wasm_chunk", None), b"12345")
    assert paid() == (MIB, MIB)
    assert read(net, alice, made, ("wasm_memory", {"offset": 8, "size": 4})) == b"\x00123"


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"wasm_module_size": 0}, "WasmModuleEmpty"),
        ({"wasm_module_size": 100 * MIB + 1}, "WasmModuleTooLarge"),
        ({"wasm_memory_size": 1}, "WasmMemoryNotPageAligned"),
        ({"wasm_memory_size": (1 << 64) - PAGE}, "WasmMemoryTooLarge"),
        ({"stable_memory_size": PAGE + 1}, "StableMemoryNotPageAligned"),
        ({"stable_memory_size": 1 << 63}, "StableMemoryTooLarge"),
        ({"globals": [("i32", 0)] * 1001}, "ExportedGlobalsTooLarge"),
        ({"certified_data": bytes(33)}, "CertifiedDataTooLarge"),
        ({"globals": [("v128", 1 << 128)]}, "128 bits"),
    ],
)
def test_metadata_that_make_no_sense_are_rejected(
    net: Gateway, alice: Identity, fields: dict[str, Value], fault: str
) -> None:
    canister = net.create(alice)
    with pytest.raises(RejectedError, match=fault) as rejected:
        announce(net, alice, canister, **fields)
    assert (rejected.value.error_code, rejected.value.certified) == ("IC0408", True)
    assert net.network.records.snapshots.of(canister) == []


def test_globals_of_every_type_come_back_as_they_were_told(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice)
    told = [("i32", -7), ("i64", -(1 << 63)), ("f32", 0.5), ("f64", -2.25), ("v128", 1 << 127)]
    made = announce(net, alice, canister, globals=cast("Value", told))
    assert metadata(net, alice, made)["globals"] == told


def test_slices_out_of_bounds_are_rejected(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    taken = take(net, alice, canister)
    made = announce(net, alice, canister, wasm_memory_size=PAGE)
    for offset, size in ((2 * PAGE, 1), (1 << 63, 1), (0, 2 * PAGE + 1)):
        with pytest.raises(RejectedError, match="Invalid subslice") as rejected:
            read(net, alice, taken, ("wasm_memory", {"offset": offset, "size": size}))
        assert rejected.value.error_code == "IC0408"
    with pytest.raises(RejectedError, match="slice too large: 2000001 > 2000000"):
        read(net, alice, taken, ("wasm_memory", {"offset": 0, "size": 2_000_001}))
    with pytest.raises(RejectedError, match="Invalid subslice"):
        upload(net, alice, made, ("wasm_memory", {"offset": PAGE - 1}), b"ab")
    with pytest.raises(RejectedError, match="not found") as rejected:
        read(net, alice, taken, ("wasm_chunk", {"hash": b"\1"}))
    assert rejected.value.error_code == "IC0504"
    with pytest.raises(RejectedError, match="created by metadata upload") as rejected:
        upload(net, alice, taken, ("wasm_memory", {"offset": 0}), b"ab")
    assert rejected.value.error_code == "IC0409"


def test_junk_that_was_uploaded_is_not_loaded_and_costs_the_canister_nothing(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice, 100 * TC)
    net.call(alice, canister, "add", number_argument(5))
    junk = announce(net, alice, canister, wasm_module_size=4)
    other = announce(
        net, alice, canister, wasm_module_size=len(counter_wasm()), globals=[("i32", 1)]
    )
    upload(net, alice, other, ("wasm_module", {"offset": 0}), counter_wasm())
    for made, code in ((junk, "IC0505"), (other, "IC0408")):
        with pytest.raises(RejectedError) as rejected:
            load(net, alice, canister, made)
        assert (rejected.value.error_code, rejected.value.certified) == (code, True)
        assert set(dict(ledger.page(net.network.records.database)[-1].items)) == {"ingress"}
        assert number(net.query(alice, canister, "get")) == 5
    net.reopen()
    assert number(net.call(alice, canister, "add", number_argument(1))) == 6


def test_data_whose_transaction_failed_are_not_there(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice)
    made = announce(net, alice, canister, stable_memory_size=PAGE)
    upload(net, alice, made, ("stable_memory", {"offset": 0}), b"first")
    net.network.records.database.write("ALTER TABLE ledger RENAME TO away")
    with pytest.raises(DataNodeError, match="no such table"):
        upload(net, alice, made, ("stable_memory", {"offset": 2}), b"second")
    with pytest.raises(DataNodeError, match="no such table"):
        announce(net, alice, canister)
    net.network.records.database.write("ALTER TABLE away RENAME TO ledger")
    kind = ("stable_memory", {"offset": 0, "size": 8})
    assert read(net, alice, made, kind) == b"first\0\0\0"
    net.reopen()
    assert read(net, alice, made, kind) == b"first\0\0\0"
    assert len(net.network.records.snapshots.of(canister)) == 1


def test_snapshots_are_read_by_whom_the_setting_allows_and_written_by_controllers(
    net: Gateway, alice: Identity, bob: Identity
) -> None:
    canister = net.counter(alice)
    taken = take(net, alice, canister)
    kind = ("wasm_module", {"offset": 0, "size": 4})
    with pytest.raises(RejectedError, match="Only controllers"):
        metadata(net, bob, taken)
    settings: dict[str, Value] = dict.fromkeys(
        name for _, name, _ in interface_types.SETTINGS.fields
    )
    settings["snapshot_visibility"] = ("allowed_viewers", [bob.principal])
    method = "update_settings"
    net.manage(
        alice, method, interface_types.UPDATE_SETTINGS, canister_id=canister, settings=settings
    )
    assert metadata(net, bob, taken)["wasm_memory_size"] == 2 * PAGE
    assert read(net, bob, taken, kind) == b"\0asm"
    with pytest.raises(RejectedError, match="Only controllers"):
        announce(net, bob, canister)
