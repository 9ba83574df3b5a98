"""datanode.codec.masksplit, bits and masks: every pattern survives, every length is checked."""

import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datanode.codec import bits, masks, smallest, zstd
from datanode.codec.masksplit import PLANE, PREFIX, MaskSplit
from datanode.errors import FormatError
from datanode.limits import MAX_CHUNK_BYTES
from datanode.model import ElementType

CODEC = MaskSplit()
FLOATS = st.sampled_from([ElementType.F16, ElementType.BF16, ElementType.F32])
WORDS = hnp.arrays(np.uint16, st.integers(0, 300))
F16 = ElementType.F16


def normal(count: int, seed: int = 7) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(count) * 0.04).astype(np.float32)


def as_bf16(values: np.ndarray) -> np.ndarray:
    return (values.view(np.uint32) >> 16).astype("<u2")


def round_trip(raw: bytes, element: ElementType) -> bytes:
    payload = CODEC.encode(raw, element, 0)
    assert bytes(CODEC.decode(payload, len(raw), element, 0)) == raw
    return bytes(payload)


@given(WORDS, st.integers(0, 0xFFFF))
def test_the_raw_plane_gives_the_bits_outside_the_mask_back(words: np.ndarray, mask: int) -> None:
    plane = bits.pack(words, mask)
    assert len(plane) == bits.plane_bytes(mask, len(words))
    unpacked = bits.unpack(memoryview(plane), mask, len(words))
    assert np.array_equal(unpacked, words & np.uint16(0xFFFF ^ mask))


