"""Puts the IC's instruction counter into a module.

The result differs from the module in this, and behaves like it otherwise:

* an exported mutable i64 global holds the instructions that are left. Every basic block takes the
  price of its operators from it when it is entered; functions and loops then look whether it is
  below zero and stop with `unreachable`. That is where the IC looks, so both stop at the same
  operator.
* before a bulk operation a helper takes its size operand from the counter.
* accesses of the heap are checked against a map of pages: see `page_checks`.
* in front of each imported system call stands a function that takes the call's price.
* `memory.grow` is a call of a function that grows the memory and asks the host, by a function in a
  table of its own, whether the canister may hold it; if not it stops with `unreachable`.
* every mutable global is exported, so that it can be saved and restored, and so are the memory and
  the table that callbacks are in.
* the start section becomes an export: it runs once, at installation, and is paid for.
* custom sections are gone.

Input is a module that the engine has validated: the code is walked without checking it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from datanode.localnet.machine import page_checks, wasm_module
from datanode.localnet.machine.code_meter import CodeMeter
from datanode.localnet.machine.operators import after
from datanode.localnet.machine.page_checks import PageChecks
from datanode.localnet.machine.redirect import redirect
from datanode.localnet.machine.wasm_module import WasmError, name, read_unsigned, signed, unsigned

VERSION: Final = 7
"""Part of the cache key: raise it when the output changes."""

COUNTER: Final = "canister counter_instructions"
MEMORY: Final = "datanode memory"
TABLE: Final = "datanode table"
GROWTH: Final = "datanode growth"
START: Final = "canister_start"
PAGES: Final = "datanode pages"
ACCESS_PRICE: Final = "datanode access price"
WRITE_PRICE: Final = "datanode write price"
SLICE_LIMIT: Final = "datanode slice limit"
OVERRUN: Final = "datanode overrun"
GLOBAL_PREFIX: Final = "datanode global "
_METERS: Final = (COUNTER, ACCESS_PRICE, WRITE_PRICE, SLICE_LIMIT, OVERRUN)
RESERVED: Final = (*_METERS, MEMORY, TABLE, GROWTH, START, PAGES)

_I64: Final = 0x7E
_MUTABLE: Final = 1
_END: Final = 0x0B
_TYPES: Final = (
    b"\x60\x01\x7e\x01\x7e",  # i64 -> i64: takes a price, or grows a 64-bit memory
    b"\x60\x01\x7f\x01\x7f",  # i32 -> i32: grows a 32-bit memory
    b"\x60\x02\x7e\x7e\x01\x7f",  # i64 i64 -> i32: asks whether it may
    b"\x60\x03\x7e\x7e\x7e\x01\x7f",  # i64 i64 i64 -> i32: marks pages
    b"\x60\x02\x7e\x7e\0",  # i64 i64 -> : checks what a bulk operation has used
)
_MAP: Final = b"\x01" + 2 * bytes([page_checks.MAP_PAGES])
_ONE_FUNCTION: Final = b"\x70\x01\x01\x01"


@dataclass(frozen=True, slots=True)
class Instrumented:
    """A module with a counter.

    Attributes:
        module: The new module's bytes.
        operators: Its operator count, which the IC charges for at installation.
        per_instance: Whether it changes tables or segments, which do not outlive a message.
        unsupported: Where it has an operator that the IC does not allow, in the IC's words.
    """

    module: bytes
    operators: int
    per_instance: bool
    unsupported: str


def instrument(module: bytes, *, reads: bool) -> Instrumented:
    """Put the counter into a validated module.

    Args:
        module: The module.
        reads: Whether loads are checked, or stores only.

    Raises:
        WasmError: The module uses what cannot be metered or persisted.
    """
    parts = {section: body for section, body in wasm_module.sections(module) if section}
    imported = wasm_module.imports(parts.get(wasm_module.IMPORT, b"\0"))
    exported = wasm_module.exports(parts.get(wasm_module.EXPORT, b"\0"))
    for reserved in exported:
        if reserved in RESERVED or reserved.startswith(GLOBAL_PREFIX):
            raise WasmError(f"the module exports the reserved symbol '{reserved}'")
    wide = wasm_module.is_memory64(parts.get(wasm_module.MEMORY))
    has_memory = parts.get(wasm_module.MEMORY, b"\0")[0] > 0
    additions = []

    mutable, counter = _add_counter(parts)
    types, at = read_unsigned(parts.get(wasm_module.TYPE, b"\0"), 0)
    parts[wasm_module.TYPE] = b"".join(
        [unsigned(types + len(_TYPES)), parts.get(wasm_module.TYPE, b"\0")[at:], *_TYPES]
    )
    defined, at = read_unsigned(parts.get(wasm_module.FUNCTION, b"\0"), 0)
    charge = len(imported) + defined
    stand_ins = {index: charge + 1 + index for index in range(len(imported))}
    grow = charge + 1 + len(imported)
    marks = [unsigned(types + 3)] * 2 + [unsigned(types + 4)] if has_memory else []
    types_of = _function_types(parts, imported)
    parts[wasm_module.FUNCTION] = b"".join(
        [
            unsigned(defined + 2 + len(imported) + len(marks)),
            parts.get(wasm_module.FUNCTION, b"\0")[at:],
            unsigned(types),
            *(unsigned(each.type_index) for each in imported),
            unsigned(types if wide or not has_memory else types + 1),
            *marks,
        ]
    )
    checks = PageChecks(
        counter=counter,
        access_price=counter + 1,
        write_price=counter + 2,
        slice_limit=counter + 3,
        overrun=counter + 4,
        on_access=grow + 1,
        on_write=grow + 2,
        on_bulk=grow + 3,
        wide=wide,
        reads=reads,
    )
    if has_memory:
        parts[wasm_module.MEMORY] = b"\x02" + parts[wasm_module.MEMORY][1:] + _MAP
    redirect(parts, stand_ins)
    tables, at = read_unsigned(parts.get(wasm_module.TABLE, b"\0"), 0)
    parts[wasm_module.TABLE] = b"".join(
        [unsigned(tables + 1), parts.get(wasm_module.TABLE, b"\0")[at:], _ONE_FUNCTION]
    )
    asking = b"\x41\0\x11" + unsigned(types + 2) + unsigned(tables)  # i32.const call_indirect
    meter = CodeMeter(
        charge=charge,
        stand_ins=stand_ins,
        grow=grow,
        asking=asking,
        checks=checks,
        types=types_of,
        has_memory=has_memory,
    )
    parts[wasm_module.CODE] = meter.code(
        parts.get(wasm_module.CODE, b"\0"), [each.name for each in imported]
    )

    additions += [
        name(meter_name) + bytes([wasm_module.KIND_GLOBAL]) + unsigned(counter + index)
        for index, meter_name in enumerate(_METERS)
    ]
    additions += [
        name(f"{GLOBAL_PREFIX}{index}") + bytes([wasm_module.KIND_GLOBAL]) + unsigned(index)
        for index in mutable
    ]
    if has_memory:
        additions.append(name(MEMORY) + bytes([wasm_module.KIND_MEMORY]) + b"\0")
        additions.append(name(PAGES) + bytes([wasm_module.KIND_MEMORY]) + b"\x01")
    additions.append(name(GROWTH) + bytes([wasm_module.KIND_TABLE]) + unsigned(tables))
    if tables:
        additions.append(name(TABLE) + bytes([wasm_module.KIND_TABLE]) + b"\0")
    start = parts.pop(wasm_module.START, None)
    if start is not None:
        index = read_unsigned(start, 0)[0]
        index = stand_ins.get(index, index)
        additions.append(name(START) + bytes([wasm_module.KIND_FUNCTION]) + unsigned(index))
    count, at = read_unsigned(parts.get(wasm_module.EXPORT, b"\0"), 0)
    parts[wasm_module.EXPORT] = b"".join(
        [
            unsigned(count + len(additions)),
            parts.get(wasm_module.EXPORT, b"\0")[at:],
            *additions,
        ]
    )
    return Instrumented(
        module=wasm_module.join(parts),
        operators=meter.operators + 2 * (counter + 1),
        per_instance=meter.per_instance,
        unsupported=meter.unsupported,
    )


def _add_counter(parts: dict[int, bytes]) -> tuple[list[int], int]:
    """Append the meters to the globals; return the mutable ones' indices and the counter's."""
    body = parts.get(wasm_module.GLOBAL, b"\0")
    count, first = read_unsigned(body, 0)
    at = first
    mutable = []
    for index in range(count):
        value_type, is_mutable = body[at], body[at + 1]
        if is_mutable:
            if wasm_module.is_reference(value_type):
                raise WasmError("the module has a mutable global that holds a reference")
            mutable.append(index)
        at += 2
        while body[at] != _END:
            at = after(body, at)[0]
        at += 1
    parts[wasm_module.GLOBAL] = (
        unsigned(count + len(_METERS))
        + body[first:]
        + b"".join(
            bytes([_I64, _MUTABLE, 0x42]) + signed(-1 if meter == SLICE_LIMIT else 0) + b"\x0b"
            for meter in _METERS
        )
    )
    return mutable, count


def _function_types(
    parts: Mapping[int, bytes], imported: Sequence[wasm_module.Import]
) -> dict[int, tuple[int, int]]:
    """Count parameters and results: of functions by index, of types by their complement."""
    types = wasm_module.signatures(parts.get(wasm_module.TYPE, b"\0"))
    counts = {~at: (len(each.params), len(each.results)) for at, each in enumerate(types)}
    body = parts.get(wasm_module.FUNCTION, b"\0")
    count, at = read_unsigned(body, 0)
    indices = [each.type_index for each in imported]
    for _ in range(count):
        index, at = read_unsigned(body, at)
        indices.append(index)
    return counts | {at: counts[~index] for at, index in enumerate(indices)}
