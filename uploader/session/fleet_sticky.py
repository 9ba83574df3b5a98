"""Which chunks stay where they are: what earlier uploads of a model have put on the members.

An upload that was interrupted is continued with its placement, as this state has recorded it. Apart
from that a tensor stays on the member where the latest version has it, whatever its content is now.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from datanode.errors import DataNodeError
from datanode.model import TensorSpec
from datanode.part_names import part_name
from datanode.principal import Principal
from datanode.reader.fleet_version import is_fleet_version, open_fleet_version
from uploader.chunker import Layout
from uploader.fleet_slices import file_of_slice, parse_slice_path, slice_header_bytes
from uploader.session.fleet_parts import MemberPart
from uploader.session.upload import UploadContext
from uploader.source.base import PinnedFile, Source
from uploader.state.store import PinnedFileLike


@dataclass(frozen=True, slots=True)
class _Placed:
    tensor: TensorSpec
    first: int
    count: int


def sticky_chunks(layout: Layout, contexts: Sequence[UploadContext], model: str) -> dict[int, int]:
    """Return the member of each chunk that stays, by chunk.

    Args:
        layout: The chunks of the checkpoint.
        contexts: One for each member.
        model: Name of the model.
    """
    found = dict(_of_latest(layout, contexts, model))
    by_file: dict[int, list[_Placed]] = {}
    for tensor, first, count in layout.tensor_chunks():
        if count:
            by_file.setdefault(tensor.file_index, []).append(_Placed(tensor, first, count))
    for member, context in enumerate(contexts):
        planned = context.state.last_planned(context.node.principal, part_name(model))
        for file in planned:
            found.update(dict.fromkeys(_chunks_of(file, by_file), member))
    return _whole_tensors(layout, found)


def _whole_tensors(layout: Layout, found: Mapping[int, int]) -> dict[int, int]:
    """Keep tensors together: the member of its first chunk has all of a tensor."""
    kept: dict[int, int] = {}
    for _, first, count in layout.tensor_chunks():
        if first in found:
            for chunk in range(first, first + count):
                kept.setdefault(chunk, found[first])
    return kept


def _chunks_of(file: PinnedFileLike, by_file: Mapping[int, Sequence[_Placed]]) -> Iterator[int]:
    """Yield the chunks of a recorded slice, if the checkpoint still has a slice of that length."""
    place = parse_slice_path(file.path)
    if place is None:
        return
    taken: list[_Placed] = []
    text_bytes = data_bytes = 0
    for each in by_file.get(place[0], ()):
        if each.tensor.offset_bytes < place[1]:
            continue
        if not taken and each.tensor.offset_bytes != place[1]:
            return
        taken.append(each)
        text_bytes += slice_header_bytes(each.tensor, place[1])
        data_bytes += each.tensor.length_bytes
        total = _header_bytes(text_bytes, len(taken)) + data_bytes
        if total == file.length_bytes:
            for one in taken:
                yield from range(one.first, one.first + one.count)
            return
        if total > file.length_bytes:
            return


def _header_bytes(text_bytes: int, count: int) -> int:
    size = 2 + text_bytes + count - 1  # braces, and commas between entries
    return 8 + size + -size % 8


def _of_latest(
    layout: Layout, contexts: Sequence[UploadContext], model: str
) -> Iterator[tuple[int, int]]:
    """Yield chunks of tensors that the latest version has too, with their member."""
    where = {context.node.principal: at for at, context in enumerate(contexts)}
    nodes = {context.node.principal: context.node for context in contexts}
    reader = contexts[0].reader
    try:
        opened = reader.open_version(model)
        if not is_fleet_version(opened.head):
            return
        version = open_fleet_version(reader, nodes.__getitem__, opened)
        members = {
            (tensor.name, tensor.shape): version.index.parts[
                version.index.locate(tensor.first_chunk)[0]
            ].node
            for tensor in version.whole.tensors()
            if tensor.chunk_count
        }
    except (DataNodeError, KeyError):
        return  # no version, or a member is gone: nothing is known to stay
    for tensor, first, count in layout.tensor_chunks():
        member = where.get(members.get((tensor.name, tensor.shape), Principal(b"")))
        if count and member is not None:
            yield from ((chunk, member) for chunk in range(first, first + count))


def is_moved(part: MemberPart, source: Source, planned: Iterable[PinnedFileLike]) -> bool:
    """Whether an upload of a part was planned with other slices of the same, unchanged files."""
    mine = {(file.path, file.length_bytes): file.stamp for file in part.source.pinned()}
    recorded = list(planned)
    if {(file.path, file.length_bytes) for file in recorded} == mine.keys():
        return False
    originals = source.pinned()
    by_path = {file.path: file for file in originals}
    return all(_is_unchanged(file, originals, by_path) for file in recorded)


def _is_unchanged(
    file: PinnedFileLike, originals: Sequence[PinnedFile], by_path: Mapping[str, PinnedFile]
) -> bool:
    index = file_of_slice(file.path)
    if index is None:
        original = by_path.get(file.path)
    else:
        original = originals[index] if index < len(originals) else None
    return original is not None and original.stamp == file.stamp
