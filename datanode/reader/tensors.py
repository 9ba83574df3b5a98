"""Read a tensor or a file, or a part of one, from the chunks that hold it, each verified.

A large tensor starts with its first chunk and ends with its last. Small tensors that follow each
other share a chunk, which is read whole and cut.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from datanode.errors import FormatError
from datanode.manifest import FileEntry, TensorEntry, check_tensor
from datanode.reader.version import JOBS, VerifiedVersion
from datanode.text import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class ByteRange:
    """Consecutive bytes of a version, which may cross chunks but not files.

    Attributes:
        first_chunk: Where they are counted from.
        start_bytes: First byte, counted from the start of that chunk.
        length_bytes: How many.
    """

    first_chunk: int
    start_bytes: int
    length_bytes: int

    def part(self, start_bytes: int, length_bytes: int) -> "ByteRange":
        """Return a part of the range.

        Raises:
            ValueError: It leaves the range.
        """
        if not 0 <= start_bytes <= start_bytes + length_bytes <= self.length_bytes:
            raise ValueError(
                f"bytes {start_bytes} to {start_bytes + length_bytes} of {self.length_bytes}"
            )
        return ByteRange(
            first_chunk=self.first_chunk,
            start_bytes=self.start_bytes + start_bytes,
            length_bytes=length_bytes,
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of one chunk.

    Attributes:
        chunk: The chunk.
        start_bytes: First byte in it.
        length_bytes: How many.
    """

    chunk: int
    start_bytes: int
    length_bytes: int


def read_tensor(
    version: VerifiedVersion,
    entry: TensorEntry,
    *,
    start_bytes: int = 0,
    length_bytes: int | None = None,
    jobs: int = JOBS,
) -> Iterator[bytes]:
    """Yield a tensor's raw little-endian bytes in order; only chunks that hold them are read.

    Args:
        version: Holds the tensor.
        entry: The tensor, as `version` lists it.
        start_bytes: First byte to yield, counted from the start of the tensor.
        length_bytes: How many bytes; None: up to its end.
        jobs: Queries in flight.

    Raises:
        ValueError: The range leaves the tensor.
        FormatError: The tensor does not lie where the manifest says: it was sealed wrong.
        CorruptionError: A chunk is not what the manifest names.
    """
    length_bytes = entry.length_bytes - start_bytes if length_bytes is None else length_bytes
    wanted = range_of_tensor(version, entry).part(start_bytes, length_bytes)
    return read_range(version, wanted, jobs=jobs)


def read_range(version: VerifiedVersion, wanted: ByteRange, *, jobs: int = JOBS) -> Iterator[bytes]:
    """Yield bytes in order; only chunks that hold them are read.

    Raises:
        CorruptionError: A chunk is not what the manifest names.
    """
    pieces = list(pieces_of(version, wanted))
    chunks = version.chunks((piece.chunk for piece in pieces), jobs=jobs)
    for piece, raw in zip(pieces, chunks, strict=True):
        yield raw[piece.start_bytes : piece.start_bytes + piece.length_bytes]


def pieces_of(version: VerifiedVersion, wanted: ByteRange) -> Iterator[Piece]:
    """Cut a range at the borders of chunks.

    Raises:
        NotFoundError: The version ends before the range does.
        CorruptionError: The node has other records of the chunks than the certified ones.
    """
    left = wanted.length_bytes
    if not left:
        return
    chunk, start = version.find_byte(wanted.first_chunk, wanted.start_bytes)
    while left:
        length = min(left, version.record(chunk).raw_bytes - start)
        yield Piece(chunk, start, length)
        left -= length
        chunk, start = chunk + 1, 0


def range_of_tensor(version: VerifiedVersion, entry: TensorEntry) -> ByteRange:
    """Find the bytes of a tensor.

    Raises:
        FormatError: The tensor does not lie where the manifest says: it was sealed wrong.
    """
    check_tensor(version.head, entry, version.chunks_bytes)
    file = version.head.files[entry.file_index]
    end = entry.first_chunk + entry.chunk_count
    start, held_bytes = 0, 0
    if entry.chunk_count:
        start = entry.offset_bytes - version.chunks_bytes(file.first_chunk, entry.first_chunk)
        held_bytes = version.chunks_bytes(entry.first_chunk, end) - start
    if entry.length_bytes > held_bytes:
        raise FormatError(
            f"{printable(entry.name)} needs {entry.length_bytes} bytes, its chunks hold "
            f"{held_bytes}: it was sealed wrong"
        )
    return ByteRange(
        first_chunk=entry.first_chunk, start_bytes=start, length_bytes=entry.length_bytes
    )


def range_of_file(version: VerifiedVersion, entry: FileEntry) -> ByteRange:
    """Find the bytes of a file.

    Raises:
        FormatError: Its chunks hold another number of bytes: it was sealed wrong.
    """
    end = entry.first_chunk + entry.chunk_count
    held_bytes = version.chunks_bytes(entry.first_chunk, end)
    if held_bytes != entry.length_bytes:
        raise FormatError(
            f"{printable(entry.path)} has {entry.length_bytes} bytes, its chunks hold "
            f"{held_bytes}: it was sealed wrong"
        )
    return ByteRange(first_chunk=entry.first_chunk, start_bytes=0, length_bytes=entry.length_bytes)
