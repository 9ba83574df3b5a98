"""Tells how many operands an operator takes from the stack, and how many results it leaves."""

from collections.abc import Mapping
from typing import Final

from datanode.localnet.machine import prices
from datanode.localnet.machine.operators import Operator, index_of

_CALL, _CALL_INDIRECT = 0x10, 0x11

_SCALAR: Final[dict[tuple[int, int], tuple[int, ...]]] = {
    (0, 0): (0x01, 0x02),  # nop block
    (1, 0): (0x04, 0x0D, 0x1A, 0x24),  # if br_if drop global.set
    (3, 1): (0x1B, 0x1C),  # select
    (0, 1): (0x23, 0x3F, *range(0x41, 0x45), 0xD0, 0xD2),  # global.get memory.size const ref
    (1, 1): (
        *(0x25, 0x40, 0x45, 0x50, 0xD1),  # table.get memory.grow eqz ref.is_null
        *range(0x28, 0x36),  # loads
        *range(0x67, 0x6A),
        *range(0x79, 0x7C),
        *range(0x8B, 0x92),
        *range(0x99, 0xA0),
        *range(0xA7, 0xC5),  # conversions and sign extensions
    ),
    (2, 0): (0x26, *range(0x36, 0x3F)),  # table.set, stores
    (2, 1): (
        *range(0x46, 0x50),
        *range(0x51, 0x67),
        *range(0x6A, 0x79),
        *range(0x7C, 0x8B),
        *range(0x92, 0x99),
        *range(0xA0, 0xA7),
    ),
}
_BULK: Final[dict[tuple[int, int], tuple[int, ...]]] = {
    (1, 1): tuple(range(8)),  # trunc_sat
    (3, 0): (8, 10, 11, 12, 14, 17),
    (0, 0): (9, 13),  # data.drop elem.drop
    (2, 1): (15,),  # table.grow
    (0, 1): (16,),  # table.size
}
_SIMD: Final[dict[tuple[int, int], tuple[int, ...]]] = {
    (2, 0): (11, *range(88, 92)),  # stores
    (0, 1): (12,),  # v128.const
    (3, 1): (82,),  # bitselect
    (1, 1): (
        *range(11),
        *range(15, 21),  # loads, splats
        *(21, 22, 24, 25, 27, 29, 31, 33),  # extract_lane
        *(77, 83, 92, 93, 94, 95),  # not, any_true, load zero, demote, promote
        *(96, 97, 98, 99, 100, 103, 104, 105, 106, 116, 117, 122, 124, 125, 126, 127),
        *(128, 129, 131, 132, *range(135, 139), 148, 160, 161, 163, 164, *range(167, 171)),
        *(192, 193, 195, 196, *range(199, 203), 224, 225, 227, 236, 237, 239, *range(248, 256)),
    ),
}


def _table(groups: dict[tuple[int, int], tuple[int, ...]]) -> dict[int, tuple[int, int]]:
    return {each: effect for effect, numbers in groups.items() for each in numbers}


_OF_SCALAR: Final = _table(_SCALAR)
_OF_BULK: Final = _table(_BULK)
_OF_SIMD: Final = _table(_SIMD)
_TWO_OPERANDS: Final = (2, 1)


def effect(
    body: bytes, operator: Operator, types: Mapping[int, tuple[int, int]]
) -> tuple[int, int]:
    """Return how many operands an operator takes and how many results it leaves.

    Args:
        body: The function.
        operator: One after which control goes on, locals aside.
        types: How many parameters and results each function has, by index; and each type, by
            its index's complement.
    """
    if operator.opcode == prices.SIMD_PREFIX:
        return _OF_SIMD.get(operator.sub, _TWO_OPERANDS)
    if operator.opcode == prices.BULK_PREFIX:
        return _OF_BULK[operator.sub]
    if operator.opcode == _CALL:
        return types[index_of(body, operator)]
    if operator.opcode == _CALL_INDIRECT:
        parameters, results = types[~index_of(body, operator)]
        return parameters + 1, results
    return _OF_SCALAR[operator.opcode]
