"""Lossless transforms of chunks; the id of each is stored in every frame, so never reused."""

from typing import Final

from datanode.codec.base import Codec
from datanode.codec.masksplit import MaskSplit, models
from datanode.codec.raw import Raw
from datanode.codec.zstd import Zstd
from datanode.errors import UnsupportedVersionError
from datanode.model import ElementType

__all__ = ["RAW_ID", "Codec", "codec_for", "smallest"]

RAW_ID: Final = Raw.id
_CODECS: Final[dict[int, Codec]] = {codec.id: codec for codec in (Raw(), Zstd(), MaskSplit())}


def codec_for(codec_id: int) -> Codec:
    """Return the codec that a frame names.

    Raises:
        UnsupportedVersionError: This release does not know it.
    """
    try:
        return _CODECS[codec_id]
    except KeyError:
        raise UnsupportedVersionError(f"codec {codec_id} is not known") from None


def smallest(
    raw: bytes | memoryview, element: ElementType, row_elements: int
) -> tuple[int, bytes | memoryview]:
    """Encode with every codec that may pay, and keep the shortest payload; ties go to raw."""
    codec_id = MaskSplit.id if models(element) else Zstd.id
    payload = codec_for(codec_id).encode(raw, element, row_elements)
    return (codec_id, payload) if len(payload) < len(raw) else (RAW_ID, raw)
