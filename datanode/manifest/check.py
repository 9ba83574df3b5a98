"""The rules of a manifest that need its pages: counts, and what lies where.

1. Every chunk page but the last is full, and the pages have the head's chunk count together.
2. The chunks of a file have the file's length together.
3. The tensors rise over all pages, stand once in their file, and are the head's tensor count.
4. A tensor's chunks are chunks of its file, and its first byte lies in the first of them. Small
   tensors that follow each other share a chunk; a large one starts with its first chunk.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from datanode.errors import FormatError
from datanode.limits import MAX_CHUNKS_A_PAGE
from datanode.manifest.head import ManifestHead
from datanode.manifest.pages import TensorEntry, rising
from datanode.model import ChunkRecord
from datanode.text import printable


def check_pages(
    head: ManifestHead,
    chunk_pages: Iterable[Sequence[ChunkRecord]],
    tensor_pages: Iterable[Sequence[TensorEntry]],
) -> None:
    """Check that a head and its parsed pages agree.

    Kept in memory are 8 bytes a chunk and the names of one file.

    Raises:
        FormatError: A rule of this file is broken.
    """
    starts = _starts(head, chunk_pages)  # rules 1 and 2
    count = 0
    for entry in rising(chain.from_iterable(tensor_pages)):  # rule 3
        check_tensor(head, entry, lambda first, end: starts[end] - starts[first])  # rule 4
        count += 1
    if count != head.tensor_count:
        raise FormatError(f"{count} tensors where the head says {head.tensor_count}")


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
        raise FormatError(f"{printable(entry.name)} lies in a file that the manifest does not have")
    file = head.files[entry.file_index]
    end = entry.first_chunk + entry.chunk_count
    if not file.first_chunk <= entry.first_chunk <= end <= file.first_chunk + file.chunk_count:
        raise FormatError(f"the chunks of {printable(entry.name)} are not chunks of {file.path}")
    if entry.offset_bytes > file.length_bytes:
        raise FormatError(f"{printable(entry.name)} starts beyond the end of {file.path}")
    if not entry.chunk_count:
        return
    start = raw_bytes(file.first_chunk, entry.first_chunk)
    if not 0 <= entry.offset_bytes - start < raw_bytes(entry.first_chunk, entry.first_chunk + 1):
        raise FormatError(
            f"the first byte of {printable(entry.name)} does not lie in its first chunk"
        )
