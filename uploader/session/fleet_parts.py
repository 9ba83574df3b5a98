"""The parts of a checkpoint over a fleet: what each member gets, and its place in the whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from datanode.errors import ConflictError, DataNodeError, NodeFullError
from datanode.limits import MAX_STABLE_BYTES
from datanode.node.port import NodeStatus, StatusDetails, StorageNode
from uploader.chunker import Layout
from uploader.fleet_slices import COORDINATOR, Slice, copied_slices, slices
from uploader.session.part_source import PartSource
from uploader.source.base import Source

_SHARED_FILES: Final = frozenset({"config.json"})
"""Files that every part has, so that an inference canister can run it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberPart:
    """The part of a checkpoint that one member gets.

    Attributes:
        member: Index of the member.
        source: Its files.
        layout: Their tensors and chunks.
        slices: The slices of the whole that lie there.
    """

    member: int
    source: PartSource
    layout: Layout
    slices: tuple[Slice, ...]

    def segments(self) -> Iterator[tuple[int, int, int]]:
        """Yield (first chunk of the whole, first chunk of the part, chunks) of each slice."""
        mine = set(self.slices)
        for index, each in enumerate(self.source.slices):
            first, count = self.layout.file_chunks(index)
            if each in mine and each.chunk_count:
                yield each.first_chunk, first + count - each.chunk_count, each.chunk_count


def member_parts(source: Source, layout: Layout, members: Sequence[int]) -> list[MemberPart]:
    """Cut a checkpoint into parts, one for each member that holds chunks.

    Args:
        source: The checkpoint.
        layout: Its chunks.
        members: Member of each chunk.
    """
    cut = slices(layout, members)
    shared = [each for each in cut if each.path in _SHARED_FILES]
    copied = copied_slices(layout, members)
    parts: list[MemberPart] = []
    for member in sorted({each.member for each in cut}):
        mine = [each for each in cut if each.member == member]
        also = [each for each in copied if each.member == member]
        also += [] if member == COORDINATOR else shared
        part = PartSource(source, layout, [*mine, *also])
        parts.append(
            MemberPart(
                member=member,
                source=part,
                layout=Layout(part.files(), part.tensors()),
                slices=tuple(mine),
            )
        )
    return parts


def rooms_of(nodes: Sequence[StorageNode]) -> list[int]:
    """Return the bytes of frames that each member has room for; strangers are not told.

    Raises:
        ConflictError: The members speak different interface versions.
        NodeFullError: One has reached its freezing threshold.
        DataNodeError: One does not answer; it is named.
    """
    statuses = [_status_of(node) for node in nodes]
    versions = {
        node.principal: status.interface_version
        for node, status in zip(nodes, statuses, strict=True)
    }
    if len(set(versions.values())) > 1:
        shown = ", ".join(f"{each}: {version}" for each, version in versions.items())
        raise ConflictError(
            f"the members speak different interface versions ({shown})",
            safe="Nothing was sent.",
            hint="Bring them to one release with `datanode node upgrade`.",
        )
    return [_room(node, status.details) for node, status in zip(nodes, statuses, strict=True)]


def _status_of(node: StorageNode) -> NodeStatus:
    try:
        return node.status()
    except DataNodeError as error:
        raise naming_member(error, node) from error


def _room(node: StorageNode, details: StatusDetails | None) -> int:
    if details is None:
        return MAX_STABLE_BYTES
    if not details.freezing_days:
        raise NodeFullError(f"{node.principal} has reached its freezing threshold")
    return max(0, MAX_STABLE_BYTES - details.stable_bytes + details.free_bytes)


def naming_member(error: DataNodeError, node: StorageNode) -> DataNodeError:
    """Say in an error which member it is about."""
    if node.principal.text not in error.what:
        error.what = f"member {node.principal}: {error.what}"
    return error
