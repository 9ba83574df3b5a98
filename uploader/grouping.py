"""Group small neighbouring tensors, so that they share a chunk. Pure: names and sizes only.

A frame, an index entry and a row for each of 100,000 tensors of 64 bytes cost far more than the
tensors. So tensors of a file that follow each other without a gap share a chunk if each has fewer
than `SMALL_BYTES`. A larger tensor never shares: its chunks depend on its own bytes, dtype and
shape alone, and so does a small tensor between two large ones.

Groups end where the names say so, not where a counter is full: a tensor starts a new group with
probability length / `GROUP_BYTES`, decided by the digest of its name. A tensor that is added to or
taken from a long run of small ones therefore changes the group that it is in, and the groups around
it keep their chunks. `MAX_GROUP_BYTES` bounds a group in any case.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from datanode.digest import content_digest
from datanode.model import TensorSpec
from datanode.units import KIB, MIB

SMALL_BYTES: Final = 64 * KIB
"""A tensor with fewer bytes may share a chunk. A frame of this size has 0.2 % overhead."""

GROUP_BYTES: Final = 256 * KIB
"""Average size of a group in a long run, bytes: what one changed small tensor sends again."""

MAX_GROUP_BYTES: Final = 1 * MIB
"""Largest group, bytes."""

_DRAW_BYTES: Final = 8


def groups(tensors: Iterable[TensorSpec]) -> Iterator[list[TensorSpec]]:
    """Yield the tensors of one file in order, those that share a chunk together.

    Tensors without bytes join a group or stand alone; they end no group.

    Args:
        tensors: Sorted by offset and name, of one file.
    """
    group: list[TensorSpec] = []
    size_bytes = end = 0
    for tensor in tensors:
        if not tensor.length_bytes and group:
            group.append(tensor)
            continue
        joins = (
            tensor.offset_bytes == end
            and size_bytes + tensor.length_bytes <= MAX_GROUP_BYTES
            and _is_small(tensor)
            and not _starts_group(tensor)
        )
        if group and not joins:
            yield group
            group, size_bytes = [], 0
        if not _is_small(tensor):
            yield [tensor]
            continue
        group.append(tensor)
        size_bytes += tensor.length_bytes
        end = tensor.offset_bytes + tensor.length_bytes
    if group:
        yield group


def _is_small(tensor: TensorSpec) -> bool:
    return 0 < tensor.length_bytes < SMALL_BYTES


def _starts_group(tensor: TensorSpec) -> bool:
    draw = int.from_bytes(content_digest(tensor.name.encode())[:_DRAW_BYTES])
    return draw * GROUP_BYTES < tensor.length_bytes << (8 * _DRAW_BYTES)
