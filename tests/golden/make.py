"""How the golden files of frames, manifests and placement records were made.

`python tests/golden/make.py` writes the files that are missing and touches no other: a golden file
is written once, when its version is born. Everything derives from SHA-256 in counter mode and
exact arithmetic, so that the raw bytes are the same on every machine.
"""

import hashlib
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np

from datanode import frame, manifest
from datanode.digest import FrameDigest, content_digest, frame_digest
from datanode.fleet_index import FleetIndex, FleetPart
from datanode.model import ChunkRecord, ElementType
from datanode.placement import Placement
from datanode.principal import Principal

FOLDER = Path(__file__).parent
ROW = 96
SPECIALS = (0x0000, 0x8000, 0x0001, 0x83FF, 0x7C00, 0xFC00, 0x7E00, 0xFFFF, 0x7F80, 0x7FC0)


def noise(name: str, length_bytes: int) -> bytes:
    """Return bytes that do not compress."""
    blocks = (hashlib.sha256(b"%s %d" % (name.encode(), i)).digest() for i in count())
    data = b""
    while len(data) < length_bytes:
        data += next(blocks)
    return data[:length_bytes]


def weights(name: str, rows: int) -> np.ndarray:
    """Return bell-shaped F32 values: sums of twelve 16-bit draws, scaled by a power of two."""
    draws = np.frombuffer(noise(name, rows * ROW * 24), "<u2").reshape(-1, 12)
    sums: np.ndarray = draws.sum(axis=1, dtype=np.int64) - 393_210
    return (sums / 2**21).astype(np.float32)


def as_bf16(values: np.ndarray) -> np.ndarray:
    """Return the upper halves of F32 values."""
    upper: np.ndarray = (values.view(np.uint32) >> 16).astype("<u2")
    return upper


def f16() -> bytes:
    words = weights("f16", 40).astype("<f2").view("<u2")
    words[: len(SPECIALS)] = SPECIALS
    return words.tobytes()


def f16_bf16origin() -> bytes:
    upper = as_bf16(weights("f16 from bf16", 40)).astype(np.uint32) << 16
    words = upper.view(np.float32).astype("<f2").view("<u2")
    words[: len(SPECIALS)] = SPECIALS
    return words.tobytes()


def bf16() -> bytes:
    words = as_bf16(weights("bf16", 40))
    words[: len(SPECIALS)] = SPECIALS
    return words.tobytes()


def f32() -> bytes:
    return (weights("f32", 20) * np.float32(0.7236)).astype("<f4").tobytes()


def f32_bf16origin() -> bytes:
    return (as_bf16(weights("f32 from bf16", 20)).astype("<u4") << 16).tobytes()


def patched() -> bytes:
    """256 frequent values, 40 rare ones, and half an element at the end."""
    words = np.frombuffer(noise("patched", 256 * 2), "<u2")
    picks = words[np.frombuffer(noise("picks", 4001), np.uint8)].copy()
    picks[100 : 100 + 40 * 7 : 7] = np.frombuffer(noise("rare", 40 * 2), "<u2")
    return picks.tobytes() + b"\x5a"


def constant() -> bytes:
    return np.full(ROW * 10, 0x3C00, "<u2").tobytes()


RAWS: dict[str, tuple[Callable[[], bytes], ElementType, int]] = {
    "frame_raw": (lambda: noise("raw", 777), ElementType.BYTES, 0),
    "frame_zstd": (lambda: b'{"hidden_size": 384, "layers": 6}\n' * 40, ElementType.BYTES, 0),
    "frame_masksplit_f16": (f16, ElementType.F16, ROW),
    "frame_masksplit_f16_bf16origin": (f16_bf16origin, ElementType.F16, ROW),
    "frame_masksplit_bf16": (bf16, ElementType.BF16, ROW),
    "frame_masksplit_f32": (f32, ElementType.F32, ROW),
    "frame_masksplit_f32_bf16origin": (f32_bf16origin, ElementType.F32, ROW),
    "frame_masksplit_patched": (patched, ElementType.F16, 0),
    "frame_masksplit_constant": (constant, ElementType.F16, 0),
}
"""Golden frame -> raw bytes, element type, row length."""


