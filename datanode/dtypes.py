"""Element types of tensors, by their safetensors names, and the bytes that a tensor takes."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from datanode.errors import FormatError

_BYTE_BITS: Final = 8

DTYPE_BITS: Final[Mapping[str, int]] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits of an element. Source: `Dtype` of the safetensors crate, 0.8.0."""


def tensor_bytes(dtype: str, shape: Sequence[int]) -> int:
    """Return how many bytes the elements of a tensor take.

    Raises:
        FormatError: The dtype is not known, or the elements do not fill whole bytes.
    """
    if dtype not in DTYPE_BITS:
        raise FormatError(
            f"the dtype {dtype!r} is not known to this release", hint="Upgrade datanode."
        )
    length_bytes, rest = divmod(math.prod(shape) * DTYPE_BITS[dtype], _BYTE_BITS)
    if rest:
        raise FormatError(f"a tensor of dtype {dtype} and shape {list(shape)} ends inside a byte")
    return length_bytes
