"""Moves snapshots out of the network and into it, piece by piece.

A snapshot that is uploaded starts with its metadata, as zeros of the sizes that are told, which the
canister pays for at once; its data follow in any order. Only such a one can be written to, and
whether it is a canister shows when it is loaded.
"""

import struct
from dataclasses import replace
from typing import Final, cast

from datanode.agent import candid
from datanode.agent.candid import Value
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.general_calls import MAX_CERTIFIED_DATA_BYTES
from datanode.localnet.machine.globals import COUNTED_BYTES
from datanode.localnet.machine.instance import GLOBAL_BYTES
from datanode.localnet.machine.snapshot_files import SnapshotContents, SnapshotPart
from datanode.localnet.machine.stable import MAX_STABLE_BYTES, WASM_PAGE_BYTES
from datanode.localnet.management import chunk_store, growth_payment
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.call import ManagementCall, reject
from datanode.localnet.management.canister_snapshots import (
    BASELINE_INSTRUCTIONS,
    found,
    removed,
    removing,
    replaced_by,
    with_snapshot,
)
from datanode.localnet.management.installation import MAX_MODULE_BYTES
from datanode.localnet.management.snapshot_types import DATA, METADATA, UPLOADED
from datanode.localnet.state.snapshot_records import SnapshotRecord
from datanode.units import GIB, MIB

DATA_BASELINE_INSTRUCTIONS: Final = 5_000_000
MAX_SLICE_BYTES: Final = 2_000_000
MAX_GLOBALS: Final = 1_000
MAX_HEAP_BYTES: Final = 4 * GIB
MAX_WIDE_HEAP_BYTES: Final = 6 * GIB
"""Price and bounds of moving snapshots. Source: replica, 2026-05."""

_PARTS: Final = {
    "wasm_module": SnapshotPart.MODULE,
    "wasm_memory": SnapshotPart.HEAP,
    "stable_memory": SnapshotPart.STABLE,
}
_GLOBALS: Final = (("i32", "<i"), ("i64", "<q"), ("f32", "<f"), ("f64", "<d"))
_V128: Final = 4
_HOOK: Final = "on_low_wasm_memory_hook_status"


def read_metadata(call: ManagementCall) -> Effect:
    """Handle `read_canister_snapshot_metadata`."""
    snapshot = found(call, call.args.blob("snapshot_id"))
    contents, timer_ns = snapshot.contents, snapshot.timer_ns
    timer = ("active", timer_ns) if timer_ns else ("inactive", None)
    chunks = chunk_store.hashes(call.records.database, snapshot.id)
    fields: dict[str, Value] = {
        "source": ("metadata_upload" if snapshot.uploaded else "taken_from_canister", None),
        "taken_at_timestamp": snapshot.taken_ns,
        "wasm_module_size": contents.module_bytes,
        "globals": _shown_globals(contents.globals),
        "wasm_memory_size": contents.size_bytes(SnapshotPart.HEAP),
        "stable_memory_size": contents.size_bytes(SnapshotPart.STABLE),
        "wasm_chunk_store": [{"hash": each} for each in chunks],
        "canister_version": snapshot.version,
        "certified_data": snapshot.certified_data,
        "global_timer": None if timer_ns is None else timer,
        _HOOK: None if snapshot.hook is None else (snapshot.hook, None),
    }
    return call.done(candid.encode((METADATA,), (fields,)))


def read_data(call: ManagementCall) -> Effect:
    """Handle `read_canister_snapshot_data`."""
    snapshot = found(call, call.args.blob("snapshot_id"))
    case, asked = call.args.choice("kind")
    size = MIB if case == "wasm_chunk" else asked.number("size")
    if case in _PARTS and size > MAX_SLICE_BYTES:
        raise reject("IC0408", f"Requested slice too large: {size} > {MAX_SLICE_BYTES}")
    instructions = DATA_BASELINE_INSTRUCTIONS + size
    growth_payment.pay(call, call.bill.canister, instructions)
    if case == "wasm_chunk":
        data = _chunk(call, snapshot, asked.blob("hash"))
    else:
        part, offset = _PARTS[case], asked.number("offset")
        _check_slice(snapshot, part, offset, size)
        data = call.slot.machine.snapshots.read(snapshot.number, part, offset, size)
    effect = call.done(candid.encode((DATA,), ({"chunk": data},)))
    return replace(effect, instructions=instructions)


def upload_metadata(call: ManagementCall) -> Effect:
    """Handle `upload_canister_snapshot_metadata`."""
    slot, before = call.slot, call.bill.canister
    contents = _checked_contents(call)
    certified_data = call.args.blob("certified_data")
    replaced = replaced_by(call)
    size_bytes = sum(contents.size_bytes(part) for part in SnapshotPart) + len(certified_data)
    size_bytes += len(contents.globals) // GLOBAL_BYTES * COUNTED_BYTES
    growth_payment.pay(
        call,
        with_snapshot(before, size_bytes, replaced),
        BASELINE_INSTRUCTIONS + size_bytes,
    )
    call.runtime.disk.check()
    slot.machine.snapshots.create(before.snapshot_count, contents)
    snapshot = SnapshotRecord(
        canister=before.id,
        number=before.snapshot_count,
        taken_ns=call.runtime.canister_time.now_ns(),
        version=before.version,
        uploaded=True,
        contents=contents,
        certified_data=certified_data,
        timer_ns=_timer_ns(call.args),
        hook=call.args.variant(_HOOK)[0] if call.args.has(_HOOK) else None,
        total_bytes=size_bytes,
    )
    effect = call.done(candid.encode((UPLOADED,), ({"snapshot_id": snapshot.id},)))
    return replace(
        effect,
        instructions=BASELINE_INSTRUCTIONS + size_bytes,
        writes=(lambda: call.records.snapshots.save(snapshot), *removing(call, replaced)),
        done=removed(call, replaced),
    )


