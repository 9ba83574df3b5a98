"""Loads and stores: how many bytes they access, and where their address lies on the stack."""

from dataclasses import dataclass
from typing import Final

from datanode.localnet.machine import prices

_I32, _I64, _F32, _F64, _V128 = 0x7F, 0x7E, 0x7D, 0x7C, 0x7B

SCALAR_BYTES: Final[dict[int, int]] = {
    **dict.fromkeys((0x2C, 0x2D, 0x30, 0x31, 0x3A, 0x3C), 1),
    **dict.fromkeys((0x2E, 0x2F, 0x32, 0x33, 0x3B, 0x3D), 2),
    **dict.fromkeys((0x28, 0x2A, 0x34, 0x35, 0x36, 0x38, 0x3E), 4),
    **dict.fromkeys((0x29, 0x2B, 0x37, 0x39), 8),
}
"""How many bytes a scalar load or store accesses, by opcode."""

_STORED: Final[dict[int, int]] = {
    **dict.fromkeys((0x36, 0x3A, 0x3B), _I32),
    **dict.fromkeys((0x37, 0x3C, 0x3D, 0x3E), _I64),
    0x38: _F32,
    0x39: _F64,
}
_SIMD_BYTES: Final[dict[int, int]] = {
    **dict.fromkeys((7, 84, 88), 1),
    **dict.fromkeys((8, 85, 89), 2),
    **dict.fromkeys((9, 86, 90, 92), 4),
    **dict.fromkeys((1, 2, 3, 4, 5, 6, 10, 87, 91, 93), 8),
    **dict.fromkeys((0, 11), 16),
}
_SIMD_STORES: Final = frozenset((11, 88, 89, 90, 91))
_SIMD_OVER_VECTOR: Final = frozenset((*_SIMD_STORES, 84, 85, 86, 87))
"""Those whose address lies under a vector on the stack."""


@dataclass(frozen=True, slots=True)
class Access:
    """A load or a store.

    Attributes:
        length_bytes: How much it accesses.
        writes: Whether it is a store.
        over: Type of the value that lies on the stack above its address; None when none does.
    """

    length_bytes: int
    writes: bool
    over: int | None


def access(opcode: int, sub: int) -> Access | None:
    """Describe an operator that loads or stores; None for another one."""
    if opcode == prices.SIMD_PREFIX:
        length = _SIMD_BYTES.get(sub)
        if length is None:
            return None
        return Access(length, sub in _SIMD_STORES, _V128 if sub in _SIMD_OVER_VECTOR else None)
    length = SCALAR_BYTES.get(opcode)
    if length is None:
        return None
    return Access(length, opcode in _STORED, _STORED.get(opcode))
