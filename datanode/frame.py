"""The frame: one chunk as it travels and as it is stored.

Version 1, little-endian::

    offset size field
         0    4 magic b"DNCF"
         4    1 version, 1
         5    1 codec id: 0 raw, 1 zstd, 2 mask split (datanode/codec)
         6    1 element type, how the codec read the raw bytes: 0 bytes, 1 F16, 2 BF16, 3 F32,
                4 F8_E4M3, 5 F8_E5M2
         7    1 reserved, zero
         8    4 raw length, bytes, at most MAX_CHUNK_BYTES (2,080,768)
        12    4 payload length, bytes, at most the raw length; codec 0: the raw length
        16   32 content digest: BLAKE3-256 of the raw bytes, the writer's claim until opened
        48    4 row length, elements; 0: no rows. Else the element type is not `bytes` and the
                raw bytes are whole rows
        52   12 reserved, zero
        64    - payload; a trailing byte is an error

The frame's address is the BLAKE3-256 of all its bytes. Reserved bytes are read strictly, so that
a later version can give them a meaning.
"""

import struct
from dataclasses import dataclass
from typing import Final

from datanode.codec import MASK_SPLIT_ID, RAW_ID, codec_for, compiled, smallest
from datanode.digest import DIGEST_BYTES, ContentDigest, content_digest
from datanode.errors import CorruptionError, FormatError, UnsupportedVersionError
from datanode.limits import FRAME_HEADER_BYTES, MAX_CHUNK_BYTES
from datanode.model import ElementType

MAGIC: Final = b"DNCF"
VERSION: Final = 1
HEADER: Final = struct.Struct("<4sBBBBII32sI12s")
_RESERVED: Final = bytes(12)
_MAX_CODEC_ID: Final = 0xFF
_MAX_U32: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame whose lengths agree; its content is not verified before `open`.

    Attributes:
        codec_id: How the payload is encoded; may be unknown to this release.
        element: How the codec read the raw bytes.
        raw_bytes: Length of the raw bytes.
        content: Digest of the raw bytes, as the writer claims.
        row_elements: Elements in a row; 0 for no rows.
        payload: The encoded bytes.
    """

    codec_id: int
    element: ElementType
    raw_bytes: int
    content: ContentDigest
    row_elements: int
    payload: bytes | memoryview

    def __post_init__(self) -> None:
        if not 0 <= self.codec_id <= _MAX_CODEC_ID or len(self.content) != DIGEST_BYTES:
            raise FormatError("a codec id has one byte, a digest 32")
        if not 0 <= self.raw_bytes <= MAX_CHUNK_BYTES:
            raise FormatError(f"raw length {self.raw_bytes}, the limit is {MAX_CHUNK_BYTES}")
        if len(self.payload) > self.raw_bytes:
            raise FormatError(f"payload of {len(self.payload)} bytes for {self.raw_bytes} raw ones")
        if self.codec_id == RAW_ID and len(self.payload) != self.raw_bytes:
            raise FormatError("a raw payload does not have the raw length")
        row_bytes = self.row_elements * self.element.width_bytes
        if not 0 <= self.row_elements <= _MAX_U32 or (
            row_bytes and (self.element is ElementType.BYTES or self.raw_bytes % row_bytes)
        ):
            raise FormatError(
                f"{self.raw_bytes} bytes are not rows of {self.row_elements} elements"
            )

    def pack(self) -> bytes:
        """Serialise; equal frames give equal bytes."""
        return b"".join((self._header(), self.payload))

    def _header(self) -> bytes:
        return HEADER.pack(
            MAGIC,
            VERSION,
            self.codec_id,
            self.element,
            0,
            self.raw_bytes,
            len(self.payload),
            self.content,
            self.row_elements,
            _RESERVED,
        )

    def open(self) -> bytes:
        """Decode the payload and check it against the content digest.

        Raises:
            UnsupportedVersionError: The codec is not known to this release.
            FormatError: The payload is not one of the codec.
            CorruptionError: The raw bytes are not those that the header names.
        """
        raw = self._compiled() or self._decode()
        if content_digest(raw) != self.content:
            raise CorruptionError("a frame does not open to the bytes that its header names")
        return bytes(raw)

    def _compiled(self) -> bytes | None:
        """Decode codec 2 by the compiled decoder, if it is its turn; libzstd is as fast as it."""
        if self.codec_id != MASK_SPLIT_ID:
            return None
        return compiled.decode(self._header(), self.payload)

    def _decode(self) -> bytes | memoryview:
        codec = codec_for(self.codec_id)
        return codec.decode(self.payload, self.raw_bytes, self.element, self.row_elements)


def seal(
    raw: bytes | memoryview,
    element: ElementType,
    row_elements: int,
    *,
    content: ContentDigest | None = None,
) -> bytes:
    """Wrap raw bytes in their smallest frame, decoded once and compared.

    Args:
        raw: At most MAX_CHUNK_BYTES.
        element: How a codec may read them.
        row_elements: Elements in a row; 0 for no rows.
        content: Digest of `raw`, if the caller has it already; it is not checked.
    """
    digest = content_digest(raw) if content is None else content
    codec_id, payload = smallest(raw, element, row_elements)
    frame = Frame(codec_id, element, len(raw), digest, row_elements, payload)
    if codec_id != RAW_ID and not _opens_to(frame, raw):
        # A broken encoder must not cost cycles, let alone weights.
        frame = Frame(RAW_ID, element, len(raw), digest, row_elements, raw)
    return frame.pack()


def seal_raw(raw: bytes | memoryview) -> bytes:
    """Wrap bytes in a frame of codec 0, whose address depends on nothing but the bytes."""
    return Frame(RAW_ID, ElementType.BYTES, len(raw), content_digest(raw), 0, raw).pack()


def parse(data: bytes | memoryview) -> Frame:
    """Read a frame from untrusted bytes; the payload is a view of them.

    Raises:
        UnsupportedVersionError: The version or the element type is not known to this release.
        FormatError: The bytes break the table of this file.
    """
    if len(data) < FRAME_HEADER_BYTES:
        raise FormatError(f"{len(data)} bytes are shorter than a frame's header")
    (magic, version, codec_id, element, zero, raw_bytes, payload_bytes, content, row, reserved) = (
        HEADER.unpack_from(data)
    )
    if magic != MAGIC:
        raise FormatError("not a frame: wrong magic")
    if version != VERSION:
        raise UnsupportedVersionError(f"frame version {version}, this release reads {VERSION}")
    if zero or reserved != _RESERVED:
        raise FormatError("reserved bytes of a frame are not zero")
    if FRAME_HEADER_BYTES + payload_bytes != len(data):
        raise FormatError(
            f"payload of {payload_bytes} bytes in a frame of {len(data)}, header included"
        )
    try:
        element = ElementType(element)
    except ValueError:
        raise UnsupportedVersionError(f"element type {element} is not known") from None
    payload = memoryview(data)[FRAME_HEADER_BYTES:]
    return Frame(codec_id, element, raw_bytes, ContentDigest(content), row, payload)


def _opens_to(frame: Frame, raw: bytes | memoryview) -> bool:
    try:
        decoded = frame._decode()  # noqa: SLF001 - same file
    except FormatError:
        return False
    # Two copies and a memcmp are faster than comparing views, which goes element by element.
    return bytes(decoded) == bytes(raw)
