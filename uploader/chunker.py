"""Cut files into chunks. Pure arithmetic: no file is opened here.

Every byte of every file belongs to exactly one chunk. Bytes of tensors are cut at tensor starts and
after whole rows, so that equal tensors give equal chunks whatever file they stand in; all other
bytes (headers, tokenizers) are chunks of element type `bytes`. A row is the last dimension; of a
tensor with fewer than two dimensions it is the whole. A row that is larger than a chunk is cut
where a chunk is full. Small tensors that follow each other share a chunk (`uploader/grouping.py`).
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from datanode.limits import MAX_CHUNK_BYTES
from datanode.model import ChunkSpec, ElementType, FileSpec, TensorSpec
from uploader.grouping import groups

_MATRIX_RANK: Final = 2


class _Segment(NamedTuple):
    """Consecutive bytes of a file that are cut alike; chunks are `cut_bytes` long but the last."""

    file_index: int
    offset_bytes: int
    length_bytes: int
    first_chunk: int
    cut_bytes: int = MAX_CHUNK_BYTES
    element: ElementType = ElementType.BYTES
    row_elements: int = 0

    @property
    def chunk_count(self) -> int:
        return -(-self.length_bytes // self.cut_bytes)

    def chunk(self, number: int) -> ChunkSpec:
        start = number * self.cut_bytes
        return ChunkSpec(
            index=self.first_chunk + number,
            file_index=self.file_index,
            offset_bytes=self.offset_bytes + start,
            length_bytes=min(self.cut_bytes, self.length_bytes - start),
            element=self.element,
            row_elements=self.row_elements,
        )


class Layout:
    """Where each chunk of a checkpoint lies. Memory grows with tensors and files, not chunks.

    Args:
        files: In manifest order.
        tensors: Sorted by file index, offset and name; disjoint, inside their files.

    Raises:
        ValueError: The tensors are not sorted, overlap, or leave their file.
    """

    def __init__(self, files: Sequence[FileSpec], tensors: Sequence[TensorSpec]) -> None:
        self.files: Final = tuple(files)
        self._tensors = tensors
        self._segments: list[_Segment] = []
        self._segment_of_tensor: list[int] = []
        self._file_starts: list[int] = []
        self.total_bytes: Final = sum(file.length_bytes for file in self.files)
        self.chunk_count: Final = self._lay_out()
        self._firsts = [segment.first_chunk for segment in self._segments]

    @property
    def tensor_count(self) -> int:
        """Tensors of all files."""
        return len(self._tensors)

    def chunks(self, file_index: int) -> Iterator[ChunkSpec]:
        """Yield the chunks of one file, in order."""
        for segment in self._segments[slice(*self._segments_of(file_index))]:
            for number in range(segment.chunk_count):
                yield segment.chunk(number)

    def spec(self, index: int) -> ChunkSpec:
        """Return one chunk by its position in the manifest.

        Raises:
            IndexError: There is no such chunk.
        """
        if not 0 <= index < self.chunk_count:
            raise IndexError(f"chunk {index} of {self.chunk_count}")
        segment = self._segments[bisect_right(self._firsts, index) - 1]
        return segment.chunk(index - segment.first_chunk)

    def file_chunks(self, file_index: int) -> tuple[int, int]:
        """Return the first chunk of a file and how many it has."""
        first, last = (self._first_chunk(at) for at in self._segments_of(file_index))
        return first, last - first

    def tensor_chunks(self) -> Iterator[tuple[TensorSpec, int, int]]:
        """Yield each tensor with its first chunk and how many it has; none if it is empty."""
        for tensor, at in zip(self._tensors, self._segment_of_tensor, strict=True):
            count = self._segments[at].chunk_count if tensor.length_bytes else 0
            yield tensor, self._first_chunk(at), count

    def _segments_of(self, file_index: int) -> tuple[int, int]:
        starts = self._file_starts
        return starts[file_index], starts[file_index + 1]

    def _first_chunk(self, at: int) -> int:
        return self._segments[at].first_chunk if at < len(self._segments) else self.chunk_count

    def _lay_out(self) -> int:
        """Make the segments; return the number of chunks."""
        chunk = 0
        by_file = groupby(self._tensors, key=lambda tensor: tensor.file_index)
        upcoming = next(by_file, None)
        for file_index, file in enumerate(self.files):
            self._file_starts.append(len(self._segments))
            end = 0
            if upcoming is not None and upcoming[0] == file_index:
                chunk, end = self._lay_out_tensors(upcoming[1], file_index, chunk)
                upcoming = next(by_file, None)
            if end > file.length_bytes:
                raise ValueError(f"a tensor ends after its file: {file}")
            chunk = self._add(_plain(file_index, end, file.length_bytes, chunk))
        self._file_starts.append(len(self._segments))
        if upcoming is not None:
            raise ValueError(f"tensors are not sorted by file, or their file {upcoming[0]} lacks")
        return chunk

    def _lay_out_tensors(
        self, tensors: Iterable[TensorSpec], file_index: int, chunk: int
    ) -> tuple[int, int]:
        """Add the segments of a file up to its last tensor; return the next chunk and the end."""
        end = 0
        for group in groups(tensors):
            full = [tensor for tensor in group if tensor.length_bytes]
            if full:
                if full[0].offset_bytes < end:
                    raise ValueError(f"tensors overlap or are not sorted: {full[0]}")
                chunk = self._add(_plain(file_index, end, full[0].offset_bytes, chunk))
            # A tensor without bytes has no place of its own; it may share its offset with another.
            self._segment_of_tensor += [len(self._segments)] * len(group)
            if full:
                chunk = self._add(_of_tensors(full, chunk))
                end = full[-1].offset_bytes + full[-1].length_bytes
        return chunk, end

    def _add(self, segment: _Segment) -> int:
        if segment.length_bytes:
            self._segments.append(segment)
        return segment.first_chunk + segment.chunk_count


def split(files: Sequence[FileSpec], tensors: Sequence[TensorSpec]) -> Iterator[ChunkSpec]:
    """Yield the chunks of all files, in order, covering every byte exactly once."""
    layout = Layout(files, tensors)
    for file_index in range(len(layout.files)):
        yield from layout.chunks(file_index)


def _plain(file_index: int, start_bytes: int, end_bytes: int, chunk: int) -> _Segment:
    return _Segment(file_index, start_bytes, end_bytes - start_bytes, chunk)


def _of_tensors(tensors: Sequence[TensorSpec], chunk: int) -> _Segment:
    """Make a segment of one tensor, or of small ones that share a chunk.

    Small ones of one element type keep it; otherwise the chunk is bytes. They have no rows.
    """
    first = tensors[0]
    if len(tensors) == 1:
        return _of_tensor(first, chunk)
    elements = {tensor.element for tensor in tensors}
    return _Segment(
        first.file_index,
        first.offset_bytes,
        tensors[-1].offset_bytes + tensors[-1].length_bytes - first.offset_bytes,
        chunk,
        element=elements.pop() if len(elements) == 1 else ElementType.BYTES,
    )


def _of_tensor(tensor: TensorSpec, chunk: int) -> _Segment:
    """Cut after as many whole rows as fit; the cut depends on dtype and shape alone."""
    cut_bytes, row_elements = MAX_CHUNK_BYTES, 0
    rows_count = math.prod(tensor.shape[:-1])
    if len(tensor.shape) >= _MATRIX_RANK and tensor.length_bytes and rows_count:
        row_bytes, rest = divmod(tensor.length_bytes, rows_count)
        if not rest and row_bytes <= MAX_CHUNK_BYTES:
            cut_bytes -= cut_bytes % row_bytes
            row_elements = 0 if tensor.element is ElementType.BYTES else tensor.shape[-1]
    return _Segment(
        tensor.file_index,
        tensor.offset_bytes,
        tensor.length_bytes,
        chunk,
        cut_bytes,
        tensor.element,
        row_elements,
    )
