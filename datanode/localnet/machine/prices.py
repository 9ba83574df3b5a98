"""The IC's instruction prices: opcodes, bulk operations and system calls.

Source of the tables: the IC's published price list (`instruction_to_cost` and the system call
overheads, mid-2026), Wasm32 column; loads and stores cost one more in Wasm64. A function entry
costs 1. An operation on memory or a table also costs its size operand, at run time.

System calls cost a fixed part and a part a byte. What memory costs depends on the metering version:
`datanode.metering`.
"""

from typing import Final

from datanode.units import GIB

INSTRUCTION_LIMIT_UPDATE: Final = 40_000_000_000
INSTRUCTION_LIMIT_QUERY: Final = 5_000_000_000
INSTRUCTION_LIMIT_INSTALL: Final = 300_000_000_000
INSTRUCTION_LIMIT_INSPECT: Final = 200_000_000
"""Instructions a message may execute, by its kind. Source: IC resource limits, 2026-05."""

CLEANUP_PERCENT: Final = 5
"""Share of a callback's instructions that is kept back for its cleanup. Source: replica, 2026."""

STABLE_BYTES_MESSAGE: Final = 2 * GIB
STABLE_BYTES_INSTALL: Final = 8 * GIB
STABLE_BYTES_QUERY: Final = GIB
"""Stable memory that a message may read, and that it may write, in whole pages of 4 KiB. Source:
`rs/config/src/embedders.rs` of the replica, mid-2026."""

INSTRUCTIONS_A_FUNCTION_ENTRY: Final = 1
INSTRUCTIONS_TO_COMPILE_AN_OPERATOR: Final = 6_000
"""Added to an installation for each operator of the instrumented module."""
RECOMPILING_DIVISOR: Final = 100
"""Part of it that is charged where the subnet has compiled the module since its last checkpoint.
Source: `DESERIALIZATION_SPEED_UP_FACTOR` of the replica, charged to canisters since 2025."""


def compiling_instructions(operators: int, *, again: bool) -> int:
    """Return what compiling a module costs; `again`: the subnet has compiled it of late."""
    full = operators * INSTRUCTIONS_TO_COMPILE_AN_OPERATOR
    return full // RECOMPILING_DIVISOR if again else full


BULK_PREFIX: Final = 0xFC
SIMD_PREFIX: Final = 0xFD
_OPCODES: Final = 256
_F32: Final = 0x8B
_F64: Final = 0x99

_SCALAR: Final[dict[int, tuple[int, ...]]] = {
    0: (0x02, 0x03, 0x05, 0x0B),  # block loop else end
    2: (
        *(0x04, 0x0C, 0x0D, 0x0E, 0x23, 0x24),  # if br br_if br_table global.get global.set
        *range(_F32 + 2, _F32 + 6),  # ceil floor trunc nearest
        *range(_F32 + 7, _F32 + 10),  # add sub mul
        _F32 + 13,  # copysign
        *range(_F64 + 2, _F64 + 6),
        *range(_F64 + 7, _F64 + 10),
    ),
    3: (0x12, *range(0x5B, 0x67), _F32 + 10, _F64 + 13, 0xB2, 0xB4, 0xB7, 0xB9),
    5: (0x10, 0x25, 0x26, 0xD1, _F32 + 6, _F64 + 10),
    8: (_F64 + 6,),
    10: (0x11, *range(0x6D, 0x71), *range(0x7F, 0x83)),  # call_indirect, div and rem
    16: (0xB3, 0xB5, 0xB8, 0xBA),  # convert unsigned
    18: (_F32 + 11, _F32 + 12, _F64 + 11, _F64 + 12),  # min max
    20: (0x3F, *range(0xA8, 0xAC), *range(0xAE, 0xB2)),  # memory.size, trunc
    60: (0x13,),  # return_call_indirect
    130: (0xD2,),  # ref.func
    300: (0x40,),  # memory.grow
}

_SIMD: Final[dict[int, tuple[int, ...]]] = {
    2: (
        *(0x26, 0x28, 0x30, 0x32, 0x3A, 0x3C),  # i8x16 i16x8 i32x4 lt_u gt_u
        *(0x6D, 0x7D, 0x8B, 0x8C, 0x8D, 0x9D, 0x9F),  # i8x16.shr_u, i16x8 pairwise, shifts, extmul
        *(0xAB, 0xAC, 0xAD, 0xB5, 0xBC, 0xBD, 0xBE, 0xBF),  # i32x4 shifts, mul, extmul
        *(0xCB, 0xCD),  # i64x2 shl shr_u
        *(0x67, 0x68, 0x69, 0x6A, 0x74, 0x75, 0x7A, 0x94),  # ceil floor trunc nearest
        *(0xE0, 0xE1, 0xE4, 0xE5, 0xE6, 0xEC, 0xED, 0xF0, 0xF1, 0xF2),  # abs neg add sub mul
        *(0xF8, 0xFC),  # trunc_sat signed
    ),
    3: (0x0D, 0x62, 0x6B, 0x6C, 0x7F, 0xCC, 0xFD),
    4: (0xD5, 0xE8, 0xE9, 0xF4, 0xF9, 0xFB),
    5: (0xE3, 0xF5),
    10: (0xE7,),
    12: (0xF3,),
    14: (0xEF,),
}


def _table(groups: dict[int, tuple[int, ...]]) -> tuple[int, ...]:
    prices = [1] * _OPCODES
    for price, opcodes in groups.items():
        for opcode in opcodes:
            prices[opcode] = price
    return tuple(prices)


OPCODE: Final = _table(_SCALAR)
"""Price by one-byte opcode."""

SIMD: Final = _table(_SIMD)
"""Price by the number after the SIMD prefix."""

BULK: Final = (20,) * 8 + (100, 300, 100, 100, 100, 300, 100, 300, 100, 100)
"""Price by the number after the prefix 0xFC: trunc_sat, memory and table operations."""

DEFAULT_CALL: Final = 500
FIXED: Final[dict[str, int]] = {
    "call_new": 1_500,
    "call_perform": 5_000,
    "cost_http_request_v2": 10_000,
    "debug_print": 100,
    "is_controller": 1_000,
    "mint_cycles": 0,
    "mint_cycles128": 0,
    "performance_counter": 200,
    "stable64_grow": 100,
    "stable64_read": 20,
    "stable64_size": 0,
    "stable64_write": 20,
    "stable_grow": 100,
    "stable_read": 20,
    "stable_size": 0,
    "stable_write": 20,
}
"""Fixed price of a system call where it is not `DEFAULT_CALL`."""

A_BYTE: Final = 1
A_TRANSMITTED_BYTE: Final = 50
TRANSMITTING: Final = frozenset({"msg_reply_data_append", "msg_reject", "call_data_append"})
"""System calls whose bytes leave the canister."""


def fixed(call: str) -> int:
    """Return the fixed price of a system call, in instructions."""
    return FIXED.get(call, DEFAULT_CALL)


def per_byte(call: str) -> int:
    """Return the price of each byte that a system call moves, in instructions."""
    return A_TRANSMITTED_BYTE if call in TRANSMITTING else A_BYTE
