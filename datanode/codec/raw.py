"""Codec 0: the payload is the raw bytes."""

from typing import Final

from datanode.errors import FormatError
from datanode.model import ElementType


class Raw:
    """The fallback for bytes that do not compress; always allowed."""

    id: Final = 0

    def encode(
        self, raw: bytes | memoryview, element: ElementType, row_elements: int
    ) -> bytes | memoryview:
        """Return `raw`."""
        del element, row_elements
        return raw

    def decode(
        self, payload: bytes | memoryview, raw_bytes: int, element: ElementType, row_elements: int
    ) -> bytes | memoryview:
        """Return `payload`, which must have the stated length."""
        del element, row_elements
        if len(payload) != raw_bytes:
            raise FormatError(
                f"a raw payload has {len(payload)} bytes, the header says {raw_bytes}"
            )
        return payload
