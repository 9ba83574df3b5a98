"""Canister status and logs: state, memory by kind, balance, log lines."""

from dataclasses import replace
from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Value
from datanode.fees import FeeSchedule
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management.call import ManagementCall, reject
from datanode.localnet.management.interface_types import CANISTER_LOGS, CANISTER_STATUS
from datanode.localnet.state import logs
from datanode.localnet.state.canister_record import Canister, CanisterSettings
from datanode.localnet.state.message import IngressReply
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.localnet.state.query_stats import QueryStats
from datanode.principal import Principal

MAX_LOGS_REPLY_BYTES: Final = 2_000_000
"""The reply that a canister's `fetch_canister_logs` is paid for in advance. Source: replica code,
MAX_FETCH_CANISTER_LOGS_RESPONSE_BYTES, 2026-07."""


def canister_status(fees: FeeSchedule, query_stats: QueryStats, canister: Canister) -> bytes:
    """Encode the reply of `canister_status`."""
    queries = query_stats.of(canister.id)
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
        "idle_cycles_burned_per_day": canister.idle_cycles_per_day(fees),
        "query_stats": {
            "num_calls_total": queries.calls,
            "num_instructions_total": queries.instructions,
            "request_payload_bytes_total": queries.request_bytes,
            "response_payload_bytes_total": queries.response_bytes,
        },
    }
    return candid.encode((CANISTER_STATUS,), (fields,))


def canister_logs(database: NetworkDatabase, canister: Canister) -> bytes:
    """Encode the reply of `fetch_canister_logs`."""
    records: list[Value] = [
        {"idx": number, "timestamp_nanos": time_ns, "content": text}
        for number, time_ns, text in logs.lines(database, canister.id)
    ]
    return candid.encode((CANISTER_LOGS,), ({"canister_log_records": records},))


def fetch_logs(call: ManagementCall) -> Effect:
    """Handle `fetch_canister_logs` of a canister: its call's cycles pay by the reply's bytes."""
    fees, sent_cycles = call.runtime.fees, call.message.cycles
    most_cycles = fees.log_fetch_cycles(MAX_LOGS_REPLY_BYTES)
    if sent_cycles < most_cycles:
        raise reject(
            "IC0406",
            f"fetch_canister_logs request sent with {sent_cycles} cycles, but {most_cycles} cycles "
            "are required.",
        )
    reply = canister_logs(call.records.database, call.bill.canister)
    cost_cycles = fees.log_fetch_cycles(len(reply))
    call.bill.receive("accepted", cost_cycles)
    call.bill.take("log_fetch", cost_cycles)
    return replace(call.done(), answer=IngressReply(reply=reply), kept_cycles=cost_cycles)


def _settings(settings: CanisterSettings) -> Value:
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
