"""Check a module against the replica's limits, with its messages.

Sources: `rs/embedders/src/wasm_utils/validation.rs`, `rs/types/wasm_types/src/errors.rs` and
`rs/config/src/embedders.rs` of the replica, mid-2026. Input is a validated module.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from datanode.localnet.machine import wasm_module
from datanode.localnet.machine.stable import WASM_PAGE_BYTES
from datanode.localnet.machine.wasm_module import WasmError, read_name, read_unsigned
from datanode.units import MIB

MAX_FUNCTIONS: Final = 50_000
MAX_GLOBALS: Final = 1_000
MAX_CUSTOM_SECTIONS: Final = 16
MAX_CUSTOM_BYTES: Final = 1 * MIB
MAX_METHODS: Final = 1_000
MAX_METHOD_NAMES_BYTES: Final = 20_000
MAX_CODE_BYTES: Final = 10 * MIB
MAX_TABLE_ELEMENTS: Final = 1_000_000
"""Elements that a table may have: `MAX_STORE_TABLE_ELEMENTS` of the replica, mid-2026."""

METHOD_KINDS: Final = ("canister_update ", "canister_query ", "canister_composite_query ")
_METHODS_WORDS: Final = (
    "functions called `canister_update <name>`, `canister_query <name>`, or "
    "`canister_composite_query <name>` is"
)
_DATA: Final = 11
_I32_CONST, _I64_CONST, _END = 0x41, 0x42, 0x0B
_PASSIVE, _NAMES_MEMORY = 1, 2
_SIGN, _MORE = 0x40, 0x80


def check(sections: Sequence[tuple[int, bytes]], exports: Mapping[str, tuple[int, int]]) -> None:
    """Check a module against every bound.

    Args:
        sections: Section bodies with their ids, custom sections included.
        exports: Its exports: name to (kind, index).

    Raises:
        WasmError: It is above one of them.
    """
    parts = {section: body for section, body in sections if section}
    code_bytes = len(parts.get(wasm_module.CODE, b""))
    if code_bytes > MAX_CODE_BYTES:
        raise WasmError(
            f"Wasm module code section size of {code_bytes} exceeds the maximum allowed size of "
            f"{MAX_CODE_BYTES}.",
            advice="Try shrinking the module code section using tools like `ic-wasm` or splitting "
            "the logic across multiple canisters.",
            anchor="wasm-module-code-section-too-large",
        )
    _check_methods(exports)
    _check_data(parts)
    _check_count(
        parts.get(wasm_module.GLOBAL),
        "globals",
        MAX_GLOBALS,
        "Try collecting multiple globals into a single structured which can be stored on the heap.",
    )
    _check_count(
        parts.get(wasm_module.FUNCTION),
        "functions",
        MAX_FUNCTIONS,
        "Try spliting this canister into multiple canisters.",
    )
    _check_custom([body for section, body in sections if section == wasm_module.CUSTOM])


def _check_count(body: bytes | None, what: str, most: int, advice: str) -> None:
    count = 0 if body is None else read_unsigned(body, 0)[0]
    if count > most:
        raise WasmError(
            f"Wasm module defined {count} {what} which exceeds the maximum number allowed {most}.",
            advice=advice,
            anchor=f"wasm-module-too-many-{what}",
        )


def _check_methods(exports: Mapping[str, tuple[int, int]]) -> None:
    names = [
        exported.removeprefix(prefix)
        for exported, (kind, _) in exports.items()
        for prefix in METHOD_KINDS
        if kind == wasm_module.KIND_FUNCTION and exported.startswith(prefix)
    ]
    if len(names) > MAX_METHODS:
        raise WasmError(
            f"The number of exported {_METHODS_WORDS} {len(names)} which exceeds {MAX_METHODS}.",
            advice="Try combining multiple endpoints into a single endpoint.",
            anchor="wasm-module-exports-too-many-methods",
        )
    names_bytes = sum(len(name.encode()) for name in names)
    if names_bytes > MAX_METHOD_NAMES_BYTES:
        raise WasmError(
            f"The sum of `<name>` lengths in exported {_METHODS_WORDS} {names_bytes} which exceeds "
            f"the allowed limit of {MAX_METHOD_NAMES_BYTES}.",
            advice="Try using shorter method names.",
            anchor="wasm-module-sum-of-exported-name-lengths-too-large",
        )


def _check_custom(bodies: Sequence[bytes]) -> None:
    """Check the metadata sections; the replica counts no other custom section."""
    total_bytes = 0
    found: set[str] = set()
    for body in bodies:
        title, at = read_name(body, 0)
        if not title.startswith("icp:"):
            continue
        scope, space, name = title.removeprefix("icp:").partition(" ")
        if not space or scope not in ("public", "private"):
            raise _custom(f"Custom section '{title}' has no public/private scope defined.")
        if name in found:
            raise _custom(f"name {name} already exists")
        total_bytes += len(body) - at + len(name.encode())
        if total_bytes > MAX_CUSTOM_BYTES:
            raise WasmError(
                "Wasm module has an invalid custom section. Invalid custom sections: total size "
                f"of the custom sections exceeds the maximum allowed: size {total_bytes} bytes, "
                f"allowed {MAX_CUSTOM_BYTES} bytes"
            )
        found.add(name)
        if len(found) > MAX_CUSTOM_SECTIONS:
            raise WasmError(
                f"Wasm module defined {len(found)} custom sections which exceeds the maximum "
                f"number allowed {MAX_CUSTOM_SECTIONS}."
            )


def _custom(why: str) -> WasmError:
    return WasmError(f"Wasm module has an invalid custom section. Invalid custom section: {why}")


def _check_data(parts: Mapping[int, bytes]) -> None:
    """Check that every active data segment lies in the memory that the module begins with."""
    body = parts.get(_DATA, b"\0")
    memory = parts.get(wasm_module.MEMORY)
    held_bytes = 0
    if memory and memory[0]:
        held_bytes = read_unsigned(memory, 2)[0] * WASM_PAGE_BYTES
    wide = wasm_module.is_memory64(memory)
    count, at = read_unsigned(body, 0)
    for _ in range(count):
        flags, at = read_unsigned(body, at)
        offset: int | None = None
        if flags == _NAMES_MEMORY:
            _, at = read_unsigned(body, at)
        if flags != _PASSIVE:
            offset, at = _constant(body, at, wide=wide)
        length, at = read_unsigned(body, at)
        at += length
        if offset is not None and offset + length > held_bytes:
            raise WasmError(
                f"Wasm module has invalid data segment of {length} bytes at {offset}",
                what="Could not instrument wasm module of canister",
            )


def _constant(body: bytes, at: int, *, wide: bool) -> tuple[int, int]:
    """Read a constant offset, as unsigned, and the offset after its expression."""
    value = shift = 0
    position = at + 1
    while body[position] >= _MORE:
        value |= (body[position] & (_MORE - 1)) << shift
        shift += 7
        position += 1
    value |= (body[position] & (_MORE - 1)) << shift
    if body[position] & _SIGN:
        value -= 1 << (shift + 7)
    if body[at] != (_I64_CONST if wide else _I32_CONST) or body[position + 1] != _END:
        bits = 64 if wide else 32
        raise WasmError(
            "Wasm module has an invalid data section. Invalid offset expression in data segment "
            f"for {bits}bit memory"
        )
    return value % (1 << (64 if wide else 32)), position + 2
