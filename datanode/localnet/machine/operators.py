"""Decodes the operators of function bodies: where each ends, what it costs, what follows it.

Input is a module that the engine has validated: the code is walked without checking it again.
"""

from typing import Final, NamedTuple

from datanode.localnet.machine import prices
from datanode.localnet.machine.wasm_module import WasmError, read_unsigned

_LEB: Final = frozenset(
    (0x0C, 0x0D, 0x10, 0x12, *range(0x20, 0x27), 0x3F, 0x40, 0x41, 0x42, 0xD0, 0xD2)
)
_TWO_LEB: Final = frozenset((0x11, 0x13, *range(0x28, 0x3F)))
_BLOCK_TYPE: Final = frozenset((0x02, 0x03, 0x04))
_BR_TABLE, _SELECT_TYPED, _F32_CONST, _F64_CONST = 0x0E, 0x1C, 0x43, 0x44
_FIRST_MEMORY_ACCESS, _LAST_MEMORY_ACCESS = 0x28, 0x3E
_TWO_LEB_BULK: Final = frozenset((8, 10, 12, 14))
_LAST_TRUNC: Final = 7


class Operator(NamedTuple):
    """An operator of a function body.

    Attributes:
        opcode: Its first byte.
        sub: The number after the prefix; -1 without one.
        at: Where it begins.
        end: Where the next one begins.
        price: What the IC charges for it in Wasm32, its size operand aside.
    """

    opcode: int
    sub: int
    at: int
    end: int
    price: int


def decode(body: bytes, at: int) -> list[Operator]:
    """Decode the operators of a function body from `at` to its end."""
    out = []
    end = len(body)
    while at < end:
        following, price, sub = after(body, at)
        out.append(Operator(body[at], sub, at, following, price))
        at = following
    return out


def index_of(body: bytes, operator: Operator) -> int:
    """Return the index that follows an opcode without a prefix."""
    return read_unsigned(body, operator.at + 1)[0]


def offset_of(body: bytes, operator: Operator) -> int:
    """Return the constant offset of a load or store."""
    at = operator.at + 1
    if operator.sub >= 0:
        at = skip(body, at)
    return read_unsigned(body, skip(body, at))[0]


def skip(data: bytes, at: int, count: int = 1) -> int:
    """Return the offset after so many LEB128 numbers."""
    for _ in range(count):
        while data[at] >= 0x80:  # noqa: PLR2004 - the continuation bit of LEB128
            at += 1
        at += 1
    return at


def after(data: bytes, at: int) -> tuple[int, int, int]:  # noqa: C901, PLR0911 - a table
    """Return the offset after the operator at `at`, its price in Wasm32, and its sub-opcode."""
    opcode = data[at]
    at += 1
    price = prices.OPCODE[opcode]
    if opcode in _LEB:
        return skip(data, at), price, -1
    if opcode in _TWO_LEB:
        return skip(data, at, 2), price, -1
    if opcode in _BLOCK_TYPE:
        return skip(data, at), price, -1
    if opcode == prices.SIMD_PREFIX:
        return _after_simd(data, at)
    if opcode == prices.BULK_PREFIX:
        sub, at = read_unsigned(data, at)
        if sub > _LAST_TRUNC:
            at = skip(data, at, 2 if sub in _TWO_LEB_BULK else 1)
        return at, prices.BULK[sub], sub
    if opcode == _BR_TABLE:
        count, at = read_unsigned(data, at)
        return skip(data, at, count + 1), price, -1
    if opcode == _F32_CONST:
        return at + 4, price, -1
    if opcode == _F64_CONST:
        return at + 8, price, -1
    if opcode == _SELECT_TYPED:
        count, at = read_unsigned(data, at)
        return skip(data, at, count), price, -1
    return at, price, -1


def _after_simd(data: bytes, at: int) -> tuple[int, int, int]:
    sub, at = read_unsigned(data, at)
    if sub >= len(prices.SIMD):
        raise WasmError("the module uses relaxed SIMD, which the IC does not allow")
    if sub <= 11 or 84 <= sub <= 93:  # noqa: PLR2004 - loads and stores: alignment, offset
        at = skip(data, at, 2)
        if sub < 92:  # noqa: PLR2004 - those of one lane name the lane
            at += sub >= 84  # noqa: PLR2004
    elif sub in (12, 13):
        at += 16
    elif 21 <= sub <= 34:  # noqa: PLR2004 - extract and replace lane
        at += 1
    return at, prices.SIMD[sub], sub


def touches_memory(opcode: int, sub: int) -> bool:
    """Tell whether an operator loads or stores."""
    if opcode == prices.SIMD_PREFIX:
        return sub <= 11 or 84 <= sub <= 93  # noqa: PLR2004 - loads and stores
    return _FIRST_MEMORY_ACCESS <= opcode <= _LAST_MEMORY_ACCESS
