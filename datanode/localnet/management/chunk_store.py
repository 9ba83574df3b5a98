"""Wasm chunks that wait to be installed: at most a hundred of 1 MiB for each canister."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Final, cast

from datanode.agent import candid
from datanode.localnet.execution import admission
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management.call import Call, reject
from datanode.localnet.management.types import CHUNK_HASH, STORED_CHUNKS
from datanode.localnet.state.network import Network
from datanode.principal import Principal
from datanode.units import MIB

MAX_CHUNK_BYTES: Final = MIB
MAX_CHUNKS: Final = 100
UPLOAD_INSTRUCTIONS: Final = 200_000_000
"""Bounds and price of the chunk store. Source: IC resource limits, 2026-05."""


def upload(call: Call) -> Effect:
    """Handle `upload_chunk`."""
    database, canister = call.network.database, call.slot.canister.id
    data = call.args.blob("chunk")
    upload_cycles = call.network.fees.instruction_cycles(UPLOAD_INSTRUCTIONS)
    missing = call.bill.missing(upload_cycles)
    if missing:
        why = admission.out_of_cycles(call.slot.canister, missing, call.message.sender).message
        raise reject(
            "IC0504", f"Error from Wasm chunk store: Error charging for 'upload_chunk': {why}."
        )
    call.bill.take("instructions", upload_cycles)
    if len(data) > MAX_CHUNK_BYTES:
        raise reject("IC0408", f"A chunk has at most {MAX_CHUNK_BYTES} bytes, not {len(data)}")
    digest = hashlib.sha256(data).digest()
    known = _hashes(call.network, canister)
    if digest not in known and len(known) >= MAX_CHUNKS:
        raise reject("IC0408", f"The chunk store holds at most {MAX_CHUNKS} chunks")
    call.network.check_disk(len(data))
    call.bill.canister = replace(call.bill.canister, chunk_bytes=MIB * len({*known, digest}))

    def write() -> None:
        database.write("INSERT OR IGNORE INTO chunks VALUES (?,?,?)", (canister.raw, digest, data))

    effect = call.done(candid.encode((CHUNK_HASH,), ({"hash": digest},)))
    return Effect(
        answer=effect.answer, bill=effect.bill, instructions=UPLOAD_INSTRUCTIONS, writes=(write,)
    )


def stored(call: Call) -> Effect:
    """Handle `stored_chunks`."""
    hashes = [{"hash": digest} for digest in _hashes(call.network, call.slot.canister.id)]
    return call.done(candid.encode((STORED_CHUNKS,), (hashes,)))


def clear(call: Call) -> Effect:
    """Handle `clear_chunk_store`."""
    call.bill.canister = replace(call.bill.canister, chunk_bytes=0)
    effect = call.done()
    writes = (clearing(call.network, call.slot.canister.id),)
    return Effect(answer=effect.answer, bill=effect.bill, writes=writes)


def clearing(network: Network, canister: Principal) -> Callable[[], object]:
    """Return the write that empties a canister's chunk store."""
    return lambda: network.database.write("DELETE FROM chunks WHERE canister = ?", (canister.raw,))


def assemble(network: Network, store: Principal, hashes: list[bytes]) -> bytes:
    """Put a module together from its chunks.

    Raises:
        RejectedError: A chunk is not in the store.
    """
    parts = []
    for digest in hashes:
        row = network.database.row(
            "SELECT data FROM chunks WHERE canister = ? AND hash = ?", (store.raw, digest)
        )
        if row is None:
            raise reject("IC0408", f"Chunk {digest.hex()} was not found on canister {store}")
        parts.append(cast("bytes", row[0]))
    return b"".join(parts)


def _hashes(network: Network, canister: Principal) -> list[bytes]:
    rows = network.database.rows(
        "SELECT hash FROM chunks WHERE canister = ? ORDER BY hash", (canister.raw,)
    )
    return [cast("bytes", row[0]) for row in rows]
