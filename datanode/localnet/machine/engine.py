"""Compiled modules: the engine's settings, and a cache of instrumented and compiled code on disk.

The engine runs what the IC runs: SIMD but not relaxed SIMD, 64-bit memories, bulk memory, tail
calls, canonical NaNs; no threads, garbage collection or exceptions. Memories never move, so that a
pointer into one stays good. Several memories are for the instrumenter alone: a module is validated
by an engine that refuses them.

A cache entry is named by the digest of the module as given and of everything that shapes the result
(instrumenter version, whether loads are checked, engine settings, wasmtime's version, machine).
Code for features that this processor lacks is refused by the engine, and made anew like any entry
that is unreadable.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import platform
import threading
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Final

import wasmtime

from datanode.localnet.machine import ic0, instrument, module_cache, module_limits, wasm_module
from datanode.localnet.machine.wasm_module import WasmError
from datanode.units import GIB, MIB

SETTINGS: Final = "simd bulk multi-value references tail-calls memory64 nan 6GiB static 2 map"
_RESERVATION_BYTES: Final = 6 * GIB
_STACK_BYTES: Final = 3 * MIB // 2
"""The IC allows 5 MiB; this engine puts a bound of 2 MiB on what may be asked for."""
_making: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class ModuleFacts:
    """Facts about a module that the instrumenter collects.

    Attributes:
        operators: Operators of the instrumented module, the measure of compiling it.
        per_instance: Whether it changes tables or segments: a fresh instance for each message.
        wide: Whether its memory has 64-bit addresses.
        methods: Names of exported functions.
    """

    operators: int
    per_instance: bool
    wide: bool
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """A module that is ready to be instantiated."""

    module: wasmtime.Module
    facts: ModuleFacts


def engine() -> wasmtime.Engine:
    """Return the process's engine; engines are safe to share between threads.

    Threads that ask for the first time together get the same one: modules of two engines do not
    mix, and a cache alone lets each of them make its own.
    """
    with _making:
        return _engine()


@cache
def _engine() -> wasmtime.Engine:
    return _new_engine(instrumented=True)


@cache
def _validator() -> wasmtime.Engine:
    return _new_engine(instrumented=False)


def _new_engine(*, instrumented: bool) -> wasmtime.Engine:
    config = wasmtime.Config()
    config.wasm_simd = True
    config.wasm_relaxed_simd = False
    config.wasm_bulk_memory = True
    config.wasm_multi_value = True
    config.wasm_reference_types = True
    config.wasm_tail_call = True
    config.wasm_memory64 = True
    config.wasm_multi_memory = instrumented
    config.wasm_threads = False
    config.wasm_exceptions = False
    config.wasm_gc = False
    config.wasm_function_references = False
    config.cranelift_nan_canonicalization = True
    config.cranelift_opt_level = "speed"
    config.memory_may_move = False
    config.memory_reservation = _RESERVATION_BYTES
    config.max_wasm_stack = _STACK_BYTES
    return wasmtime.Engine(config)


def compiled(given: bytes, folder: Path, *, reads: bool = True) -> Compiled:
    """Return the compiled form of a module, from the cache in `folder` if it is there.

    Args:
        given: The module.
        folder: The cache.
        reads: Whether its loads are checked for pages that are first accessed.

    Raises:
        WasmError: The module is not one that the IC would install, in the IC's words.
    """
    key = _key(given, reads=reads)
    found = module_cache.load(folder, key)
    if found is not None:
        notes, code = found
        with contextlib.suppress(ValueError, TypeError, KeyError, wasmtime.WasmtimeError):
            fields = json.loads(notes)
            facts = ModuleFacts(**{**fields, "methods": tuple(fields["methods"])})
            return Compiled(wasmtime.Module.deserialize(engine(), code), facts)
    made = _compile(given, reads=reads)
    notes = json.dumps(asdict(made.facts)).encode()
    module_cache.keep(folder, key, notes, bytes(made.module.serialize()))
    return made


def _key(given: bytes, *, reads: bool) -> str:
    shape = f"{instrument.VERSION} {reads} {SETTINGS} {importlib.metadata.version('wasmtime')} "
    shape += platform.machine()
    return hashlib.sha256(hashlib.sha256(given).digest() + shape.encode()).hexdigest()


def _compile(given: bytes, *, reads: bool) -> Compiled:
    module = wasm_module.unpack(given)
    try:
        wasmtime.Module.validate(_validator(), module)
    except wasmtime.WasmtimeError as error:
        raise WasmError(f"wasmtime::Module::validate() failed with {_first_line(error)}") from error
    sections = wasm_module.sections(module)
    parts = dict(sections)
    exports = wasm_module.exports(parts.get(wasm_module.EXPORT, b"\0"))
    ic0.check(parts, exports)
    module_limits.check(sections, exports)
    result = instrument.instrument(module, reads=reads)
    if result.unsupported:
        raise WasmError(f"Wasm module contains a function {result.unsupported}.")
    try:
        code = wasmtime.Module(engine(), result.module)
    except wasmtime.WasmtimeError as error:
        raise WasmError(f"could not compile the module: {_first_line(error)}") from error
    functions = (each for each, (kind, _) in exports.items() if kind == wasm_module.KIND_FUNCTION)
    start = (instrument.START,) if wasm_module.START in parts else ()
    facts = ModuleFacts(
        operators=result.operators,
        per_instance=result.per_instance,
        wide=wasm_module.is_memory64(parts.get(wasm_module.MEMORY)),
        methods=(*functions, *start),
    )
    return Compiled(code, facts)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())
