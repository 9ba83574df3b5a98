"""Wasm chunks that wait to be installed: at most a hundred of 1 MiB for each canister."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, cast

from datanode.agent import candid
from datanode.localnet.execution import admission
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management import growth_payment
from datanode.localnet.management.call import ManagementCall, reject
from datanode.localnet.management.interface_types import CHUNK_HASH, STORED_CHUNKS
from datanode.localnet.state.message import RejectedError
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.principal import Principal
from datanode.units import MIB

MAX_CHUNK_BYTES: Final = MIB
MAX_CHUNKS: Final = 100
UPLOAD_INSTRUCTIONS: Final = 200_000_000
"""Bounds and price of the chunk store. Source: IC resource limits, 2026-05."""


def upload(call: ManagementCall) -> Effect:
    """Handle `upload_chunk`."""
    database, canister = call.records.database, call.slot.canister.id
    data = call.args.blob("chunk")
    upload_cycles = call.runtime.fees.instruction_cycles(UPLOAD_INSTRUCTIONS)
    missing = call.bill.missing(upload_cycles)
    if missing:
        why = admission.out_of_cycles(call.slot.canister, missing, call.message.sender).message
        raise failed(f"Error charging for 'upload_chunk': {why}")
    call.bill.take("instructions", upload_cycles)
    hashed = digest(data)
    known = hashes(database, canister.raw)
    if hashed not in known:
        check_new(data, known)
        call.runtime.disk.check(len(data))
        grown = replace(call.bill.canister, chunk_bytes=MIB * (len(known) + 1))
        growth_payment.pay(call, grown)

    effect = call.done(candid.encode((CHUNK_HASH,), ({"hash": hashed},)))
    return Effect(
        answer=effect.answer,
        bill=effect.bill,
        instructions=UPLOAD_INSTRUCTIONS,
        writes=(lambda: put(database, canister.raw, data),),
    )


def stored(call: ManagementCall) -> Effect:
    """Handle `stored_chunks`."""
    owner = call.slot.canister.id.raw
    found = [{"hash": digest} for digest in hashes(call.records.database, owner)]
    return call.done(candid.encode((STORED_CHUNKS,), (found,)))


def clear(call: ManagementCall) -> Effect:
    """Handle `clear_chunk_store`."""
    call.bill.canister = replace(call.bill.canister, chunk_bytes=0)
    effect = call.done()
    writes = (clearing(call.records.database, call.slot.canister.id),)
    return Effect(answer=effect.answer, bill=effect.bill, writes=writes)


def clearing(database: NetworkDatabase, canister: Principal) -> Callable[[], object]:
    """Return the write that empties a canister's chunk store."""
    return lambda: database.write("DELETE FROM chunks WHERE canister = ?", (canister.raw,))


def check_new(data: bytes, known: Sequence[bytes]) -> None:
    """Check that a store takes one more chunk.

    Raises:
        RejectedError: The chunk is too large, or the store is full.
    """
    if len(data) > MAX_CHUNK_BYTES:
        raise failed(
            f"Wasm chunk size {len(data)} exceeds the maximum chunk size of {MAX_CHUNK_BYTES}"
        )
    if len(known) >= MAX_CHUNKS:
        raise failed(
            f"Wasm chunk store has already reached maximum capacity of {MAX_CHUNKS * MIB} bytes "
            f"or the maximum number of entries, {MAX_CHUNKS}"
        )


def failed(why: str) -> RejectedError:
    """Word an error of a chunk store."""
    return reject("IC0504", f"Error from Wasm chunk store: {why}.")


def digest(chunk: bytes) -> bytes:
    """Return the hash that names a chunk."""
    return hashlib.sha256(chunk).digest()


def put(database: NetworkDatabase, owner: bytes, chunk: bytes) -> None:
    """Add a chunk to a store, as part of a transaction; one that is there stays."""
    key = (owner, digest(chunk))
    database.write("INSERT OR IGNORE INTO chunks VALUES (?,?,?)", (*key, chunk))


def get(database: NetworkDatabase, owner: bytes, hashed: bytes) -> bytes | None:
    """Read a chunk of a store."""
    row = database.row("SELECT data FROM chunks WHERE canister = ? AND hash = ?", (owner, hashed))
    return None if row is None else cast("bytes", row[0])


def copy(database: NetworkDatabase, source: bytes, target: bytes) -> None:
    """Copy a chunk store, as part of a transaction; canisters and snapshots have one each."""
    database.write(
        "INSERT INTO chunks SELECT ?, hash, data FROM chunks WHERE canister = ?", (target, source)
    )


def size_bytes(database: NetworkDatabase, owner: bytes) -> int:
    """Return what the IC counts for a chunk store: a whole mebibyte for each chunk."""
    return MIB * len(hashes(database, owner))


def assemble(database: NetworkDatabase, store: Principal, wanted: list[bytes]) -> bytes:
    """Put a module together from its chunks.

    Raises:
        RejectedError: A chunk is not in the store, or they are more than a module can be.
    """
    parts = []
    left_bytes = MAX_CHUNKS * MAX_CHUNK_BYTES
    for hashed in wanted:
        data = get(database, store.raw, hashed)
        if data is None:
            raise reject("IC0408", f"Chunk {hashed.hex()} was not found on canister {store}")
        left_bytes -= len(data)
        if left_bytes < 0:
            most_bytes = MAX_CHUNKS * MAX_CHUNK_BYTES
            raise reject("IC0505", f"The chunks make up more than {most_bytes} bytes")
        parts.append(data)
    return b"".join(parts)


def hashes(database: NetworkDatabase, owner: bytes) -> list[bytes]:
    """Return the hashes of the chunks that a canister or a snapshot has."""
    rows = database.rows("SELECT hash FROM chunks WHERE canister = ? ORDER BY hash", (owner,))
    return [cast("bytes", row[0]) for row in rows]
