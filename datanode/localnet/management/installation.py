"""Installs, upgrades and removes code, in one piece or from chunks."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from datanode.agent.candid import Value
from datanode.localnet.execution import admission, call_effects, uninstalling, update
from datanode.localnet.execution.canister_stopping import EMPTY_REPLY
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine import prices, wasm_module
from datanode.localnet.machine.execution import Execution
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.management import chunk_store, growth_payment
from datanode.localnet.management.call import ManagementCall, reject
from datanode.localnet.state.message import IngressReply, RejectedError
from datanode.units import MIB

MAX_MODULE_BYTES: Final = 100 * MIB
"""Largest module, bytes. Source: IC resource limits, 2026-05."""


def install(call: ManagementCall) -> Effect:
    """Handle `install_code`."""
    return _install(call, call.args.blob("wasm_module"))


def install_chunked(call: ManagementCall) -> Effect:
    """Handle `install_chunked_code`."""
    target = call.slot.canister.id
    store = call.args.optional_principal("store_canister") or target
    if store != target:
        holder = call.records.canisters.find(store)
        if holder is None:
            raise RejectedError(admission.not_found(store))
        if not holder.canister.is_controlled_by(call.message.sender):
            raise RejectedError(admission.not_controller(store, call.message.method))
    hashes = [each.blob("hash") for each in call.args.records("chunk_hashes_list")]
    wasm = chunk_store.assemble(call.records.database, store, hashes)
    if hashlib.sha256(wasm).digest() != call.args.blob("wasm_module_hash"):
        raise reject("IC0505", "The chunks do not make up a module of the hash that was given")
    return _install(call, wasm)


def uninstall(call: ManagementCall) -> Effect:
    """Handle `uninstall_code`: code, heap, stable memory and chunks go."""
    sequence = call.slot.canister.sequence + 1
    call.slot.machine.uninstall(sequence=sequence)
    emptied = call.bill.canister.without_code(sequence)
    call.bill.canister = emptied.changed(call.cause, "code_uninstall", None)
    clearing = chunk_store.clearing(call.records.database, call.slot.canister.id)
    left = uninstalling.abandon(call.traffic, call.slot.canister.id)
    return left.joined(replace(call.done(), writes=(clearing,)))


def _install(call: ManagementCall, wasm: bytes) -> Effect:
    canister = call.slot.canister
    mode, options = call.args.variant("mode")
    limit, wasm64 = prices.INSTRUCTION_LIMIT_INSTALL, wasm_module.has_wide_memory(wasm)
    prepaid_cycles = call.runtime.fees.execution_cycles(limit, wasm64=wasm64)
    missing = call.bill.missing(prepaid_cycles)
    if missing:
        why = admission.out_of_cycles(canister, missing, call.message.sender).message
        raise reject("IC0207", f"Canister installation failed with `{why}`.")
    left_cycles = call.bill.canister.balance_cycles - prepaid_cycles
    call.bill.take("execution", call.runtime.fees.used_cycles(0, limit, wasm64=wasm64))
    _check(call, mode, wasm)
    call.runtime.disk.check(2 * len(wasm))
    sequence = canister.sequence + 1
    execution = _execute(call, options, wasm, sequence=sequence, prepaid_cycles=prepaid_cycles)
    # A timer belongs to the code that set it.
    timer_ns = 0 if execution.reject is None else canister.timer_ns
    call.bill.canister = replace(call.bill.canister, timer_ns=timer_ns)
    call_effects.pay(call.bill, execution)
    update.charge(call.bill, execution, call.runtime.fees, limit=limit, wasm64=wasm64)
    call.bill.canister = replace(call.bill.canister, sequence=sequence)
    answer = IngressReply(reject=execution.reject)
    if execution.reject is None:
        try:
            _keep(call, execution, wasm, left_cycles)
            answer = IngressReply(reply=EMPTY_REPLY)
        except RejectedError as rejected:
            call.slot.machine.rollback()
            answer = IngressReply(reject=rejected.reject)
    return Effect(
        answer=answer,
        bill=call.bill,
        instructions=execution.instructions,
        logs=execution.logs,
        done=() if answer.reject is not None else (partial(_note_compiled, call),),
    )


def _note_compiled(call: ManagementCall) -> None:
    module_hash = call.bill.canister.module_hash
    if module_hash is not None:
        call.runtime.compiled_modules.add(module_hash)


def _keep(call: ManagementCall, execution: Execution, wasm: bytes, left_cycles: int) -> None:
    """Put what was installed into the bill, if the canister may hold it and can pay for it."""
    machine, before = call.slot.machine, call.bill.canister
    limit_bytes = before.settings.wasm_memory_limit_bytes
    if limit_bytes and machine.heap_bytes > limit_bytes:
        too_large = Failure.heap_limit(machine.heap_bytes, limit_bytes)
        raise RejectedError(too_large.reject(before.id.raw))
    mode, _ = call.args.variant("mode")
    installed = replace(
        before,
        version=before.version + 1,
        module_hash=machine.module_hash,
        module_bytes=len(wasm),
        heap_bytes=machine.heap_bytes,
        stable_bytes=machine.stable_bytes,
        global_bytes=machine.globals_bytes,
        section_bytes=machine.sections_bytes,
        log_bytes=0 if mode == "reinstall" else before.log_bytes,
    )
    if mode != "upgrade" and execution.certified_data is None:
        installed = replace(installed, certified_data=b"")
    details: dict[str, Value] = {"mode": (mode, None), "module_hash": installed.module_hash}
    installed = installed.changed(call.cause, "code_deployment", details)
    more_bytes = installed.memory_bytes - before.memory_bytes
    reserved_cycles = growth_payment.reserved(call, more_bytes, left_cycles, is_checked=True)
    call.bill.canister = installed
    call.bill.reserve(reserved_cycles)


def _check(call: ManagementCall, mode: str, wasm: bytes) -> None:
    canister = call.slot.canister
    if len(wasm) > MAX_MODULE_BYTES:
        raise reject("IC0505", f"A module has at most {MAX_MODULE_BYTES} bytes")
    if mode == "install" and canister.module_hash is not None:
        raise reject(
            "IC0514",
            f"Canister {canister.id} cannot be installed because the canister is not empty. "
            "Try installing with mode='reinstall' instead.",
        )


def _execute(
    call: ManagementCall, options: Value, wasm: bytes, *, sequence: int, prepaid_cycles: int
) -> Execution:
    machine, arg = call.slot.machine, call.args.blob("arg")
    mode, _ = call.args.variant("mode")
    env = call.runtime.environment(
        call.bill.canister, call.message.sender, prepaid_cycles=prepaid_cycles
    )
    if mode != "upgrade":
        return machine.install(
            wasm, arg, env, sequence=sequence, compiled=call.runtime.compiled_modules
        )
    chosen = options if isinstance(options, Mapping) else {}
    return machine.upgrade(
        wasm,
        arg,
        env,
        sequence=sequence,
        skip_pre_upgrade=chosen.get("skip_pre_upgrade") is True,
        keep_heap=_keeps_heap(call, chosen.get("wasm_memory_persistence"), wasm),
        compiled=call.runtime.compiled_modules,
    )


def _keeps_heap(call: ManagementCall, persistence: Value, wasm: bytes) -> bool:
    """Whether an upgrade keeps the heap, as modules of Motoko ask for it by a custom section."""
    if persistence is None and call.slot.machine.metadata(wasm_module.PERSISTENT) is not None:
        raise reject(
            "IC0504",
            "Missing upgrade option: Enhanced orthogonal persistence requires the "
            "`wasm_memory_persistence` upgrade option.",
        )
    if persistence != ("keep", None):
        return False
    if wasm_module.keeps_heap(wasm) is False:
        raise reject(
            "IC0504",
            "Invalid upgrade option: The `wasm_memory_persistence: opt Keep` upgrade option "
            "requires that the new canister module supports enhanced orthogonal persistence.",
        )
    return True
