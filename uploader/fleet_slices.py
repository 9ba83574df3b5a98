"""Cut the files of a checkpoint into the slices that members hold. Pure arithmetic.

A slice is a run of consecutive chunks of one file that lie on one member. Slices of tensors start
and end at chunks, so their chunks are those of the whole, whatever lies around them. A file without
tensors is one slice; so is the header of a file with tensors. Both lie on the coordinator.
"""

import json
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from datanode.model import FileSpec, TensorSpec
from uploader.chunker import Layout
from uploader.fleet_placement import block_ranks, is_of_block
from uploader.grouping import SMALL_BYTES

COORDINATOR: Final = 0
SLICES: Final = "slices/"
_ALIGNMENT_BYTES: Final = 8
_ANY_SLICE: Final = re.compile(
    rf"{SLICES}(\d{{5,9}})-\d{{15,20}}\.(?:safetensors|copy\.safetensors|header)"
)
_SLICE: Final = re.compile(rf"{SLICES}(\d{{5,9}})-(\d{{15,20}})\.safetensors")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A run of chunks of one file on one member.

    Attributes:
        member: Index of the member.
        path: Name of the file that holds it in the member's part.
        file_index: File of the checkpoint.
        start_bytes: First byte in that file.
        length_bytes: Bytes.
        first_chunk: First chunk in the layout of the whole.
        chunk_count: Chunks.
        has_tensors: It holds tensors, and gets a header of its own in the part.
    """

    member: int
    path: str
    file_index: int
    start_bytes: int
    length_bytes: int
    first_chunk: int
    chunk_count: int
    has_tensors: bool


def tensor_chunks(layout: Layout) -> bytearray:
    """Mark the chunks that hold tensors with 1, all others with 0."""
    marks = bytearray(layout.chunk_count)
    for _, first, count in layout.tensor_chunks():
        marks[first : first + count] = b"\1" * count
    return marks


def slices(layout: Layout, members: Sequence[int]) -> list[Slice]:
    """Cut a checkpoint, in the order of its chunks.

    Args:
        layout: Files, tensors and chunks.
        members: Member of each chunk; what holds no tensor lies on the coordinator in any case.
    """
    marks = tensor_chunks(layout)
    found: list[Slice] = []
    for index, file in enumerate(layout.files):
        runs: list[list[int]] = []  # member, has tensors, start, length, first chunk, count
        for spec in layout.chunks(index):
            mark = marks[spec.index]
            key = [members[spec.index] if mark else COORDINATOR, mark]
            if runs and runs[-1][:2] == key:
                runs[-1][3] += spec.length_bytes
                runs[-1][5] += 1
            else:
                runs.append([*key, spec.offset_bytes, spec.length_bytes, spec.index, 1])
        for member, mark, start, length, first, count in runs:
            is_whole = length == file.length_bytes and not mark
            found.append(
                Slice(
                    member=member,
                    path=file.path if is_whole else _path(index, start, has_tensors=bool(mark)),
                    file_index=index,
                    start_bytes=start,
                    length_bytes=length,
                    first_chunk=first,
                    chunk_count=count,
                    has_tensors=bool(mark),
                )
            )
        if not runs:
            found.append(_empty(index, file))
    return found


def copied_slices(layout: Layout, members: Sequence[int]) -> list[Slice]:
    """Return slices that members get beside their own, so that each can run its blocks.

    Small tensors of several blocks share chunks, as norms do, and a chunk lies on one member: the
    others get a copy. The member of the embedding gets small tensors outside of blocks too: a model
    without a head of its own uses its embedding, after the last norm.

    Args:
        layout: Files, tensors and chunks.
        members: Member of each chunk.
    """
    tensors = list(layout.tensor_chunks())
    if not any(is_of_block(tensor) for tensor, _, _ in tensors):
        return []
    ranks = block_ranks([tensor for tensor, _, _ in tensors])
    owners: dict[int, tuple[int, int]] = {}
    for (tensor, first, count), rank in zip(tensors, ranks, strict=True):
        if count and tensor.length_bytes > owners.get(rank, (0, 0))[0]:
            owners[rank] = (tensor.length_bytes, members[first])
    copies: dict[tuple[int, int], Slice] = {}
    for (tensor, first, count), rank in zip(tensors, ranks, strict=True):
        if count != 1 or tensor.length_bytes >= SMALL_BYTES:
            continue
        wanted = {owners[rank][1]} | (set() if is_of_block(tensor) else {owners[0][1]})
        spec = layout.spec(first)
        for member in wanted - {members[first]}:
            copies[member, first] = Slice(
                member=member,
                path=f"{SLICES}{tensor.file_index:05}-{spec.offset_bytes:015}.copy.safetensors",
                file_index=tensor.file_index,
                start_bytes=spec.offset_bytes,
                length_bytes=spec.length_bytes,
                first_chunk=first,
                chunk_count=1,
                has_tensors=True,
            )
    return [copies[key] for key in sorted(copies)]


def slice_tensors(layout: Layout, wanted: Sequence[Slice]) -> list[list[TensorSpec]]:
    """Return the tensors with bytes of each slice, as they stand in the checkpoint."""
    by_start = {(each.file_index, each.start_bytes): at for at, each in enumerate(wanted)}
    starts = sorted(by_start)
    found: list[list[TensorSpec]] = [[] for _ in wanted]
    position = 0
    for tensor, _, count in layout.tensor_chunks():
        if not count:
            continue
        place = (tensor.file_index, tensor.offset_bytes)
        while position + 1 < len(starts) and starts[position + 1] <= place:
            position += 1
        if not starts or starts[position] > place:
            continue
        at = by_start[starts[position]]
        each = wanted[at]
        if (
            each.has_tensors
            and each.file_index == tensor.file_index
            and tensor.offset_bytes < each.start_bytes + each.length_bytes
        ):
            found[at].append(tensor)
    return found


def slice_header(tensors: Sequence[TensorSpec], start_bytes: int) -> bytes:
    """Write the safetensors header of a slice, so that the slice is a checkpoint of its own."""
    text = b"{" + b",".join(_entry(tensor, start_bytes) for tensor in tensors) + b"}"
    text += b" " * (-len(text) % _ALIGNMENT_BYTES)
    return struct.pack("<Q", len(text)) + text


def slice_header_bytes(tensor: TensorSpec, start_bytes: int) -> int:
    """Count the bytes that a tensor takes in the header of a slice."""
    return len(_entry(tensor, start_bytes))


def _entry(tensor: TensorSpec, start_bytes: int) -> bytes:
    start = tensor.offset_bytes - start_bytes
    value = {
        "dtype": tensor.dtype,
        "shape": list(tensor.shape),
        "data_offsets": [start, start + tensor.length_bytes],
    }
    return json.dumps({tensor.name: value}, separators=(",", ":")).encode()[1:-1]


def file_of_slice(path: str) -> int | None:
    """Return the file of the checkpoint that a slice, of tensors or not, is cut from."""
    found = _ANY_SLICE.fullmatch(path)
    return None if found is None else int(found[1])


def parse_slice_path(path: str) -> tuple[int, int] | None:
    """Return the file of the checkpoint and the first byte of a slice of tensors, by its name."""
    found = _SLICE.fullmatch(path)
    return None if found is None else (int(found[1]), int(found[2]))


def _path(file_index: int, start_bytes: int, *, has_tensors: bool) -> str:
    kind = "safetensors" if has_tensors else "header"
    return f"{SLICES}{file_index:05}-{start_bytes:015}.{kind}"


def _empty(index: int, file: FileSpec) -> Slice:
    return Slice(
        member=COORDINATOR,
        path=file.path,
        file_index=index,
        start_bytes=0,
        length_bytes=0,
        first_chunk=0,
        chunk_count=0,
        has_tensors=False,
    )
