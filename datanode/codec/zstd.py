"""Codec 1: the payload is one zstd frame (RFC 8878) of the raw bytes.

Rules beyond the RFC, for codec 1 and for every zstd stream inside another codec's payload: it is
one frame, not a skippable one; its header states the content size, and that is the expected one;
it needs no dictionary; its window is at most 2 MiB; nothing follows it. So a decoder knows the
size of the output and of the window before it decompresses a single block.
"""

import threading
from typing import Final

import zstandard

from datanode.errors import FormatError
from datanode.limits import MAX_CHUNK_BYTES
from datanode.model import ElementType
from datanode.units import MIB

MAX_WINDOW_BYTES: Final = 2 * MIB
LEVEL: Final = 3
"""For text and tables; on weights every positive level gives the same size within 0.2 %."""

_MAGIC: Final = b"\x28\xb5\x2f\xfd"


class _Contexts(threading.local):
    """The compression contexts of one thread: they are costly to make and not thread-safe."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        if level not in self.compressors:
            self.compressors[level] = zstandard.ZstdCompressor(
                level=level, write_content_size=True, write_checksum=False, write_dict_id=False
            )
        return self.compressors[level]


_CONTEXTS: Final = _Contexts()


def compress(data: bytes | memoryview, level: int) -> bytes:
    """Compress at a positive level: the negative ones switch the Huffman stage off."""
    if level < 1 or len(data) > MAX_CHUNK_BYTES:
        raise ValueError(f"zstd level {level} for {len(data)} bytes")
    return _CONTEXTS.compressor(level).compress(data)


def decompress(stream: bytes | memoryview, expected_bytes: int) -> bytes:
    """Decompress an untrusted stream to exactly `expected_bytes`, never allocating more.

    Raises:
        FormatError: The stream breaks a rule of this file, or does not decompress.
    """
    if bytes(stream[: len(_MAGIC)]) != _MAGIC:
        raise FormatError("a zstd stream does not start with a zstd frame")
    try:
        header = zstandard.get_frame_parameters(stream)
        if header.content_size != expected_bytes or expected_bytes > MAX_CHUNK_BYTES:
            # One-shot decompression allocates what the stream states, so this check is the bound.
            raise FormatError(f"a zstd stream does not state a size of {expected_bytes} bytes")
        if header.dict_id or header.window_size > MAX_WINDOW_BYTES:
            raise FormatError("a zstd stream needs a dictionary or too large a window")
        data = _CONTEXTS.decompressor.decompress(stream, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError(f"a zstd stream does not decompress: {error}") from error
    if len(data) != expected_bytes:
        raise FormatError(f"a zstd stream gives {len(data)} bytes instead of {expected_bytes}")
    return data


class Zstd:
    """Text, tables, and everything else that no codec models."""

    id: Final = 1

    def encode(
        self, raw: bytes | memoryview, element: ElementType, row_elements: int
    ) -> bytes | memoryview:
        """Compress at the one level that is used for whole chunks."""
        del element, row_elements
        return compress(raw, LEVEL)

    def decode(
        self, payload: bytes | memoryview, raw_bytes: int, element: ElementType, row_elements: int
    ) -> bytes | memoryview:
        """Decompress, checking the stated size before anything is allocated."""
        del element, row_elements
        return decompress(payload, raw_bytes)
