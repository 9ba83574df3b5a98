"""The golden files: what version 1 wrote is read for ever, and where it can be, written again."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from datanode import frame, manifest, placement
from datanode.digest import content_digest

GOLDEN = Path(__file__).parents[1] / "golden"


def _make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKE = _make()
STABLE = ["frame_raw", "manifest_head", "manifest_chunk_page", "manifest_tensor_page", "placement"]
"""Files whose bytes no library decides; another zstd may write the others differently."""


def read(name: str) -> bytes:
    return (GOLDEN / f"{name}_v1.bin").read_bytes()


@pytest.mark.parametrize("name", sorted(MAKE.RAWS))
def test_golden_frames_still_open(name: str) -> None:
    raw, element, row = MAKE.RAWS[name]
    parsed = frame.parse(read(name))
    assert parsed.open() == raw()
    assert (parsed.element, parsed.row_elements) == (element, row)
    assert parsed.content == content_digest(raw())


@pytest.mark.parametrize("name", STABLE)
def test_stable_formats_are_written_byte_for_byte_as_before(name: str) -> None:
    assert MAKE.golden()[name] == read(name)


def test_every_codec_has_its_golden_frames() -> None:
    ids = {frame.parse(path.read_bytes()).codec_id for path in GOLDEN.glob("frame_*_v1.bin")}
    assert ids == {0, 1, 2}
    assert {path.name for path in GOLDEN.glob("frame_*_v1.bin")} == {
        f"{name}_v1.bin" for name in MAKE.RAWS
    }


def test_the_golden_manifest_parses_and_agrees_with_its_pages() -> None:
    head = manifest.parse_head(frame.parse(read("manifest_head")).open())
    chunks = manifest.parse_chunk_page(frame.parse(read("manifest_chunk_page")).open())
    tensors = manifest.parse_tensor_page(frame.parse(read("manifest_tensor_page")).open())
    manifest.check_pages(head, [chunks], [tensors])
    assert [entry.path for entry in head.files][1] == "empty/file.txt"
    assert [entry.name for entry in tensors] == [
        "model.embed.weight",
        "norme.\u00e9",
        "nothing",
    ]
    assert head.metadata["\u540d"] == "\u524d"


def test_the_golden_placement_parses() -> None:
    record = placement.parse(frame.parse(read("placement")).open())
    assert record == MAKE.sample_placement()
    assert record.node_of(70_001) == record.nodes[1]
