"""The rules of a manifest that need its pages: counts, and what lies where.

1. Every chunk page but the last is full, and the pages have the head's chunk count together.
2. The chunks of a file have the file's length together.
3. The tensors rise over all pages, stand once in their file, and are the head's tensor count.
4. A tensor's chunks are chunks of its file, and the first starts at the tensor's offset.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence

from datanode.errors import FormatError
from datanode.limits import MAX_CHUNKS_A_PAGE
from datanode.manifest.head import ManifestHead
from datanode.manifest.pages import TensorEntry, check_order
from datanode.model import ChunkRecord


def check_pages(
    head: ManifestHead,
    chunk_pages: Iterable[Sequence[ChunkRecord]],
    tensor_pages: Iterable[Sequence[TensorEntry]],
) -> None:
    """Check that a head and its parsed pages agree; 8 bytes a chunk are kept in memory.

    Raises:
        FormatError: A rule of this file is broken.
    """
    starts = _starts(head, chunk_pages)  # rules 1 and 2
    tensors = [entry for page in tensor_pages for entry in page]
    if len(tensors) != head.tensor_count:
        raise FormatError(f"{len(tensors)} tensors where the head says {head.tensor_count}")
    check_order(tensors)  # rule 3
    for entry in tensors:
        check_tensor(head, entry, lambda first, end: starts[end] - starts[first])  # rule 4


def _starts(head: ManifestHead, pages: Iterable[Sequence[ChunkRecord]]) -> "array[int]":
    """Return the first byte of every chunk, counted over all files, and the end of the last."""
    starts = array("Q", [0])
    total = 0
    for page in pages:
        if (len(starts) - 1) % MAX_CHUNKS_A_PAGE:
            raise FormatError("a chunk page before the last is not full")
        for record in page:
            total += record.raw_bytes
            starts.append(total)
        if len(starts) - 1 > head.chunk_count:
            break
    if len(starts) - 1 != head.chunk_count:
        raise FormatError(f"the chunk pages do not have {head.chunk_count} records")
    for file in head.files:
        if starts[file.first_chunk + file.chunk_count] - starts[file.first_chunk] != (
            file.length_bytes
        ):
            raise FormatError(f"the chunks of {file.path} do not have its length")
    return starts


def check_tensor(
    head: ManifestHead, entry: TensorEntry, raw_bytes: Callable[[int, int], int]
) -> None:
    """Check rule 4 for one tensor.

    Args:
        head: The head.
        entry: What a page says of the tensor.
        raw_bytes: Counts the raw bytes of the chunks from a first one to before an end.

    Raises:
        FormatError: It lies elsewhere than the entry says.
    """
    if entry.file_index >= len(head.files):
        raise FormatError(f"{entry.name} lies in a file that the manifest does not have")
    file = head.files[entry.file_index]
    end = entry.first_chunk + entry.chunk_count
    if not file.first_chunk <= entry.first_chunk <= end <= file.first_chunk + file.chunk_count:
        raise FormatError(f"the chunks of {entry.name} are not chunks of {file.path}")
    if entry.offset_bytes > file.length_bytes:
        raise FormatError(f"{entry.name} starts beyond the end of {file.path}")
    if entry.chunk_count and raw_bytes(file.first_chunk, entry.first_chunk) != entry.offset_bytes:
        raise FormatError(f"the first chunk of {entry.name} does not start where it does")
