"""The nouns. Frozen, validated on construction, free of I/O."""

from dataclasses import dataclass
from enum import IntEnum

from datanode.digest import DIGEST_BYTES, ContentDigest, FrameDigest
from datanode.limits import (
    FRAME_HEADER_BYTES,
    MAX_CHUNK_BYTES,
    MAX_FRAME_BYTES,
    MAX_NAME_BYTES,
    MAX_RANK,
)


class ElementType(IntEnum):
    """How a codec reads a chunk's raw bytes; stored in frame headers, never renumbered."""

    BYTES = 0
    F16 = 1
    BF16 = 2
    F32 = 3
    F8_E4M3 = 4
    F8_E5M2 = 5

    @property
    def width_bytes(self) -> int:
        """Bytes of one element."""
        return _WIDTHS[self]

    @classmethod
    def of_dtype(cls, dtype: str) -> "ElementType":
        """Map a safetensors dtype name; anything that no codec models is `BYTES`."""
        return cls[dtype] if dtype in cls.__members__ else cls.BYTES


_WIDTHS = {
    ElementType.BYTES: 1,
    ElementType.F16: 2,
    ElementType.BF16: 2,
    ElementType.F32: 4,
    ElementType.F8_E4M3: 1,
    ElementType.F8_E5M2: 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSpec:
    """A file of a checkpoint.

    Attributes:
        path: Relative, `/` between parts, `[A-Za-z0-9._/-]` without `..`.
        length_bytes: Size on disk.
    """

    path: str
    length_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """A tensor inside a file.

    Attributes:
        name: E.g. `model.layers.0.mlp.up_proj.weight`.
        dtype: Safetensors dtype name, e.g. `F16`.
        shape: Extents, outermost first; rank at most 8.
        file_index: Which file of the checkpoint, in manifest order.
        offset_bytes: First byte, counted from the start of the *file*.
        length_bytes: Bytes of the tensor's data; zero when an extent is zero.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    file_index: int
    offset_bytes: int
    length_bytes: int

    def __post_init__(self) -> None:
        if not self.name or len(self.name.encode()) > MAX_NAME_BYTES:
            raise ValueError("a tensor name has 1 to 512 bytes")
        if len(self.shape) > MAX_RANK:
            raise ValueError("a tensor has at most 8 dimensions")

    @property
    def element(self) -> ElementType:
        """The element type that a codec uses for this tensor."""
        return ElementType.of_dtype(self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSpec:
    """Where a chunk comes from, before anyone has read its bytes.

    Attributes:
        index: Position in the manifest, from zero, no gaps.
        file_index: Which file of the checkpoint.
        offset_bytes: First byte, counted from the start of the file.
        length_bytes: Raw size, at least 1.
        element: How a codec reads the bytes.
        row_elements: Elements in a row of the tensor; 0 where there are no rows.
    """

    index: int
    file_index: int
    offset_bytes: int
    length_bytes: int
    element: ElementType
    row_elements: int

    def __post_init__(self) -> None:
        if not 0 < self.length_bytes <= MAX_CHUNK_BYTES:
            raise ValueError(f"a chunk has 1 to {MAX_CHUNK_BYTES} bytes: {self.length_bytes}")
        if min(self.index, self.file_index, self.offset_bytes, self.row_elements) < 0:
            raise ValueError(f"positions count from zero: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRecord:
    """Record of a chunk in the manifest.

    Attributes:
        content: Digest of the raw bytes.
        frame: Digest and address of the frame.
        raw_bytes: Raw size.
        frame_bytes: Size of the frame, header included.
        codec_id: The codec that wrote the frame.
        element: How it read the raw bytes.
    """

    content: ContentDigest
    frame: FrameDigest
    raw_bytes: int
    frame_bytes: int
    codec_id: int
    element: ElementType

    def __post_init__(self) -> None:
        if len(self.content) != DIGEST_BYTES or len(self.frame) != DIGEST_BYTES:
            raise ValueError("a digest has 32 bytes")
        if not 0 < self.raw_bytes <= MAX_CHUNK_BYTES:
            raise ValueError(f"raw size out of range: {self.raw_bytes}")
        if not FRAME_HEADER_BYTES <= self.frame_bytes <= MAX_FRAME_BYTES:
            raise ValueError(f"frame size out of range: {self.frame_bytes}")
