"""Lossless transforms of chunks; the id of each is stored in every frame, so never reused."""

from typing import Final

from datanode.codec.codec_port import Codec
from datanode.codec.masksplit import MaskSplit, models
from datanode.codec.raw import Raw
from datanode.codec.zstd import Zstd, compress
from datanode.errors import UnsupportedVersionError
from datanode.model import ElementType

__all__ = ["MASK_SPLIT_ID", "RAW_ID", "Codec", "codec_for", "smallest"]

RAW_ID: Final = Raw.id
MASK_SPLIT_ID: Final = MaskSplit.id
_ZSTD: Final = Zstd()
_MASK_SPLIT: Final = MaskSplit()
_CODECS: Final[dict[int, Codec]] = {codec.id: codec for codec in (Raw(), _ZSTD, _MASK_SPLIT)}
_SAMPLES_COUNT: Final = 4
_SAMPLE_BYTES: Final = 16_384


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
    candidates: list[tuple[int, bytes | memoryview]] = [(RAW_ID, raw)]
    if models(element):
        candidates.append((MaskSplit.id, _MASK_SPLIT.encode(raw, element, row_elements)))
    shortest_bytes = min(len(payload) for _, payload in candidates)
    if len(candidates) == 1 or _may_repeat(memoryview(raw), shortest_bytes):
        candidates.append((Zstd.id, _ZSTD.encode(raw, element, row_elements)))
    return min(candidates, key=lambda candidate: len(candidate[1]))


def _may_repeat(raw: memoryview, shortest_bytes: int) -> bool:
    """Tell whether zstd does better on a sample than the best codec so far on the whole.

    So tied, padded and pruned weights are found. On other weights zstd does not win, and there the
    sample adds 1 % to the encoding, where all of the chunk would add 50 %.
    """
    if len(raw) <= _SAMPLES_COUNT * _SAMPLE_BYTES:
        sample = bytes(raw)
    else:
        step = (len(raw) - _SAMPLE_BYTES) // (_SAMPLES_COUNT - 1)
        starts = range(0, step * _SAMPLES_COUNT, step)
        sample = b"".join(raw[start : start + _SAMPLE_BYTES] for start in starts)
    return len(compress(sample, 1)) * len(raw) < shortest_bytes * len(sample)
