"""Takes, loads, lists and deletes snapshots of canisters.

A snapshot keeps heap, globals, stable memory, module, certified data and chunk store. Loading one
raises the canister's version and brings the certified data of that time back; the status, the
settings, the balance and the log stay, and so does the global timer, unless the snapshot was
uploaded and tells one. Both work on canisters that run, too.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Value
from datanode.localnet.execution import admission, uninstalling
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.machine.snapshot_files import SnapshotPart, UnfitError
from datanode.localnet.machine.wasm_module import WasmError
from datanode.localnet.management import chunk_store, growth_payment
from datanode.localnet.management.call import ManagementCall, reject
from datanode.localnet.management.snapshot_types import SNAPSHOT, SNAPSHOTS
from datanode.localnet.state.canister_record import Canister, LowMemoryHook
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import RejectedError
from datanode.localnet.state.snapshot_records import SnapshotRecord
from datanode.principal import Principal

MAX_SNAPSHOTS: Final = 10
BASELINE_INSTRUCTIONS: Final = 2_000_000_000
"""Most snapshots of a canister; what taking and loading cost beside a byte's instruction. Source:
replica, 2026-05."""


def take(call: ManagementCall) -> Effect:
    """Handle `take_canister_snapshot`."""
    slot, before = call.slot, call.bill.canister
    uninstalls = call.args.flag("uninstall_code")
    with call.records.snapshots.lock:
        replaced = replaced_by(call)
        if before.module_hash is None:
            raise reject("IC0406", f"Failed to create snapshot for empty canister {before.id}:")
        held_bytes = before.execution_bytes - before.section_bytes
        size_bytes = held_bytes + before.chunk_bytes + len(before.certified_data)
        grown = with_snapshot(before, size_bytes, replaced)
        if uninstalls:
            grown = grown.without_code(slot.canister.sequence + 1)
        growth_payment.pay(call, grown, BASELINE_INSTRUCTIONS + size_bytes)
        if uninstalls:
            call.bill.canister = call.bill.canister.changed(call.cause, "code_uninstall", None)
        call.runtime.disk.check(slot.machine.copies.disk_bytes())
        snapshot = SnapshotRecord(
            canister=before.id,
            number=before.snapshot_count,
            taken_ns=call.runtime.canister_time.now_ns(),
            version=before.version,
            uploaded=False,
            contents=slot.machine.snapshots.take(before.snapshot_count),
            certified_data=before.certified_data,
            timer_ns=before.timer_ns,
            hook=before.low_memory_hook.value,
            total_bytes=size_bytes,
        )
        if uninstalls:
            slot.machine.uninstall(sequence=grown.sequence)
    database = call.records.database
    writes: list[Callable[[], object]] = [
        lambda: call.records.snapshots.save(snapshot),
        lambda: chunk_store.copy(database, before.id.raw, snapshot.id),
    ]
    if uninstalls:
        writes.append(chunk_store.clearing(call.records.database, before.id))
    effect = call.done(candid.encode((SNAPSHOT,), (_shown(snapshot),)))
    taken = replace(
        effect,
        instructions=BASELINE_INSTRUCTIONS + size_bytes,
        writes=(*writes, *removing(call, replaced)),
        done=removed(call, replaced),
    )
    return uninstalling.abandon(call.traffic, before.id).joined(taken) if uninstalls else taken


def load(call: ManagementCall) -> Effect:
    """Handle `load_canister_snapshot`."""
    slot, before = call.slot, call.bill.canister
    sequence = slot.canister.sequence + 1
    with call.records.snapshots.lock:
        snapshot, owner = _loadable(call)
        grown = _loaded(call, snapshot, sequence)
        baseline = BASELINE_INSTRUCTIONS + snapshot.total_bytes
        growth_payment.check(call, grown, baseline)
        folder = owner.machine.snapshots.folder(snapshot.number)
        call.runtime.disk.check(owner.machine.snapshots.disk_bytes(snapshot.number))
        try:
            compiling = slot.machine.snapshots.load(
                folder,
                snapshot.contents,
                sequence=sequence,
                compiled=call.runtime.compiled_modules,
            )
        except WasmError as error:
            raise RejectedError(Failure.wasm(error).reject(before.id.raw)) from error
        except UnfitError as error:
            raise reject("IC0408", str(error)) from error
    grown = replace(
        grown,
        module_hash=slot.machine.module_hash,
        global_bytes=slot.machine.globals_bytes,
        section_bytes=slot.machine.sections_bytes,
    )
    try:
        growth_payment.pay(call, grown, baseline + compiling)
    except RejectedError:
        slot.machine.rollback()
        raise
    call.bill.canister = call.bill.canister.changed(
        call.cause, "load_snapshot", _source(snapshot, before.id)
    )
    database = call.records.database
    effect = call.done()
    return replace(
        effect,
        instructions=baseline + compiling,
        writes=(
            chunk_store.clearing(call.records.database, before.id),
            lambda: chunk_store.copy(database, snapshot.id, before.id.raw),
        ),
    )


def show(call: ManagementCall) -> Effect:
    """Handle `list_canister_snapshots`."""
    found = call.records.snapshots.of(call.slot.canister.id)
    return call.done(candid.encode((SNAPSHOTS,), ([_shown(each) for each in found],)))


def delete(call: ManagementCall) -> Effect:
    """Handle `delete_canister_snapshot`."""
    snapshot = found(call, call.args.blob("snapshot_id"))
    before = call.bill.canister
    shrunk = replace(before, snapshot_bytes=before.snapshot_bytes - snapshot.total_bytes)
    call.bill.canister = shrunk
    effect = call.done()
    return replace(effect, writes=removing(call, snapshot), done=removed(call, snapshot))


def found(call: ManagementCall, identifier: bytes) -> SnapshotRecord:
    """Return a snapshot of the canister that the call concerns.

    Raises:
        RejectedError: There is none of that id, or it is another canister's.
    """
    snapshot, canister = call.records.snapshots.find(identifier), call.slot.canister.id
    if snapshot is None:
        raise reject(
            "IC0305",
            f"Could not find the snapshot ID {identifier.hex()} for canister {canister}.\nUse the "
            "`list_canister_snapshot` API to see which snapshots are present.",
        )
    if snapshot.canister != canister:
        raise reject(
            "IC0406",
            f"The snapshot {identifier.hex()} does not belong to canister {canister}.\nUse the "
            "`list_canister_snapshot` API to see which snapshots are present.",
        )
    return snapshot


def replaced_by(call: ManagementCall) -> SnapshotRecord | None:
    """Return the snapshot in whose place a new one comes.

    Raises:
        RejectedError: It is not there, or none gives way and there are ten.
    """
    if call.args.has("replace_snapshot"):
        return found(call, call.args.blob("replace_snapshot"))
    canister = call.slot.canister.id
    if len(call.records.snapshots.of(canister)) >= MAX_SNAPSHOTS:
        raise reject(
            "IC0406",
            f"Canister {canister} has reached the maximum number of snapshots allowed: "
            f"{MAX_SNAPSHOTS}.\nConsider deleting an unnecessary snapshot of the specified "
            "canister before creating a new one.",
        )
    return None


def with_snapshot(canister: Canister, size_bytes: int, replaced: SnapshotRecord | None) -> Canister:
    """Return a canister with one snapshot more, in the place of another if one gives way."""
    freed_bytes = 0 if replaced is None else replaced.total_bytes
    return replace(
        canister,
        snapshot_bytes=canister.snapshot_bytes + size_bytes - freed_bytes,
        snapshot_count=canister.snapshot_count + 1,
    )


def removing(
    call: ManagementCall, snapshot: SnapshotRecord | None
) -> tuple[Callable[[], object], ...]:
    """Return the writes that delete a snapshot's record."""
    return () if snapshot is None else call.records.snapshots.removing(snapshot)


