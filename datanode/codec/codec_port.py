"""The protocol that codecs implement."""

from typing import Protocol

from datanode.model import ElementType


class Codec(Protocol):
    """Turn a chunk's raw bytes into a payload and back, without loss and deterministically.

    `decode(encode(raw, e, r), len(raw), e, r) == raw` for all bytes `raw`. One codec object serves
    several threads at a time.
    """

    @property
    def id(self) -> int:
        """The byte that names this codec in a stored frame; never reused."""
        ...

    def encode(
        self, raw: bytes | memoryview, element: ElementType, row_elements: int
    ) -> bytes | memoryview:
        """Return the payload to store; it may be longer than `raw`."""
        ...

    def decode(
        self, payload: bytes | memoryview, raw_bytes: int, element: ElementType, row_elements: int
    ) -> bytes | memoryview:
        """Return exactly `raw_bytes` bytes from an untrusted payload.

        Memory is bounded by a small multiple of `raw_bytes` plus the payload.

        Raises:
            FormatError: The payload is not one of this codec for that many raw bytes.
        """
        ...
