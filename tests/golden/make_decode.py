"""Write `tests/golden/decode`: frames that exercise every part of a zstd and mask split decoder.

`python tests/golden/make_decode.py` writes the files that are missing. `canisters/decode` decodes
them, and mutations of them, and compares with an independent decoder. Another zstd library may
encode the same bytes differently; the decoder must read either.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zstandard

from datanode.codec.masksplit import MaskSplit
from datanode.digest import content_digest
from datanode.frame import Frame
from datanode.model import ElementType

FOLDER = Path(__file__).parent / "decode"
WORDS = ("weights", "canister", "the", "of", "cycles", "frame", "\n", "0123456789", "é", " ")


def _text(seed: int, words: int) -> bytes:
    picks = np.random.default_rng(seed).zipf(1.4, words)
    return " ".join(WORDS[pick % len(WORDS)] + str(pick % 89) for pick in picks).encode()


def _weights(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.03, count).astype(np.float32)


def _bf16(values: np.ndarray) -> np.ndarray:
    upper: np.ndarray = (values.view(np.uint32) >> 16).astype("<u2")
    return upper


def _zstd(raw: bytes, level: int, *, checksum: bool = False, window_log: int = 0) -> bytes:
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=len(raw), window_log=window_log, write_checksum=checksum
    )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(raw)


def _frame(codec_id: int, element: ElementType, raw: bytes, payload: bytes) -> bytes:
    return Frame(
        codec_id=codec_id,
        element=element,
        raw_bytes=len(raw),
        content=content_digest(raw),
        row_elements=0,
        payload=payload,
    ).pack()


def _split(element: ElementType, raw: bytes) -> bytes:
    return _frame(2, element, raw, bytes(MaskSplit().encode(raw, element, 0)))


def frames() -> Iterator[tuple[str, bytes]]:
    """Yield names and frames."""
    for level in (1, 3, 9, 19):
        raw = _text(level, 9_000)
        yield f"text_level_{level}", _frame(1, ElementType.BYTES, raw, _zstd(raw, level))
    raw = _text(30, 400)
    yield "text_short", _frame(1, ElementType.BYTES, raw, _zstd(raw, 19))
    raw = _text(31, 2_000)
    yield "text_checksum", _frame(1, ElementType.BYTES, raw, _zstd(raw, 3, checksum=True))
    raw = bytes(300_000) + _text(32, 500) + b"ab" * 90_000 + bytes(range(256))
    yield "runs", _frame(1, ElementType.BYTES, raw, _zstd(raw, 3))
    raw = _text(33, 3_000) * 9
    yield "repeats_small_window", _frame(1, ElementType.BYTES, raw, _zstd(raw, 5, window_log=15))
    noise = np.random.default_rng(34).integers(0, 256, 900, dtype=np.uint8).tobytes()
    raw = noise + bytes(600) + noise
    yield "noise", _frame(1, ElementType.BYTES, raw, _zstd(raw, 3))
    skewed = np.minimum(np.random.default_rng(35).geometric(0.6, 300_000), 40).astype(np.uint8)
    raw = skewed.tobytes()
    yield "skewed_many_blocks", _frame(1, ElementType.BYTES, raw, _zstd(raw, 1))
    raw = _bf16(_weights(1, 21_003)).tobytes()
    yield "bf16", _split(ElementType.BF16, raw)
    raw = _weights(2, 20_005).astype("<f2").tobytes() + b"\x07"
    yield "f16", _split(ElementType.F16, raw)
    raw = (_bf16(_weights(3, 20_000)).astype("<u4") << 16).view("<f4").astype("<f2").tobytes()
    yield "f16_of_bf16", _split(ElementType.F16, raw)
    raw = _weights(4, 9_001).tobytes() + b"\x01\x02\x03"
    yield "f32", _split(ElementType.F32, raw)
    raw = (_bf16(_weights(5, 9_000)).astype("<u4") << 16).tobytes()
    yield "f32_of_bf16", _split(ElementType.F32, raw)
    raw = _bf16(np.abs(_weights(6, 6_000))).tobytes()
    yield "bf16_positive", _split(ElementType.BF16, raw)
    raw = np.full(4_000, 0x3F80, "<u2").tobytes()
    yield "bf16_constant", _split(ElementType.BF16, raw)
    raw = _bf16(_weights(7, 40_000) * np.where(np.arange(40_000) < 30_000, 1, 900)).tobytes()
    yield "bf16_two_scales", _split(ElementType.BF16, raw)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, frame in frames():
        path = FOLDER / f"{name}.bin"
        if not path.exists():
            path.write_bytes(frame)
