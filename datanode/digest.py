"""The digests: BLAKE3-256 for chunks and frames, SHA-256 for files.

A content digest names raw bytes ("have I seen these weights?"), a frame digest names a frame's
bytes and is its address ("is this what I asked for?"). The two must not be mixed, so each is a
type of its own; every place that accepts one from outside checks its length.
"""

from typing import Final, NewType

from blake3 import blake3

DIGEST_BYTES: Final = 32

ContentDigest = NewType("ContentDigest", bytes)
"""BLAKE3-256 of a chunk's raw bytes."""

FrameDigest = NewType("FrameDigest", bytes)
"""BLAKE3-256 of a frame's bytes, header included: the frame's address."""


def content_digest(raw: bytes | memoryview) -> ContentDigest:
    """Compute the digest of a chunk's raw bytes."""
    return ContentDigest(blake3(raw).digest())


def frame_digest(frame: bytes | memoryview) -> FrameDigest:
    """Compute the address of a frame."""
    return FrameDigest(blake3(frame).digest())
