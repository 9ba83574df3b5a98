"""What controllers see of a canister: its status, its memory by kind, its balance and its log."""

from datanode.agent import candid
from datanode.agent.candid import Value
from datanode.localnet.management.types import CANISTER_LOGS, CANISTER_STATUS
from datanode.localnet.state import logs
from datanode.localnet.state.canister import Canister, Settings
from datanode.localnet.state.network import Network
from datanode.principal import Principal


def canister_status(network: Network, canister: Canister) -> bytes:
    """Encode the reply of `canister_status`."""
    queries = network.query_stats.of(canister.id)
    fields: dict[str, Value] = {
        "status": (canister.status.value, None),
        "ready_for_migration": False,
        "version": canister.version,
        "settings": _settings(canister.settings),
        "module_hash": canister.module_hash,
        "memory_size": canister.memory_bytes,
        "memory_metrics": {
            "wasm_memory_size": canister.heap_bytes,
            "stable_memory_size": canister.stable_bytes,
            "global_memory_size": canister.global_bytes,
            "wasm_binary_size": canister.module_bytes,
            "custom_sections_size": canister.section_bytes,
            "canister_history_size": canister.history.size_bytes,
            "wasm_chunk_store_size": canister.chunk_bytes,
            "snapshots_size": canister.snapshot_bytes,
            "log_memory_store_size": canister.log_bytes,
        },
        "cycles": canister.balance_cycles,
        "reserved_cycles": canister.reserved_cycles,
        "idle_cycles_burned_per_day": canister.idle_cycles_per_day(network.fees),
        "query_stats": {
            "num_calls_total": queries.calls,
            "num_instructions_total": queries.instructions,
            "request_payload_bytes_total": queries.request_bytes,
            "response_payload_bytes_total": queries.response_bytes,
        },
    }
    return candid.encode((CANISTER_STATUS,), (fields,))


def canister_logs(network: Network, canister: Canister) -> bytes:
    """Encode the reply of `fetch_canister_logs`."""
    records: list[Value] = [
        {"idx": number, "timestamp_nanos": time_ns, "content": text}
        for number, time_ns, text in logs.lines(network.database, canister.id)
    ]
    return candid.encode((CANISTER_LOGS,), ({"canister_log_records": records},))


def _settings(settings: Settings) -> Value:
    return {
        "controllers": list(settings.controllers),
        "compute_allocation": settings.compute_allocation,
        "memory_allocation": settings.memory_allocation_bytes,
        "freezing_threshold": settings.freezing_threshold_s,
        "reserved_cycles_limit": settings.reserved_cycles_limit,
        "log_visibility": _viewers(settings.log_viewers),
        "log_memory_limit": settings.log_memory_limit_bytes,
        "snapshot_visibility": _viewers(settings.snapshot_viewers),
        "status_visibility": _viewers(settings.status_viewers),
        "minimum_incoming_canister_call_cycles": settings.minimum_call_cycles,
        "wasm_memory_limit": settings.wasm_memory_limit_bytes,
        "wasm_memory_threshold": settings.wasm_memory_threshold_bytes,
        "environment_variables": [
            {"name": name, "value": value} for name, value in settings.environment
        ],
    }


def _viewers(text: str) -> Value:
    case, *allowed = text.split()
    return (case, [Principal.parse(each) for each in allowed] if allowed else None)
