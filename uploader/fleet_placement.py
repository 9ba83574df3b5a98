"""Place the chunks of a checkpoint on the members of a fleet: a pure function, by layer.

| what | where |
| --- | --- |
| a chunk whose frame a member holds already | there |
| tensors of a block: `layers.<i>.`, `blk.<i>.`, `h.<i>.`, with any prefix | one member; consecutive blocks on consecutive members |
| tensors before the first block or named like embeddings | with the first block |
| other tensors outside of blocks: final norm, head | with the last block |
| everything else: headers, tokenizer, config | the coordinator, member 0 |

Blocks are divided so that the fullest heap is as small as it can be. A member's share never exceeds
its free room. The same input gives the same placement.
"""  # noqa: E501 - a table

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from datanode.errors import NodeFullError
from datanode.limits import MAX_STABLE_BYTES
from datanode.model import ElementType, TensorSpec
from datanode.units import format_bytes
from uploader.chunker import Layout

HEAP_BYTES: Final = 3_950_000_000
"""Decoded bytes that a 4 GiB heap holds beside code and buffers. Ours."""

_BLOCK: Final = re.compile(r"^(?P<before>.*?)(?:layers?|blk|blocks?|h)\.(?P<index>\d{1,6})\.")
_EMBEDDING: Final = re.compile(r"embd|embed|wte|wpe")
_HEAP_WIDTH_BYTES: Final = 2
_REST: Final = -1
_MAX_MEMBERS: Final = 4_096


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One member's share of a version.

    Attributes:
        chunks_count: Chunks that lie there.
        frame_bytes: Bytes of their frames, those that are held already aside.
        heap_bytes: Bytes of its tensors in two-byte form.
    """

    chunks_count: int
    frame_bytes: int
    heap_bytes: int

    @property
    def fits_heap(self) -> bool:
        """Whether a 4 GiB heap holds the decoded tensors."""
        return self.heap_bytes <= HEAP_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetPlacement:
    """Where each chunk lies.

    Attributes:
        members: Index of the member, by chunk.
        shares: One for each member.
    """

    members: "array[int]"
    shares: tuple[Share, ...]

    def runs(self) -> tuple[tuple[int, int], ...]:
        """Return (member, chunks) of consecutive chunks, as a placement record has them."""
        found: list[tuple[int, int]] = []
        for member in self.members:
            if found and found[-1][0] == member:
                found[-1] = (member, found[-1][1] + 1)
            else:
                found.append((member, 1))
        return tuple(found)


def place(
    layout: Layout,
    sizes: Sequence[int],
    rooms: Sequence[int],
    *,
    held: Mapping[int, int] | None = None,
) -> FleetPlacement:
    """Place every chunk.

    Args:
        layout: Files, tensors and chunks.
        sizes: Bytes of the frame of each chunk, as known or estimated.
        rooms: Bytes of frames that each member has room for; the first is the coordinator.
        held: Member that holds the frame of a chunk already, by chunk; it stays there.

    Raises:
        NodeFullError: The members have too little room; names the number of empty ones that do.
    """
    sticky = dict(held or {})
    units, heap = _units(layout)
    count = max(units, default=_REST) + 1
    loads, needs, rest = [0] * count, [0] * count, 0
    base = [0] * len(rooms)
    for chunk, unit in enumerate(units):
        if chunk in sticky:
            base[sticky[chunk]] += heap[chunk]
        elif unit == _REST:
            rest += sizes[chunk]
        else:
            loads[unit] += heap[chunk]
            needs[unit] += sizes[chunk]
    free = list(rooms)
    free[0] -= rest
    owners = divide(loads, needs, free, base) if free[0] >= 0 else None
    if owners is None:
        raise _too_small(loads, needs, rest, rooms)
    members = array(
        "H",
        (
            sticky.get(chunk, 0 if unit == _REST else owners[unit])
            for chunk, unit in enumerate(units)
        ),
    )
    return FleetPlacement(members=members, shares=_shares(members, sizes, heap, sticky, len(rooms)))


def divide(
    loads: Sequence[int], needs: Sequence[int], rooms: Sequence[int], base: Sequence[int]
) -> list[int] | None:
    """Divide consecutive units among consecutive members so that the largest load is smallest.

    Args:
        loads: What a unit adds to its member's load.
        needs: What it takes of its member's room.
        rooms: Room of each member.
        base: Load that each member has already.

    Returns:
        The member of each unit; None if the members have too little room.
    """
    top = sum(loads) + max(base, default=0)
    if _filled(loads, needs, rooms, base, top) is None:
        return None
    least = bisect_left(
        range(top + 1), 1, key=lambda limit: _filled(loads, needs, rooms, base, limit) is not None
    )
    return _filled(loads, needs, rooms, base, least)


def members_for_heaps(layout: Layout) -> int:
    """Return how many members it takes until each share fits a 4 GiB heap; 0: no number does."""
    units, heap = _units(layout)
    loads = [0] * (max(units, default=_REST) + 1)
    for chunk, unit in enumerate(units):
        if unit != _REST:
            loads[unit] += heap[chunk]
    if max(loads, default=0) > HEAP_BYTES:
        return 0
    return _filling(loads, HEAP_BYTES)


def _filled(
    loads: Sequence[int],
    needs: Sequence[int],
    rooms: Sequence[int],
    base: Sequence[int],
    limit: int,
) -> list[int] | None:
    """Fill one member after the other up to a limit; None if units are left over."""
    owners: list[int] = []
    member, load, room = 0, base[0], rooms[0]
    for added, need in zip(loads, needs, strict=True):
        while need > room or (added and load + added > limit):
            member += 1
            if member == len(rooms):
                return None
            load, room = base[member], rooms[member]
        load, room = load + added, room - need
        owners.append(member)
    return owners


def _filling(loads: Iterable[int], limit: int) -> int:
    count, load = 1, 0
    for added in loads:
        if load + added > limit:
            count, load = count + 1, 0
        load += added
    return count


def _units(layout: Layout) -> "tuple[array[int], array[int]]":
    """Return the unit of each chunk, in the order in which they are placed, and its heap bytes."""
    ranks = block_ranks([tensor for tensor, _, _ in layout.tensor_chunks()])
    units = array("l", [_REST]) * layout.chunk_count
    heap = array("Q", [0]) * layout.chunk_count
    for (tensor, first, count), rank in zip(layout.tensor_chunks(), ranks, strict=True):
        for chunk in range(first, first + count):
            if units[chunk] == _REST:  # small tensors share a chunk: the first one decides
                units[chunk] = rank
                heap[chunk] = _in_heap(layout.spec(chunk).length_bytes, tensor.element)
    return units, heap


def block_ranks(tensors: Sequence[TensorSpec]) -> list[int]:
    """Number the units: blocks in order, what lies before and behind them with them.

    A checkpoint without blocks is divided by tensors.
    """
    places: list[tuple[str, int] | None] = []
    prefixes: dict[str, int] = {}
    for tensor in tensors:
        found = _BLOCK.match(tensor.name)
        places.append((found["before"], int(found["index"])) if found else None)
        if found:
            prefixes.setdefault(found["before"], len(prefixes))
    keys = sorted(
        {place for place in places if place is not None},
        key=lambda place: (prefixes[place[0]], place[1]),
    )
    if not keys:
        return list(range(len(tensors)))
    rank_of = {key: rank for rank, key in enumerate(keys)}
    last = len(keys) - 1
    return [
        rank_of[place] if place is not None else 0 if _EMBEDDING.search(tensor.name) else last
        for tensor, place in zip(tensors, places, strict=True)
    ]


def is_of_block(tensor: TensorSpec) -> bool:
    """Whether a tensor is one of a block, by its name."""
    return _BLOCK.match(tensor.name) is not None


def _in_heap(raw_bytes: int, element: ElementType) -> int:
    if element is ElementType.BYTES:
        return raw_bytes
    return raw_bytes // element.width_bytes * _HEAP_WIDTH_BYTES


def _shares(
    members: "array[int]",
    sizes: Sequence[int],
    heap: Sequence[int],
    sticky: Mapping[int, int],
    count: int,
) -> tuple[Share, ...]:
    chunks, frames, heaps = [0] * count, [0] * count, [0] * count
    for chunk, member in enumerate(members):
        chunks[member] += 1
        frames[member] += 0 if chunk in sticky else sizes[chunk]
        heaps[member] += heap[chunk]
    return tuple(
        Share(chunks_count=chunks[each], frame_bytes=frames[each], heap_bytes=heaps[each])
        for each in range(count)
    )


def _too_small(
    loads: Sequence[int], needs: Sequence[int], rest: int, rooms: Sequence[int]
) -> NodeFullError:
    wanted = sum(needs) + rest
    enough = next(
        (
            count
            for count in range(1, _MAX_MEMBERS)
            if _filled(
                loads,
                needs,
                [MAX_STABLE_BYTES - rest, *[MAX_STABLE_BYTES] * (count - 1)],
                [0] * count,
                sum(loads),
            )
            is not None
        ),
        None,
    )
    return NodeFullError(
        f"the version needs room for {format_bytes(wanted)}, and the {len(rooms)} members of the "
        f"fleet have {format_bytes(sum(rooms))}, by layer too little",
        safe="Nothing was sent.",
        hint="" if enough is None else f"{enough} empty members would do.",
    )
