"""uploader.source.index: an index and its shards agree, or the source is refused."""

import json
from pathlib import Path

import pytest

from datanode.errors import MissingShardError, SourceError
from tests.uploader.source.checkpoints import safetensors, sharded, write
from uploader.source import open_source
from uploader.source.index import (
    MAX_INDEX_BYTES,
    compare_index,
    compare_numbered_shards,
    parse_index,
    shard_of,
)

ONE = "model-00001-of-00002.safetensors"
TWO = "model-00002-of-00002.safetensors"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "not JSON"),
        ("[]", "not a JSON object"),
        ("{}", "no weight_map"),
        ('{"weight_map": {}}', "no weight_map"),
        ('{"weight_map": []}', "no weight_map"),
        ('{"weight_map": {"a": 1}}', "names no file"),
        ('{"weight_map": {"a": "../../x.safetensors"}}', "contains '..'"),
        ('{"weight_map": {"a": "/etc/x.safetensors"}}', "not a plain relative path"),
        ('{"weight_map": {"a": "./x.safetensors"}}', "not a plain relative path"),
        ('{"weight_map": {"a": "x\\u0000.safetensors"}}', "characters outside"),
        ('{"weight_map": {"a": "config.json"}}', "no safetensors file"),
        ('{"weight_map": {"a": NaN}}', "names no file"),
        (
            '{"weight_map": ' + "[" * 5000,
            "nested too deeply|not JSON",
        ),  # by depth the interpreter allows
    ],
)
def test_malformed_indices_are_refused(content: str, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        parse_index("i.json", content.encode())


def test_metadata_of_an_index_may_hold_any_number() -> None:
    raw = b'{"metadata": {"total_size": 1.5e10}, "weight_map": {"a": "x.safetensors"}}'
    assert parse_index("sub/i.json", raw).shards == {"a": "sub/x.safetensors"}


def test_repeated_keys_are_taken_as_loaders_take_them() -> None:
    raw = b'{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}'
    assert parse_index("i.json", raw).shards == {"a": "y.safetensors"}


@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_stale_index_is_stored_and_noted(tmp_path: Path, *, whole_folder: bool) -> None:
    index = sharded(tmp_path, {"a": ONE, "gone": ONE, "c": TWO, "d": TWO})
    source = open_source(tmp_path if whole_folder else index)
    (note,) = source.notes
    assert "is stale" in note
    assert "'gone' and 1 more" in note
    assert any(file.path == index.name for file in source.files())


@pytest.mark.parametrize("indexed", [True, False])
def test_a_tensor_in_two_shards_is_stored_and_noted(tmp_path: Path, *, indexed: bool) -> None:
    sharded(tmp_path)
    write(tmp_path, {"model-00002-of-00002.safetensors": safetensors({"c": 3, "a": 5})})
    if not indexed:
        (tmp_path / "model.safetensors.index.json").unlink()
    source = open_source(tmp_path)
    (note,) = source.notes
    assert "tensor 'a' stands in" in note
    assert [tensor.name for tensor in source.tensors()] == ["a", "b", "c", "a"]


def test_the_same_name_in_unrelated_files_is_fine(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"unet/model.safetensors": safetensors({"w": 3}), "vae.safetensors": safetensors({"w": 3})},
    )
    assert len(open_source(tmp_path).tensors()) == 2


def test_an_index_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    with index.open("r+b") as file:
        file.truncate(MAX_INDEX_BYTES + 1)
    with pytest.raises(SourceError, match="the limit is"):
        open_source(tmp_path)


def test_an_index_in_a_subfolder_names_its_neighbours(tmp_path: Path) -> None:
    sharded(tmp_path / "sub").rename(tmp_path / "sub" / "model.safetensors.index.json")
    assert len(open_source(tmp_path).tensors()) == 3


def test_a_shard_that_the_index_names_twice_over_is_missing_once() -> None:
    index = parse_index("i", json.dumps({"weight_map": {"a": ONE, "b": ONE}}).encode())
    with pytest.raises(MissingShardError, match="is not there"):
        list(compare_index(index, {}))


def test_complete_numbered_shards_pass() -> None:
    names = {ONE: {"a"}, "model-00002-of-00002.safetensors": {"b"}, "x": {"a"}}
    assert not list(compare_numbered_shards(names))


@pytest.mark.parametrize(
    ("name", "shard"),
    [
        (ONE, ("model", 1, 2)),
        ("a/b-00003-of-00009.safetensors", ("a/b", 3, 9)),
        ("model-00001-of-00001.safetensors", None),
        ("model.safetensors", None),
        ("model-1-of-2.safetensors", None),
    ],
)
def test_the_name_of_a_shard_tells_its_number(
    name: str, shard: tuple[str, int, int] | None
) -> None:
    assert shard_of(name) == shard