def upload_data(call: ManagementCall) -> Effect:
    """Handle `upload_canister_snapshot_data`."""
    snapshot, chunk = found(call, call.args.blob("snapshot_id")), call.args.blob("chunk")
    if not snapshot.uploaded:
        raise reject("IC0409", "Only canister snapshots created by metadata upload can be mutated.")
    case, place = call.args.choice("kind")
    instructions = MIB if case == "wasm_chunk" else len(chunk)
    growth_payment.pay(call, call.bill.canister, instructions)
    call.runtime.disk.check(len(chunk))
    if case == "wasm_chunk":
        return replace(_add_chunk(call, snapshot, chunk), instructions=instructions)
    part = _PARTS[case]
    offset = place.number("offset")
    _check_slice(snapshot, part, offset, len(chunk))
    sequence = call.slot.canister.sequence + 1
    with call.records.snapshots.lock:
        call.slot.machine.snapshots.write(snapshot.number, part, offset, chunk, sequence=sequence)
    call.bill.canister = replace(call.bill.canister, sequence=sequence)
    return replace(call.done(), instructions=instructions)


def _add_chunk(call: ManagementCall, snapshot: SnapshotRecord, chunk: bytes) -> Effect:
    before = call.bill.canister
    known = chunk_store.hashes(call.records.database, snapshot.id)
    if chunk_store.digest(chunk) in known:
        return call.done()
    chunk_store.check_new(chunk, known)
    growth_payment.pay(call, replace(before, snapshot_bytes=before.snapshot_bytes + MIB))
    grown = replace(snapshot, total_bytes=snapshot.total_bytes + MIB)
    return replace(
        call.done(),
        writes=(
            lambda: chunk_store.put(call.records.database, snapshot.id, chunk),
            lambda: call.records.snapshots.save(grown),
        ),
    )


def _chunk(call: ManagementCall, snapshot: SnapshotRecord, digest: bytes) -> bytes:
    data = chunk_store.get(call.records.database, snapshot.id, digest)
    if data is None:
        shown = ", ".join(f"{byte:02x}" for byte in digest)
        raise chunk_store.failed(f"WasmChunkHash [{shown}] not found.")
    return data


def _check_slice(snapshot: SnapshotRecord, part: SnapshotPart, offset: int, size: int) -> None:
    if offset + size > snapshot.contents.size_bytes(part):
        raise reject(
            "IC0408",
            "Invalid subslice into wasm module / main memory / stable memory: "
            f"offset: {offset}, size: {size}",
        )


def _checked_contents(call: ManagementCall) -> SnapshotContents:
    args = call.args
    module_bytes = args.number("wasm_module_size")
    heap_bytes, stable_bytes = args.number("wasm_memory_size"), args.number("stable_memory_size")
    listed = args.values("globals")
    most_heap_bytes = MAX_WIDE_HEAP_BYTES if call.slot.machine.is_wide else MAX_HEAP_BYTES
    faults = {
        "WasmModuleEmpty": module_bytes == 0,
        "WasmModuleTooLarge": module_bytes > MAX_MODULE_BYTES,
        "WasmMemoryNotPageAligned": heap_bytes % WASM_PAGE_BYTES,
        "WasmMemoryTooLarge": heap_bytes > most_heap_bytes,
        "StableMemoryNotPageAligned": stable_bytes % WASM_PAGE_BYTES,
        "StableMemoryTooLarge": stable_bytes > MAX_STABLE_BYTES,
        "ExportedGlobalsTooLarge": len(listed) > MAX_GLOBALS,
        "CertifiedDataTooLarge": len(args.blob("certified_data")) > MAX_CERTIFIED_DATA_BYTES,
    }
    for name, is_there in faults.items():
        if is_there:
            raise reject("IC0408", f"Snapshot Metadata contains invalid data: {name}")
    return SnapshotContents(
        module_bytes=module_bytes,
        heap_pages=heap_bytes // WASM_PAGE_BYTES,
        stable_pages=stable_bytes // WASM_PAGE_BYTES,
        globals=b"".join(_record(each) for each in listed),
    )


def _timer_ns(args: Arguments) -> int | None:
    if not args.has("global_timer"):
        return None
    case, value = args.variant("global_timer")
    return cast("int", value) if case == "active" else 0


def _shown_globals(records: bytes) -> list[Value]:
    shown: list[Value] = []
    for at in range(0, len(records), GLOBAL_BYTES):
        kind, value = records[at], records[at + 1 : at + GLOBAL_BYTES]
        if kind == _V128:
            shown.append(("v128", int.from_bytes(value, "little")))
        else:
            name, layout = _GLOBALS[kind]
            shown.append((name, struct.unpack_from(layout, value)[0]))
    return shown


def _record(shown: Value) -> bytes:
    name, value = cast("tuple[str, int]", shown)
    if name == "v128":
        if value.bit_length() > (GLOBAL_BYTES - 1) * 8:
            raise reject("IC0408", "Error decoding candid: a v128 has 128 bits")
        return bytes([_V128]) + value.to_bytes(GLOBAL_BYTES - 1, "little")
    kind, layout = next((at, layout) for at, (each, layout) in enumerate(_GLOBALS) if each == name)
    return bytes([kind]) + struct.pack(layout, value).ljust(GLOBAL_BYTES - 1, b"\0")
