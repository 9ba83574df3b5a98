"""Mutated frames, payloads, manifests and placement records: a typed error each, soon and cheaply.

The golden files are cut, flipped, overwritten, repeated and shortened: frames as a whole, then
payloads and pages behind a header that fits, so that the mutation reaches the decoder.
DATANODE_MUTATIONS sets how many cases each file gets.
"""

import os
import random
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from datanode import frame, manifest, placement
from datanode.codec import codec_for
from datanode.errors import CorruptionError, FormatError, UnsupportedVersionError
from datanode.fleet_index import parse_fleet_index
from datanode.limits import MAX_CHUNK_BYTES
from datanode.model import ElementType
from datanode.units import MIB

GOLDEN = Path(__file__).parents[1] / "golden"
MUTATIONS = int(os.environ.get("DATANODE_MUTATIONS", "500"))
TYPED = (FormatError, UnsupportedVersionError, CorruptionError)
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x10000, 2**31, 2**32 - 1)
MOST_SECONDS = 2.0
MOST_BYTES = 64 * MIB


def open_frame(data: bytes) -> None:
    frame.parse(data).open()


def open_payload(data: bytes) -> None:
    """Decode a payload past a header that always fits: the mutation is in the payload."""
    header = frame.HEADER.unpack_from(data)
    codec, element, raw_bytes, row = header[2], header[3], header[5], header[8]
    codec_for(codec).decode(data[64:], raw_bytes, ElementType(element), row)


def payload(parse: Callable[[bytes], object]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        parse(data[64:])

    return run


TARGETS: list[tuple[str, Callable[[bytes], object], int]] = [
    *((path.name, open_frame, 0) for path in sorted(GOLDEN.glob("frame_*_v1.bin"))),
    *((path.name, open_payload, 64) for path in sorted(GOLDEN.glob("frame_*_v1.bin"))),
    ("manifest_head_v1.bin", payload(manifest.parse_head), 64),
    ("manifest_chunk_page_v1.bin", payload(manifest.parse_chunk_page), 64),
    ("manifest_tensor_page_v1.bin", payload(manifest.parse_tensor_page), 64),
    ("placement_v1.bin", payload(placement.parse), 64),
    ("fleet_index_v1.bin", parse_fleet_index, 0),
]
"""File, what reads it, and the first byte that is mutated."""


def mutated(data: bytes, first: int, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        # Most fields stand at the start, so half of the mutations do too.
        end = len(changed) if rng.random() < 0.5 else min(len(changed), first + 64)
        at = rng.randrange(first, max(first + 1, end))
        kind = rng.randrange(6)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at : at + 1] = bytes((rng.randrange(256),))
        elif kind == 2:
            changed[at : at + 4] = struct.pack("<I", rng.choice(EDGES))
        elif kind == 3:
            del changed[at : at + rng.choice((1, 4, 64, len(changed)))]
        elif kind == 4:
            changed[at:at] = changed[at : at + rng.choice((1, 4, 64))]
        else:
            changed[at : at + 8] = rng.randbytes(8)
    return bytes(changed)


@pytest.mark.parametrize(
    ("name", "read", "first"), TARGETS, ids=[f"{n}-{f}" for n, _, f in TARGETS]
)
def test_mutations_raise_typed_errors_only(
    name: str, read: Callable[[bytes], None], first: int
) -> None:
    data = (GOLDEN / name).read_bytes()
    read(data)
    rng = random.Random(name)
    refused = 0
    slowest = 0.0
    tracemalloc.start()
    try:
        for _ in range(MUTATIONS):
            case = mutated(data, first, rng)
            started = time.thread_time()
            try:
                read(case)
            except TYPED:
                refused += 1
            slowest = max(slowest, time.thread_time() - started)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert slowest < MOST_SECONDS
    assert peak < MOST_BYTES
    # The payload of codec 0 may be anything of the right length, so there only lengths are refused.
    assert refused > MUTATIONS // (20 if "raw" in name else 3)


@pytest.mark.parametrize("element", [1, 2, 3])
def test_the_largest_counts_in_a_small_payload_cost_nothing(element: int) -> None:
    planes = 2 if element == 3 else 1
    header = struct.pack("<HHII4s", 0, 256, 2**32 - 1, 2**32 - 1, bytes(4))
    content = struct.pack("<B3s", planes, bytes(3)) + header * planes
    fields = (frame.MAGIC, 1, 2, element, 0, MAX_CHUNK_BYTES, len(content), bytes(32), 0, bytes(12))
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            frame.parse(frame.HEADER.pack(*fields) + content).open()
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