@given(WORDS.filter(len), st.integers(0, 0xFFFE))
def test_the_raw_plane_is_what_its_table_says(words: np.ndarray, mask: int) -> None:
    positions = [bit for bit in range(16) if not mask >> bit & 1]
    eighth = -(-len(words) // 8)
    fields = [sum((int(w) >> p & 1) << i for i, p in enumerate(positions)) for w in words]
    fields += [0] * (8 * eighth - len(words))
    expected = b""
    for width in (16, 8, 4, 2, 1):
        if not len(positions) & width:
            continue
        values = [field & ((1 << width) - 1) for field in fields]
        fields = [field >> width for field in fields]
        if width == 16:
            expected += struct.pack(f"<{len(values)}H", *values)
            continue
        length = width * eighth
        expected += bytes(
            sum(values[j + k * length] << k * width for k in range(8 // width))
            for j in range(length)
        )
    assert bits.pack(words, mask) == expected


def test_the_padding_of_the_raw_plane_is_checked() -> None:
    plane = bytearray(bits.pack(np.arange(9, dtype=np.uint16), 0xFF00))
    plane[9] = 1
    with pytest.raises(FormatError, match="padding"):
        bits.unpack(memoryview(plane), 0xFF00, 9)


@given(st.binary(max_size=700), FLOATS)
def test_arbitrary_bytes_of_any_length_survive(raw: bytes, element: ElementType) -> None:
    round_trip(raw, element)


@pytest.mark.parametrize("element", [ElementType.F16, ElementType.BF16, ElementType.F32])
def test_all_patterns_of_16_bits_survive(element: ElementType) -> None:
    patterns = np.arange(65_536, dtype="<u2")
    round_trip(patterns.tobytes(), element)
    round_trip(np.random.default_rng(1).permutation(patterns).tobytes() + b"!", element)
    common = np.concatenate([np.full(500_000, 0x3C00, "<u2"), patterns])
    round_trip(common.tobytes(), element)


@pytest.mark.parametrize("tail", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 65_535, 65_537])
def test_every_size_survives(count: int, tail: int) -> None:
    raw = normal(count).tobytes() + b"tail"[:tail]
    for element in (ElementType.F16, ElementType.BF16, ElementType.F32):
        round_trip(raw, element)


def test_the_largest_chunk_survives() -> None:
    round_trip(normal(MAX_CHUNK_BYTES // 2).astype("<f2").tobytes(), F16)


def test_bf16_origin_costs_the_same_whatever_type_holds_it() -> None:
    upper = as_bf16(normal(200_000))
    wide = upper.astype("<u4") << 16
    sizes = [
        len(round_trip(upper.tobytes(), ElementType.BF16)),
        len(round_trip(wide.tobytes(), ElementType.F32)),
        len(round_trip(wide.view("<f4").astype("<f2").tobytes(), F16)),
    ]
    assert max(sizes) < 1.005 * min(sizes)
    assert max(sizes) * 8 / 200_000 < 10.75


def test_f16_origin_in_f32_costs_hardly_more_than_in_f16() -> None:
    values = normal(200_000).astype("<f2")
    narrow = round_trip(values.tobytes(), F16)
    wide = round_trip(values.astype("<f4").tobytes(), ElementType.F32)
    assert len(wide) < 1.01 * len(narrow) < 1.01 * 13.75 / 8 * 200_000


def test_genuine_f32_still_gains() -> None:
    assert len(round_trip(normal(200_000).tobytes(), ElementType.F32)) * 8 / 200_000 < 26.8


def test_constant_planes_cost_their_headers_alone() -> None:
    assert len(round_trip(bytes(100_000), ElementType.F32)) == 4 + 2 * 16 + 2 * 2


@given(WORDS, st.sampled_from(masks.WordKind))
def test_a_split_has_the_most_frequent_symbols_in_order(
    words: np.ndarray, kind: masks.WordKind
) -> None:
    split = masks.choose(np.bincount(words, minlength=65_536), kind)
    counts = np.bincount(words & np.uint16(split.mask), minlength=65_536)
    order = [(-int(counts[symbol]), int(symbol)) for symbol in split.symbols]
    assert order == sorted(order)
    assert len(words) == counts[split.symbols].sum() + split.patched_count
    assert 1 <= len(split.symbols) <= 256
    assert not (split.symbols & np.uint16(0xFFFF ^ split.mask)).any()


def test_rare_values_are_patched_rather_than_refused() -> None:
    rng = np.random.default_rng(3)
    words = rng.integers(0, 65_536, 256).astype("<u2")[rng.integers(0, 256, 9000)]
    words[::200] = rng.integers(0, 65_536, 45)
    payload = round_trip(words.tobytes(), F16)
    mask, symbol_count, patch_count, _, _ = PLANE.unpack_from(payload, PREFIX.size)
    assert (mask, symbol_count) == (0xFFFF, 256)
    assert 40 <= patch_count <= 45


def test_several_threads_may_encode_at_once() -> None:
    chunks = [normal(60_000, seed).astype("<f2").tobytes() for seed in range(8)]
    alone = [CODEC.encode(chunk, F16, 0) for chunk in chunks]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda chunk: CODEC.encode(chunk, F16, 0), chunks * 3)) == alone * 3


def test_smallest_finds_what_only_zstd_can() -> None:
    tied = np.tile(normal(2048).astype("<f2"), 100).tobytes()
    assert smallest(tied, F16, 2048)[0] == 1
    assert smallest(normal(200_000).astype("<f2").tobytes(), F16, 0)[0] == 2
    assert smallest(np.random.default_rng(2).bytes(50_000), F16, 0)[0] == 0
    assert smallest(b"text " * 100, ElementType.BYTES, 0)[0] == 1


def test_types_without_a_model_are_refused() -> None:
    with pytest.raises(FormatError, match="F8_E4M3"):
        CODEC.encode(b"abcd", ElementType.F8_E4M3, 0)
    with pytest.raises(FormatError, match="BYTES"):
        CODEC.decode(b"abcd", 4, ElementType.BYTES, 0)


def hand_made(**changes: int | bytes) -> bytes:
    """Two symbols, one patch, nine words of F16; each part can be changed."""
    parts: dict[str, int | bytes] = {
        "planes": 1,
        "reserved": bytes(3),
        "mask": 0xFF00,
        "symbols": 2,
        "patches": 1,
        "zero": bytes(4),
        "table": struct.pack("<HH", 0x3C00, 0xBC00),
        "position": struct.pack("<I", 8),
        "patch": struct.pack("<H", 0x7F00),
        "plane": bytes(range(9)) + bytes(7),
        "stream": zstd.compress(bytes([0, 1, 0, 1, 0, 1, 0, 1, 0]), 1),
        "tail": b"",
    }
    parts.update(changes)
    stream = parts["stream"]
    assert isinstance(stream, bytes)
    prefix = PREFIX.pack(parts["planes"], parts["reserved"])
    header = PLANE.pack(
        parts["mask"], parts["symbols"], parts["patches"], len(stream), parts["zero"]
    )
    names = ("table", "position", "patch", "plane", "stream", "tail")
    body = b"".join(part for name in names if isinstance(part := parts[name], bytes))
    return prefix + header + body


def test_a_payload_made_by_hand_from_the_table_decodes() -> None:
    words = [0x3C00, 0xBC01, 0x3C02, 0xBC03, 0x3C04, 0xBC05, 0x3C06, 0xBC07, 0x7F08]
    assert bytes(CODEC.decode(hand_made(), 18, F16, 0)) == struct.pack("<9H", *words)


@pytest.mark.parametrize(
    "changes",
    [
        {"planes": 2},
        {"planes": 0},
        {"reserved": b"\0\0\1"},
        {"zero": b"\0\1\0\0"},
        {"symbols": 0},
        {"symbols": 1},
        {"symbols": 257},
        {"symbols": 3},
        {"patches": 0},
        {"patches": 2**32 - 1},
        {"mask": 0xFE00},
        {"table": struct.pack("<HH", 0x3C00, 0xBC01)},
        {"patch": struct.pack("<H", 0x7F01)},
        {"position": struct.pack("<I", 9)},
        {"position": struct.pack("<I", 2**32 - 1)},
        {"plane": bytes(range(10)) + bytes(6)},
        {"stream": zstd.compress(bytes([0, 1, 0, 1, 0, 1, 0, 2, 0]), 1)},
        {"stream": zstd.compress(bytes(8), 1)},
        {"stream": zstd.compress(bytes(10), 1)},
        {"stream": b""},
        {"stream": b"garbage"},
        {"tail": b"\0"},
    ],
)
def test_every_part_of_a_payload_is_checked(changes: dict[str, int | bytes]) -> None:
    with pytest.raises(FormatError):
        CODEC.decode(hand_made(**changes), 18, F16, 0)


def test_patches_must_rise() -> None:
    patch = struct.pack("<HH", 0x7F00, 0x7F00)
    for positions in ((5, 5), (6, 5)):
        position = struct.pack("<II", *positions)
        payload = hand_made(patches=2, position=position, patch=patch)
        with pytest.raises(FormatError, match="patches"):
            CODEC.decode(payload, 18, F16, 0)
