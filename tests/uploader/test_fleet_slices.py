"""uploader.fleet_slices and PartSource: parts hold every chunk of the whole, each once."""

import json
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import SourceError
from datanode.model import ChunkSpec
from tests.uploader.session.stage import safetensors_bytes
from uploader.chunker import Layout
from uploader.fleet_placement import place
from uploader.fleet_slices import file_of_slice, parse_slice_path
from uploader.session.fleet_parts import member_parts
from uploader.session.part_source import PartSource
from uploader.source import open_source
from uploader.source.base import Source

MEMBERS = 3


def _checkpoint(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for number in range(2):
        tensors = {
            f"{name}.{index}": rng.integers(0, 256, (rows, 512), np.uint8)
            for index in range(4)
            for name, rows in (("big", 150), ("small", 2), ("tiny", 1), ("large", 5_000))
        }
        tensors[f"none.{number}"] = np.zeros((0, 4), np.uint8)
        (folder / f"{number}.safetensors").write_bytes(safetensors_bytes(tensors))
    (folder / "config.json").write_text("{}")
    (folder / "empty.txt").write_text("")
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return open_source(_checkpoint(tmp_path_factory.mktemp("model")))


def _bytes(source: Source, spec: ChunkSpec) -> bytes:
    return source.read(spec.file_index, spec.offset_bytes, spec.length_bytes)


def _members(layout: Layout, rng: random.Random, run: int) -> list[int]:
    """Draw a member for each chunk; the chunks of a tensor lie together."""
    members = [0] * layout.chunk_count
    member = 0
    for number, (_, first, count) in enumerate(layout.tensor_chunks()):
        if number % run == 0:
            member = rng.randrange(MEMBERS)
        for chunk in range(first, first + count):
            members[chunk] = member
    return members


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_parts_hold_every_chunk_of_the_whole_once(source: Source, seed: int, run: int) -> None:
    rng, layout = random.Random(seed), Layout(source.files(), source.tensors())
    seen: set[int] = set()
    for part in member_parts(source, layout, _members(layout, rng, run)):
        for whole, first, count in part.segments():
            for offset in range(count):
                original, copied = layout.spec(whole + offset), part.layout.spec(first + offset)
                assert whole + offset not in seen
                seen.add(whole + offset)
                assert copied.element is original.element
                assert copied.row_elements == original.row_elements
                assert _bytes(part.source, copied) == _bytes(source, original)
    assert seen == set(range(layout.chunk_count))


def test_slices_are_safetensors_files_of_their_own(source: Source) -> None:
    layout = Layout(source.files(), source.tensors())
    members = _members(layout, random.Random(1), 3)
    found: dict[str, bytes] = {}
    for part in member_parts(source, layout, members):
        for index, file in enumerate(part.source.files()):
            if not file.path.endswith(".safetensors"):
                continue
            raw = part.source.read(index, 0, file.length_bytes)
            (size,) = struct.unpack("<Q", raw[:8])
            assert size % 8 == 0
            for name, entry in json.loads(raw[8 : 8 + size]).items():
                start, end = entry["data_offsets"]
                found[f"{name}@{part.member}"] = raw[8 + size + start : 8 + size + end]
    names = {name.partition("@")[0] for name in found}
    assert names == {tensor.name for tensor in source.tensors() if tensor.length_bytes}


def test_every_part_has_the_configuration(source: Source) -> None:
    layout = Layout(source.files(), source.tensors())
    members = _members(layout, random.Random(1), 3)
    for part in member_parts(source, layout, members):
        assert "config.json" in [file.path for file in part.source.files()]


def test_rejects_files_that_have_the_name_of_a_slice(tmp_path: Path) -> None:
    (tmp_path / "slices").mkdir()
    (tmp_path / "w.safetensors").write_bytes(safetensors_bytes({"a": np.zeros((4, 4), np.uint8)}))
    source = open_source(tmp_path)
    layout = Layout(source.files(), source.tensors())
    (part,) = member_parts(source, layout, [0] * layout.chunk_count)
    (header,) = [each for each in part.slices if not each.has_tensors]
    with pytest.raises(SourceError):
        PartSource(source, layout, [header, header])


def test_each_part_has_all_tensors_of_its_blocks(tmp_path: Path) -> None:
    """Norms of all blocks share a chunk, and the head of the model is its embedding."""
    rng, blocks = np.random.default_rng(2), 4
    tensors = {
        "model.embed_tokens.weight": rng.integers(0, 256, (300, 512), np.uint8),
        "model.norm.weight": rng.random(64, np.float32),
    }
    for block in range(blocks):
        prefix = f"model.layers.{block}"
        tensors[f"{prefix}.mlp.weight"] = rng.integers(0, 256, (200, 512), np.uint8)
        tensors[f"{prefix}.norm.weight"] = rng.random(64, np.float32)
    ordered = dict(sorted(tensors.items(), key=lambda each: -each[1].itemsize))
    (tmp_path / "model.safetensors").write_bytes(safetensors_bytes(ordered))
    source = open_source(tmp_path)
    layout = Layout(source.files(), source.tensors())
    sizes = [1] * layout.chunk_count
    members = place(layout, sizes, [1 << 30, 1 << 30]).members
    first, second = member_parts(source, layout, members)
    held = [{tensor.name for tensor in part.source.tensors()} for part in (first, second)]
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= held[0]
    for block in range(blocks):
        names = {name for name in tensors if f".{block}." in name}
        assert [names <= each for each in held].count(True) == 1
    copied = {each.path for part in (first, second) for each in part.source.slices} - {
        each.path for part in (first, second) for each in part.slices
    }
    assert len(copied) == 1
    assert all(file_of_slice(path) == 0 and parse_slice_path(path) is None for path in copied)
