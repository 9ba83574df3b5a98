"""The pages of a manifest: fixed records of chunks, CBOR entries of tensors.

A chunk page is 1 to 16,384 records of 80 bytes and nothing else; all pages of a manifest but the
last are full. A record, little-endian::

    offset size field
         0   32 content digest of the raw bytes
        32   32 frame digest
        64    4 raw length, bytes, 1 to MAX_CHUNK_BYTES (2,080,768)
        68    4 frame length, bytes, header included
        72    1 codec id, as in the frame (datanode/frame.py)
        73    1 element type, as in the frame
        74    6 reserved, zero

A tensor page is a deterministic CBOR array of 1 to 4,096 entries, at most 1 MiB::

    [name, dtype, [extent, ...], file index, offset in the file, first chunk, chunk count]

The dtype is safetensors' word. The offset counts from the start of the file, the chunks from that
of the manifest. They are chunks of the file, and the offset lies in the first of them: small
tensors that follow each other share a chunk (`uploader/grouping.py`). A tensor has as many bytes as
its dtype and shape ask for (`datanode/dtypes.py`). A tensor without elements has no chunks; its
first one is then any of its file, or the end of the file's.
Entries rise by (file index, offset, name); a name stands once in a file. A page ends where the
next entry would break a limit, so that the same tensors always give the same pages.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from datanode import cbor
from datanode.digest import ContentDigest, FrameDigest
from datanode.dtypes import tensor_bytes
from datanode.errors import FormatError, UnsupportedVersionError
from datanode.limits import (
    CHUNK_RECORD_BYTES,
    MAX_CHUNKS_A_PAGE,
    MAX_NAME_BYTES,
    MAX_RANK,
    MAX_TENSORS_A_PAGE,
)
from datanode.model import ChunkRecord, ElementType
from datanode.text import printable
from datanode.units import MIB

MAX_TENSOR_PAGE_BYTES: Final = 1 * MIB
MAX_DTYPE_BYTES: Final = 16
RECORD: Final = struct.Struct("<32s32sIIBB6s")
_ZERO: Final = bytes(6)
_ELEMENTS: Final = {element.value: element for element in ElementType}
_WHAT: Final = "tensor page"
_TENSOR_FIELDS: Final = 7
_LEAST_ENTRY_BYTES: Final = 8
_MAX_U32: Final = 2**32 - 1
_MAX_U64: Final = 2**64 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorEntry:
    """Entry of a tensor in the manifest.

    Attributes:
        name: 1 to 512 bytes, unique in its file.
        dtype: Safetensors dtype name.
        shape: Extents, outermost first; rank at most 8.
        file_index: Which file of the head.
        offset_bytes: First byte, counted from the start of the file.
        first_chunk: Its first chunk, counted over the whole manifest.
        chunk_count: How many chunks; 0 for a tensor without elements.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file_index: int
    offset_bytes: int
    first_chunk: int
    chunk_count: int

    def __post_init__(self) -> None:
        for value, most in ((self.name, MAX_NAME_BYTES), (self.dtype, MAX_DTYPE_BYTES)):
            if not 1 <= len(value.encode(errors="replace")) <= most:
                raise FormatError(f"a name of a tensor or dtype has 1 to {most} bytes")
        if len(self.shape) > MAX_RANK or not all(0 <= n <= _MAX_U64 for n in self.shape):
            raise FormatError(f"not a shape of a tensor: {self.shape}")
        if not 0 <= self.offset_bytes <= _MAX_U64:
            raise FormatError(f"not an offset of a tensor: {self.offset_bytes}")
        numbers = (self.file_index, self.first_chunk, self.chunk_count)
        if not all(0 <= number <= _MAX_U32 for number in numbers):
            raise FormatError(f"an index of {printable(self.name)} is out of range")

    @property
    def place(self) -> tuple[int, int, str]:
        """Return the sort key of entries."""
        return self.file_index, self.offset_bytes, self.name

    @property
    def length_bytes(self) -> int:
        """How many bytes the tensor takes in its file.

        Raises:
            FormatError: The dtype is not known to this release.
        """
        return tensor_bytes(self.dtype, self.shape)


def pack_record(record: ChunkRecord) -> bytes:
    """Serialise one chunk record."""
    return RECORD.pack(
        record.content,
        record.frame,
        record.raw_bytes,
        record.frame_bytes,
        record.codec_id,
        record.element,
        _ZERO,
    )


