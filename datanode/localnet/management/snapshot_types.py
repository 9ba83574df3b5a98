"""Candid types of the management canister's methods on snapshots.

Source: `ic.did` of the interface specification 0.66.
"""

from typing import Final

from datanode.agent.candid import (
    Blob,
    Bool,
    Float32,
    Float64,
    Int32,
    Int64,
    Nat,
    Nat64,
    Null,
    Opt,
    Principal,
    Record,
    Reserved,
    Variant,
    Vec,
)
from datanode.localnet.management.interface_types import CHUNK_HASH

TAKE: Final = Record(
    {
        "canister_id": Principal,
        "replace_snapshot": Opt(Blob),
        "uninstall_code": Opt(Bool),
        "sender_canister_version": Opt(Nat64),
    }
)
SNAPSHOT: Final = Record({"id": Blob, "taken_at_timestamp": Nat64, "total_size": Nat64})
SNAPSHOTS: Final = Vec(SNAPSHOT)
ONE: Final = Record({"canister_id": Principal, "snapshot_id": Blob})
LOAD: Final = Record(
    {"canister_id": Principal, "snapshot_id": Blob, "sender_canister_version": Opt(Nat64)}
)

_GLOBAL: Final = Variant({"i32": Int32, "i64": Int64, "f32": Float32, "f64": Float64, "v128": Nat})
_TIMER: Final = Opt(Variant({"inactive": Null, "active": Nat64}))
_HOOK: Final = Opt(Variant({"condition_not_satisfied": Null, "ready": Null, "executed": Null}))

METADATA: Final = Record(
    {
        "source": Variant({"taken_from_canister": Reserved, "metadata_upload": Reserved}),
        "taken_at_timestamp": Nat64,
        "wasm_module_size": Nat64,
        "globals": Vec(_GLOBAL),
        "wasm_memory_size": Nat64,
        "stable_memory_size": Nat64,
        "wasm_chunk_store": Vec(CHUNK_HASH),
        "canister_version": Nat64,
        "certified_data": Blob,
        "global_timer": _TIMER,
        "on_low_wasm_memory_hook_status": _HOOK,
    }
)
UPLOAD_METADATA: Final = Record(
    {
        "canister_id": Principal,
        "replace_snapshot": Opt(Blob),
        "wasm_module_size": Nat64,
        "globals": Vec(_GLOBAL),
        "wasm_memory_size": Nat64,
        "stable_memory_size": Nat64,
        "certified_data": Blob,
        "global_timer": _TIMER,
        "on_low_wasm_memory_hook_status": _HOOK,
    }
)
UPLOADED: Final = Record({"snapshot_id": Blob})

_RANGE: Final = Record({"offset": Nat64, "size": Nat64})
_PLACE: Final = Record({"offset": Nat64})
READ_DATA: Final = Record(
    {
        "canister_id": Principal,
        "snapshot_id": Blob,
        "kind": Variant(
            {
                "wasm_module": _RANGE,
                "wasm_memory": _RANGE,
                "stable_memory": _RANGE,
                "wasm_chunk": CHUNK_HASH,
            }
        ),
    }
)
DATA: Final = Record({"chunk": Blob})
UPLOAD_DATA: Final = Record(
    {
        "canister_id": Principal,
        "snapshot_id": Blob,
        "kind": Variant(
            {
                "wasm_module": _PLACE,
                "wasm_memory": _PLACE,
                "stable_memory": _PLACE,
                "wasm_chunk": Null,
            }
        ),
        "chunk": Blob,
    }
)
