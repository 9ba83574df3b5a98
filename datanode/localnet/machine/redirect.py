"""Redirect references to imported functions, outside the code, to their stand-ins.

Element segments, exports and initial values of globals name functions by index. The instrumenter
puts a function that pays in front of each imported one; after this, nothing reaches the imported
one around it. Input is a validated module.
"""

from collections.abc import Mapping
from typing import Final

from datanode.localnet.machine import wasm_module
from datanode.localnet.machine.wasm_module import name, read_name, read_unsigned, unsigned

ELEMENT: Final = 9
_REF_FUNC: Final = 0xD2
_END: Final = 0x0B
_NOT_ACTIVE, _HAS_TABLE_OR_DECLARED, _EXPRESSIONS = 1, 2, 4
_CONSTANT_BYTES: Final = {0x43: 4, 0x44: 8}
_SIMD_PREFIX: Final = 0xFD


def redirect(parts: dict[int, bytes], stand_ins: Mapping[int, int]) -> None:
    """Rewrite the sections in place."""
    if stand_ins:
        for section, rewrite in (
            (ELEMENT, _elements),
            (wasm_module.EXPORT, _exports),
            (wasm_module.GLOBAL, _globals),
        ):
            if section in parts:
                parts[section] = rewrite(parts[section], stand_ins)


def _exports(body: bytes, stand_ins: Mapping[int, int]) -> bytes:
    count, at = read_unsigned(body, 0)
    out = [unsigned(count)]
    for _ in range(count):
        field, at = read_name(body, at)
        kind, at = read_unsigned(body, at)
        index, at = read_unsigned(body, at)
        if kind == wasm_module.KIND_FUNCTION:
            index = stand_ins.get(index, index)
        out += [name(field), unsigned(kind), unsigned(index)]
    return b"".join(out)


def _globals(body: bytes, stand_ins: Mapping[int, int]) -> bytes:
    count, at = read_unsigned(body, 0)
    out = [unsigned(count)]
    for _ in range(count):
        out.append(body[at : at + 2])
        expression, at = _expression(body, at + 2, stand_ins)
        out.append(expression)
    return b"".join(out)


def _elements(body: bytes, stand_ins: Mapping[int, int]) -> bytes:
    count, at = read_unsigned(body, 0)
    out = [unsigned(count)]
    for _ in range(count):
        flags, at = read_unsigned(body, at)
        out.append(unsigned(flags))
        if not flags & _NOT_ACTIVE:
            if flags & _HAS_TABLE_OR_DECLARED:
                table, at = read_unsigned(body, at)
                out.append(unsigned(table))
            expression, at = _expression(body, at, stand_ins)
            out.append(expression)
        if flags & (_NOT_ACTIVE | _HAS_TABLE_OR_DECLARED):
            out.append(body[at : at + 1])  # kind or reference type
            at += 1
        length, at = read_unsigned(body, at)
        out.append(unsigned(length))
        for _ in range(length):
            if flags & _EXPRESSIONS:
                expression, at = _expression(body, at, stand_ins)
                out.append(expression)
            else:
                index, at = read_unsigned(body, at)
                out.append(unsigned(stand_ins.get(index, index)))
    return b"".join(out)


def _expression(body: bytes, at: int, stand_ins: Mapping[int, int]) -> tuple[bytes, int]:
    """Rewrite a constant expression; return it and the offset after it."""
    out = []
    while True:
        start, opcode = at, body[at]
        at += 1
        if opcode == _REF_FUNC:
            index, at = read_unsigned(body, at)
            out.append(bytes([opcode]) + unsigned(stand_ins.get(index, index)))
            continue
        if opcode in _CONSTANT_BYTES:
            at += _CONSTANT_BYTES[opcode]
        elif opcode == _SIMD_PREFIX:
            at += 17  # v128.const: its number and its 16 bytes
        elif opcode in (0x23, 0x41, 0x42, 0xD0):  # global.get, constants, ref.null
            _, at = read_unsigned(body, at)
        out.append(body[start:at])
        if opcode == _END:
            return b"".join(out), at
