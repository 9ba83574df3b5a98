"""Arrays cost the chunks that hold them, the manifest, and little more memory than their size."""

import itertools
import os
import tracemalloc
from collections.abc import Sequence
from importlib import import_module

import numpy as np
import pytest

from datanode.digest import FrameDigest
from datanode.errors import CorruptionError, NotFoundError, UsageError
from datanode.limits import MAX_CHUNK_BYTES
from datanode.node.port import FrameAbsence, ManifestPart
from datanode.reader import Reader, TensorReader, VerifiedVersion, find_tensors, load_arrays
from datanode.reader.arrays import numpy_dtype
from datanode.units import MIB
from tests.fakes.checkpoints import Checkpoint, checkpoint, seal, sealed, some_bytes
from tests.fakes.memory_node import MemoryNode

TENSOR_BYTES = 48 * MIB
MODEL_BYTES = int(os.environ.get("DATANODE_TENSOR_MODEL_MIB", "96")) * MIB

PAGED = (
    "datanode.manifest.build",
    "datanode.manifest.check",
    "datanode.manifest.head",
    "datanode.reader.proof",
    "datanode.reader.version",
)


class CountingNode:
    """A node that counts what it hands out."""

    def __init__(self, node: MemoryNode) -> None:
        self._node = node
        self.chunks: list[int] = []
        self.frames_bytes = 0
        self.manifest_bytes = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._node, name)

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        found = self._node.get_frames(model, manifest, chunks)
        self.chunks += chunks
        self.frames_bytes += sum(len(each) for each in found if isinstance(each, bytes))
        return found

    def get_manifest(
        self, model: str, manifest: FrameDigest, part: ManifestPart, index: int = 0
    ) -> bytes:
        data = self._node.get_manifest(model, manifest, part, index)
        self.manifest_bytes += len(data)
        return data


def opened(node: MemoryNode) -> tuple[VerifiedVersion, CountingNode]:
    counting = CountingNode(node)
    reader = Reader(counting, root_key=node.root_key, clock_ns=node.world.clock)  # type: ignore[arg-type]
    return reader.open_version("llama"), counting


@pytest.fixture
def small() -> tuple[MemoryNode, Checkpoint]:
    node = MemoryNode()
    files = {"a": some_bytes(40_000, 1), "b": some_bytes(12_345, 2), "c": b""}
    return node, sealed(node, "llama", files)


def test_one_tensor_costs_its_chunks_and_the_manifest_and_twice_its_memory() -> None:
    node = MemoryNode()
    raw = some_bytes(TENSOR_BYTES, 3)
    files = {"b": raw}
    for number in range((MODEL_BYTES - TENSOR_BYTES) // (16 * MIB)):
        files[f"{'a' if number % 2 else 'c'}{number}"] = some_bytes(16 * MIB, number)
    model = checkpoint(node, files, chunk_bytes=MAX_CHUNK_BYTES)
    seal(node, "llama", model)
    del files
    manifest_bytes = sum(map(len, model.frames.values())) - sum(
        each.frame_bytes for each in {record.frame: record for record in model.records}.values()
    )
    version, counting = opened(node)
    tracemalloc.start()
    try:
        (array,) = load_arrays(version, find_tensors(version, ["b.weight"])).values()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert array.tobytes() == raw
    entry = next(each for each in version.head.files if each.path == "b")
    own = range(entry.first_chunk, entry.first_chunk + entry.chunk_count)
    assert sorted(counting.chunks) == list(own), "each chunk of the tensor once, no other"
    assert counting.frames_bytes == sum(model.records[each].frame_bytes for each in own)
    assert counting.manifest_bytes <= manifest_bytes
    print(
        f"model {MODEL_BYTES / MIB:.0f} MiB, tensor {TENSOR_BYTES / MIB:.0f} MiB: read "
        f"{counting.frames_bytes / MIB:.1f} MiB of frames and {counting.manifest_bytes:,} bytes of "
        f"manifest, peak memory {peak_bytes / MIB:.1f} MiB"
    )
    assert peak_bytes <= 2 * TENSOR_BYTES


def test_a_chunk_that_tensors_share_is_read_once(small: tuple[MemoryNode, Checkpoint]) -> None:
    version, counting = opened(small[0])
    entries = find_tensors(version, None)
    doubled = [*entries, *entries]
    arrays = load_arrays(version, doubled)
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        f"{path}.weight": raw for path, raw in small[1].files.items()
    }
    assert sorted(counting.chunks) == list(range(version.head.chunk_count))


def test_rows_cost_the_chunks_that_hold_them(small: tuple[MemoryNode, Checkpoint]) -> None:
    version, counting = opened(small[0])
    tensor = TensorReader(version, version.tensor("a.weight"))
    raw = np.frombuffer(small[1].files["a"], np.uint8)
    assert np.array_equal(tensor[[4_999, 12_000, 12_001]], raw[[4_999, 12_000, 12_001]])
    assert sorted(counting.chunks) == [0, 2]
    counting.chunks.clear()
    assert np.array_equal(tensor[4_990:5_010], raw[4_990:5_010])
    assert sorted(counting.chunks) == [0, 1]


def test_a_wrong_chunk_is_no_array(small: tuple[MemoryNode, Checkpoint]) -> None:
    node, model = small
    node.world.lies[model.records[3].frame] = model.frames[model.records[4].frame]
    version, _ = opened(node)
    with pytest.raises(CorruptionError, match="chunk 3 of a"):
        load_arrays(version, find_tensors(version, ["a.weight"]))
    assert load_arrays(version, find_tensors(version, ["b.weight"]))


@pytest.mark.parametrize("dtype", ["F4", "F6_E2M3", "F6_E3M2"])
def test_types_below_a_byte_are_refused(dtype: str) -> None:
    with pytest.raises(UsageError, match="cannot be an array"):
        numpy_dtype(dtype, as_bits=True)


@pytest.mark.parametrize(
    "dtype", ["BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"]
)
def test_types_of_ml_dtypes_have_the_width_of_their_bits(dtype: str) -> None:
    bits = numpy_dtype(dtype, as_bits=True)
    assert (bits.kind, bits.itemsize) == ("u", numpy_dtype(dtype).itemsize)


def test_bytes_are_found_across_chunks_and_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in map(import_module, PAGED):
        monkeypatch.setattr(module, "MAX_CHUNKS_A_PAGE", 3)
    node = MemoryNode()
    sealed(node, "llama", {"a": some_bytes(40_000, 1), "b": some_bytes(12_345, 2)})
    version, counting = opened(node)
    assert len(version.head.chunk_pages) == 4
    sizes = [record.raw_bytes for record in version.records()]
    starts = [0, *np.cumsum(sizes).tolist()]
    for first, offset in itertools.product(range(len(sizes)), [0, 1, 4_999, 5_000, 22_344]):
        if starts[first] + offset < starts[-1]:
            chunk, at = version.find_byte(first, offset)
            assert starts[chunk] + at == starts[first] + offset
            assert at < sizes[chunk]
    for first, end in itertools.combinations(range(len(sizes) + 1), 2):
        assert version.chunks_bytes(first, end) == sum(sizes[first:end])
    with pytest.raises(NotFoundError):
        version.find_byte(0, starts[-1])
    counting.manifest_bytes = 0
    assert version.chunks_bytes(0, 9) == starts[9]
    assert counting.manifest_bytes == 0, "a page that was read once is not read for its size"
