"""Candid types of the management canister's methods that the embedded network has.

Source: `ic.did` of the interface specification 0.66.
"""

from typing import Final

from datanode.agent.candid import (
    Blob,
    Bool,
    Nat,
    Nat64,
    Null,
    Opt,
    Principal,
    Record,
    Text,
    Variant,
    Vec,
)

_VIEWERS: Final = Variant({"controllers": Null, "public": Null, "allowed_viewers": Vec(Principal)})
_VARIABLE: Final = Record({"name": Text, "value": Text})

SETTINGS: Final = Record(
    {
        "controllers": Opt(Vec(Principal)),
        "compute_allocation": Opt(Nat),
        "memory_allocation": Opt(Nat),
        "freezing_threshold": Opt(Nat),
        "reserved_cycles_limit": Opt(Nat),
        "log_visibility": Opt(_VIEWERS),
        "log_memory_limit": Opt(Nat),
        "snapshot_visibility": Opt(_VIEWERS),
        "status_visibility": Opt(_VIEWERS),
        "minimum_incoming_canister_call_cycles": Opt(Nat),
        "wasm_memory_limit": Opt(Nat),
        "wasm_memory_threshold": Opt(Nat),
        "environment_variables": Opt(Vec(_VARIABLE)),
    }
)

DEFINITE_SETTINGS: Final = Record(
    {
        "controllers": Vec(Principal),
        "compute_allocation": Nat,
        "memory_allocation": Nat,
        "freezing_threshold": Nat,
        "reserved_cycles_limit": Nat,
        "log_visibility": _VIEWERS,
        "log_memory_limit": Nat,
        "snapshot_visibility": _VIEWERS,
        "status_visibility": _VIEWERS,
        "minimum_incoming_canister_call_cycles": Nat,
        "wasm_memory_limit": Nat,
        "wasm_memory_threshold": Nat,
        "environment_variables": Vec(_VARIABLE),
    }
)

CANISTER: Final = Record({"canister_id": Principal})

PROVISIONAL_CREATE: Final = Record(
    {
        "amount": Opt(Nat),
        "settings": Opt(SETTINGS),
        "specified_id": Opt(Principal),
        "sender_canister_version": Opt(Nat64),
    }
)

TOP_UP: Final = Record({"canister_id": Principal, "amount": Nat})

UPDATE_SETTINGS: Final = Record(
    {
        "canister_id": Principal,
        "settings": SETTINGS,
        "sender_canister_version": Opt(Nat64),
    }
)

UNINSTALL: Final = Record({"canister_id": Principal, "sender_canister_version": Opt(Nat64)})

_UPGRADE: Final = Opt(
    Record(
        {
            "skip_pre_upgrade": Opt(Bool),
            "wasm_memory_persistence": Opt(Variant({"keep": Null, "replace": Null})),
        }
    )
)
MODE: Final = Variant({"install": Null, "reinstall": Null, "upgrade": _UPGRADE})

INSTALL: Final = Record(
    {
        "mode": MODE,
        "canister_id": Principal,
        "wasm_module": Blob,
        "arg": Blob,
        "sender_canister_version": Opt(Nat64),
    }
)

CHUNK_HASH: Final = Record({"hash": Blob})

INSTALL_CHUNKED: Final = Record(
    {
        "mode": MODE,
        "target_canister": Principal,
        "store_canister": Opt(Principal),
        "chunk_hashes_list": Vec(CHUNK_HASH),
        "wasm_module_hash": Blob,
        "arg": Blob,
        "sender_canister_version": Opt(Nat64),
    }
)

UPLOAD_CHUNK: Final = Record({"canister_id": Principal, "chunk": Blob})
STORED_CHUNKS: Final = Vec(CHUNK_HASH)

_STATUS: Final = Variant({"running": Null, "stopping": Null, "stopped": Null})

CANISTER_STATUS: Final = Record(
    {
        "status": _STATUS,
        "ready_for_migration": Bool,
        "version": Nat64,
        "settings": DEFINITE_SETTINGS,
        "module_hash": Opt(Blob),
        "memory_size": Nat,
        "memory_metrics": Record(
            {
                "wasm_memory_size": Nat,
                "stable_memory_size": Nat,
                "global_memory_size": Nat,
                "wasm_binary_size": Nat,
                "custom_sections_size": Nat,
                "canister_history_size": Nat,
                "wasm_chunk_store_size": Nat,
                "snapshots_size": Nat,
                "log_memory_store_size": Nat,
            }
        ),
        "cycles": Nat,
        "reserved_cycles": Nat,
        "idle_cycles_burned_per_day": Nat,
        "query_stats": Record(
            {
                "num_calls_total": Nat,
                "num_instructions_total": Nat,
                "request_payload_bytes_total": Nat,
                "response_payload_bytes_total": Nat,
            }
        ),
    }
)

CANISTER_LOGS: Final = Record(
    {"canister_log_records": Vec(Record({"idx": Nat64, "timestamp_nanos": Nat64, "content": Blob}))}
)
