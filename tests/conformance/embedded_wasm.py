"""Takes Wasm modules out of programs that carry them: `icp` has three canisters inside."""

from pathlib import Path

import wasmtime

from datanode.localnet.machine import wasm_module
from datanode.localnet.machine.wasm_module import MAGIC

_LAST_SECTION = 13


def with_export(program: Path, name: str) -> bytes:
    """Return the module in a program that exports a name."""
    data = program.read_bytes()
    at = data.find(MAGIC)
    while at >= 0:
        for end in reversed(_section_ends(data, at)):
            module = data[at:end]
            if name.encode() in module and _is_valid(module):
                return module
        at = data.find(MAGIC, at + 1)
    raise LookupError(f"no module in {program} exports {name}")


def _section_ends(data: bytes, start: int) -> list[int]:
    """Tell where a module may end: behind each of its sections, and of what looks like some."""
    at = start + len(MAGIC)
    ends = []
    while at < len(data) and data[at] <= _LAST_SECTION and not data.startswith(MAGIC, at):
        size, body = wasm_module.read_unsigned(data, at + 1)
        at = body + size
        ends.append(at)
    return [end for end in ends if end <= len(data)]


def _is_valid(module: bytes) -> bool:
    try:
        wasmtime.Module.validate(wasmtime.Engine(), module)
    except wasmtime.WasmtimeError:
        return False
    return True