def removed(
    call: ManagementCall, snapshot: SnapshotRecord | None
) -> tuple[Callable[[], object], ...]:
    """Return what follows once a record is deleted: its files go."""
    if snapshot is None:
        return ()
    lock, machine = call.records.snapshots.lock, call.slot.machine

    def remove() -> None:
        with lock:
            machine.snapshots.remove(snapshot.number)

    return (remove,)


def _shown(snapshot: SnapshotRecord) -> Value:
    return {
        "id": snapshot.id,
        "taken_at_timestamp": snapshot.taken_ns,
        "total_size": snapshot.total_bytes,
    }


def _loadable(call: ManagementCall) -> tuple[SnapshotRecord, Slot]:
    """Return a snapshot that the caller may load, and the canister whose it is."""
    identifier = call.args.blob("snapshot_id")
    snapshot = call.records.snapshots.find(identifier)
    if snapshot is None or snapshot.canister == call.slot.canister.id:
        return found(call, identifier), call.slot
    owner = call.records.canisters.find(snapshot.canister)
    if owner is None:
        raise RejectedError(admission.not_found(snapshot.canister))
    sender = call.message.sender
    if not owner.canister.is_controlled_by(sender):
        raise reject(
            "IC0406",
            f"Only a controller of the canister that snapshot {identifier.hex()} belongs to can "
            f"load it on canister {call.slot.canister.id}. Sender: {sender}.",
        )
    return snapshot, owner


def _source(snapshot: SnapshotRecord, loaded_on: Principal) -> Value:
    """Describe a snapshot for the history of the canister that loads it."""
    return {
        "canister_version": snapshot.version,
        "snapshot_id": snapshot.id,
        "taken_at_timestamp": snapshot.taken_ns,
        "source": ("metadata_upload" if snapshot.uploaded else "taken_from_canister", None),
        "from_canister_id": None if snapshot.canister == loaded_on else snapshot.canister,
    }


def _loaded(call: ManagementCall, snapshot: SnapshotRecord, sequence: int) -> Canister:
    canister, contents = call.bill.canister, snapshot.contents
    timer_ns = snapshot.timer_ns if snapshot.uploaded else None
    loaded = replace(
        canister,
        sequence=sequence,
        version=canister.version + 1,
        certified_data=snapshot.certified_data,
        heap_bytes=contents.size_bytes(SnapshotPart.HEAP),
        stable_bytes=contents.size_bytes(SnapshotPart.STABLE),
        module_bytes=contents.module_bytes,
        chunk_bytes=chunk_store.size_bytes(call.records.database, snapshot.id),
        timer_ns=canister.timer_ns if timer_ns is None else timer_ns,
    )
    if snapshot.uploaded and snapshot.hook is not None:
        return _hooked(loaded, LowMemoryHook(snapshot.hook))
    return loaded


def _hooked(canister: Canister, hook: LowMemoryHook) -> Canister:
    """Return a canister whose hook for low memory is as a snapshot tells it.

    Raises:
        RejectedError: That cannot be, by the size of its heap.
    """
    is_low = canister.watched().low_memory_hook is not LowMemoryHook.IDLE
    if is_low is (hook is LowMemoryHook.IDLE):
        name = "".join(word.capitalize() for word in hook.value.split("_"))
        raise reject(
            "IC0408",
            f"Hook status (Some({name})) of uploaded snapshot is inconsistent with the canister's "
            f"state (hook condition satisfied: {str(is_low).lower()}).",
        )
    return replace(canister, low_memory_hook=hook)
