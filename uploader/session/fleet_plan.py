"""Plan a version over a fleet: what each member would hold, its cost, and whether it fits a heap.

Sizes of frames are estimated from a sample, as in a plan without a node: nothing is asked but the
room of each member.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from datanode.digest import ContentDigest
from datanode.fees import FeeSchedule
from datanode.node.port import StorageNode
from datanode.principal import Principal
from datanode.units import DAY_S
from uploader.chunker import Layout
from uploader.fleet_placement import Share, members_for_heaps, place
from uploader.session.encode_pipeline import encoded, groups, workers
from uploader.session.fleet_parts import rooms_of
from uploader.session.plan import estimate_sizes, upload_cycles
from uploader.session.preflight import find_problems, require_none
from uploader.session.situation import PlanSituation, explained
from uploader.source.base import Source

_AHEAD = 8
_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberQuote:
    """The plan for one member.

    Attributes:
        member: The canister.
        share: What it would hold.
        upload_cycles: Estimated cycles to receive and store that.
        rent_cycles: Thirty days of rent for it.
        room_bytes: Bytes of frames that it has room for.
    """

    member: Principal
    share: Share
    upload_cycles: int
    rent_cycles: int
    room_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetQuote:
    """The plan for a fleet.

    Attributes:
        members: One quote each, in order.
        raw_bytes: Bytes of all files.
        chunks_count: Chunks of the version.
        heaps_count: Members that it takes until each share fits a 4 GiB heap; 0: no number does.
    """

    members: tuple[MemberQuote, ...]
    raw_bytes: int
    chunks_count: int
    heaps_count: int


def plan_fleet(
    source: Source,
    fees: FeeSchedule,
    nodes: Sequence[StorageNode],
    *,
    jobs: int = 2,
    exact: bool = False,
) -> FleetQuote:
    """Estimate an upload to a fleet without sending anything.

    Args:
        source: The checkpoint.
        fees: Prices.
        nodes: The members, the coordinator first.
        jobs: Threads that encode.
        exact: Encode every chunk, not a sample; a content that repeats on a member counts once.

    Raises:
        NodeFullError: The members have too little room.
        DataNodeError: A member does not answer, or the source cannot be read.
    """
    with explained(PlanSituation()):
        layout = Layout(source.files(), source.tensors())
        require_none(find_problems(None, layout, {}))
        rooms = rooms_of(nodes)
        with workers(jobs) as pool:
            if exact:
                sizes, contents = _measure(source, layout, pool)
            else:
                sizes, contents = estimate_sizes(source, layout, pool), None
        placed = place(layout, sizes, rooms)
        if contents is not None:
            _count_once(sizes, contents, placed.members)
            placed = place(layout, sizes, rooms)
        quotes = []
        for index, node in enumerate(nodes):
            share = placed.shares[index]
            mine = [
                size for size, at in zip(sizes, placed.members, strict=True) if at == index and size
            ]
            quotes.append(
                MemberQuote(
                    member=node.principal,
                    share=share,
                    upload_cycles=upload_cycles(fees, mine),
                    rent_cycles=fees.storage_cycles(share.frame_bytes, _DAYS * DAY_S),
                    room_bytes=rooms[index],
                )
            )
        return FleetQuote(
            members=tuple(quotes),
            raw_bytes=layout.total_bytes,
            chunks_count=layout.chunk_count,
            heaps_count=members_for_heaps(layout),
        )


def _measure(
    source: Source, layout: Layout, pool: ThreadPoolExecutor
) -> tuple[list[int], list[ContentDigest]]:
    """Encode every chunk; returns the size of each frame, and each content."""
    sizes: list[int] = []
    contents: list[ContentDigest] = []
    specs = (spec for index in range(len(layout.files)) for spec in layout.chunks(index))
    for group in groups(specs, source, pool=pool, ahead=_AHEAD):
        for each in encoded(group, pool=pool, ahead=_AHEAD):
            sizes.append(each.record.frame_bytes)
            contents.append(each.record.content)
    return sizes, contents


def _count_once(
    sizes: list[int], contents: Sequence[ContentDigest], members: Sequence[int]
) -> None:
    """Set the size of a frame to 0 where its member has the same content earlier."""
    seen: set[tuple[int, ContentDigest]] = set()
    for chunk, (content, member) in enumerate(zip(contents, members, strict=True)):
        if (member, content) in seen:
            sizes[chunk] = 0
        seen.add((member, content))