def record(index: int, raw_bytes: int, element: ElementType) -> ChunkRecord:
    """Return a chunk record with made-up digests."""
    return ChunkRecord(
        content=content_digest(b"content %d" % index),
        frame=frame_digest(b"frame %d" % index),
        raw_bytes=raw_bytes,
        frame_bytes=64 + raw_bytes // 2,
        codec_id=min(2, index),
        element=element,
    )


def sample_manifest() -> manifest.Manifest:
    """Two files and an empty one, three tensors, texts beyond ASCII, a base."""
    builder = manifest.ManifestBuilder()
    sizes = ((0, 611, 0), (1, 400, 0), (2, 2_080_768, 1), (3, 1_000_000, 1), (4, 96, 3))
    for index, size, element in sizes:
        builder.add_chunk(record(index, size, ElementType(element)))
    files = (("config.json", 611, 0, 1), ("empty/file.txt", 0, 1, 0))
    for path, size, first, chunks in (*files, ("model.safetensors", 3_081_264, 1, 4)):
        builder.add_file(
            manifest.FileEntry(
                path=path,
                length_bytes=size,
                sha256=hashlib.sha256(path.encode()).digest(),
                first_chunk=first,
                chunk_count=chunks,
            )
        )
    tensors = (
        ("model.embed.weight", "F16", (4012, 384), 400, 2, 2),
        ("nothing", "I64", (0, 7), 3_081_168, 4, 0),
        ("norme.\u00e9", "F32", (24,), 3_081_168, 4, 1),
    )
    for name, dtype, shape, offset, first, chunks in tensors:
        builder.add_tensor(
            manifest.TensorEntry(
                name=name,
                dtype=dtype,
                shape=shape,
                file_index=2,
                offset_bytes=offset,
                first_chunk=first,
                chunk_count=chunks,
            )
        )
    texts = {"format": "pt", "": "empty key", "\u540d": "\u524d", "aa": "x" * 300}
    return builder.build(metadata=texts, base=FrameDigest(bytes(range(32))))


def sample_placement() -> Placement:
    """Three nodes, one of them an eleven-byte principal, four runs."""
    nodes = (b"\x00\x00\x00\x00\x00\x00\x00\x07\x01\x01", bytes(range(1, 30)), b"\x04")
    return Placement(
        manifest=sample_manifest().digest,
        nodes=tuple(map(Principal, nodes)),
        runs=((0, 1), (2, 70_000), (1, 3), (0, 2**24)),
        chunk_count=1 + 70_000 + 3 + 2**24,
    )


def sample_fleet_index() -> FleetIndex:
    """Two parts, three segments."""
    parts = tuple(
        FleetPart(
            node=Principal(bytes((number, 1))),
            version=number,
            manifest=FrameDigest(bytes([number]) * 32),
        )
        for number in (1, 2)
    )
    return FleetIndex(
        manifest=sample_manifest().digest,
        parts=parts,
        segments=((0, 0, 3), (1, 1, 300), (0, 4, 70_000)),
    )


def golden() -> dict[str, bytes]:
    """Return the content of every golden file, by name."""
    frames = {name: frame.seal(raw(), element, row) for name, (raw, element, row) in RAWS.items()}
    built = sample_manifest()
    return {
        **frames,
        "manifest_head": built.head_frame,
        "manifest_chunk_page": built.chunk_page_frames[0],
        "manifest_tensor_page": built.tensor_page_frames[0],
        "fleet_index": sample_fleet_index().pack(),
        "placement": frame.seal_raw(sample_placement().pack()),
    }


def main() -> None:
    """Write what is missing."""
    for name, data in golden().items():
        path = FOLDER / f"{name}_v1.bin"
        if not path.exists():
            path.write_bytes(data)


if __name__ == "__main__":
    main()