def parse_chunk_page(raw: bytes | memoryview) -> tuple[ChunkRecord, ...]:
    """Read a chunk page from untrusted bytes.

    Raises:
        UnsupportedVersionError: An element type is not known to this release.
        FormatError: The bytes break the table of this file.
    """
    count, rest = divmod(len(raw), CHUNK_RECORD_BYTES)
    if rest or not 1 <= count <= MAX_CHUNKS_A_PAGE:
        raise FormatError(f"{len(raw)} bytes are not a chunk page")
    return tuple(map(_record, RECORD.iter_unpack(raw)))


def _record(fields: tuple[bytes, bytes, int, int, int, int, bytes]) -> ChunkRecord:
    content, address, raw_bytes, frame_bytes, codec_id, element, zero = fields
    if zero != _ZERO:
        raise FormatError("reserved bytes of a chunk record are not zero")
    if element not in _ELEMENTS:
        raise UnsupportedVersionError(f"element type {element} is not known")
    try:
        return ChunkRecord(
            content=ContentDigest(content),
            frame=FrameDigest(address),
            raw_bytes=raw_bytes,
            frame_bytes=frame_bytes,
            codec_id=codec_id,
            element=_ELEMENTS[element],
        )
    except ValueError as error:
        raise FormatError(f"chunk record: {error}") from None


def pack_tensor_pages(entries: Iterable[TensorEntry]) -> Iterator[bytes]:
    """Serialise entries, which must be in order, into full pages."""
    page: list[bytes] = []
    size_bytes = 0
    for entry in entries:
        encoded = _pack_entry(entry)
        size_bytes += len(encoded)
        head_bytes = len(cbor.head(cbor.ARRAY, len(page) + 1))
        if len(page) == MAX_TENSORS_A_PAGE or head_bytes + size_bytes > MAX_TENSOR_PAGE_BYTES:
            yield cbor.array(page)
            page = []
            size_bytes = len(encoded)
        page.append(encoded)
    if page:
        yield cbor.array(page)


def _pack_entry(entry: TensorEntry) -> bytes:
    return cbor.array(
        (
            cbor.text(entry.name),
            cbor.text(entry.dtype),
            cbor.array(map(cbor.uint, entry.shape)),
            cbor.uint(entry.file_index),
            cbor.uint(entry.offset_bytes),
            cbor.uint(entry.first_chunk),
            cbor.uint(entry.chunk_count),
        )
    )


def parse_tensor_page(raw: bytes | memoryview) -> tuple[TensorEntry, ...]:
    """Read a tensor page from untrusted bytes.

    Raises:
        FormatError: The bytes break the rules of this file.
    """
    if len(raw) > MAX_TENSOR_PAGE_BYTES:
        raise FormatError(f"a tensor page of {len(raw)} bytes")
    reader = cbor.CborReader(raw, _WHAT)
    count = reader.array(_LEAST_ENTRY_BYTES)
    if not 1 <= count <= MAX_TENSORS_A_PAGE:
        raise FormatError(f"a tensor page of {count} entries")
    entries = tuple(_parse_entry(reader) for _ in range(count))
    reader.end()
    for _ in rising(entries):
        pass
    return entries


def _parse_entry(reader: cbor.CborReader) -> TensorEntry:
    reader.tuple(_TENSOR_FIELDS)
    name = reader.text(MAX_NAME_BYTES)
    dtype = reader.text(MAX_DTYPE_BYTES)
    rank = reader.array(1)
    if rank > MAX_RANK:
        raise FormatError(f"a tensor of rank {rank}")
    return TensorEntry(
        name=name,
        dtype=dtype,
        shape=tuple(reader.u64() for _ in range(rank)),
        file_index=reader.u32(),
        offset_bytes=reader.u64(),
        first_chunk=reader.u32(),
        chunk_count=reader.u32(),
    )


def rising(entries: Iterable[TensorEntry]) -> Iterator[TensorEntry]:
    """Pass entries on while they rise and no name stands twice in a file.

    Raises:
        FormatError: The next one does not.
    """
    last: TensorEntry | None = None
    names: set[str] = set()
    for entry in entries:
        if last is not None:
            # Python orders text by code points, which is the order of its UTF-8 bytes.
            if last.place >= entry.place:
                raise FormatError("tensors of a manifest do not rise by file, offset and name")
            if entry.file_index != last.file_index:
                names.clear()
        if entry.name in names:
            raise FormatError("a tensor stands twice in a file of a manifest")
        names.add(entry.name)
        last = entry
        yield entry
