"""uploader.source.index: an index and its shards agree, or the source is refused."""

import json
from pathlib import Path

import pytest

from datanode.errors import MissingShardError, SourceError
from tests.uploader.source.checkpoints import safetensors, sharded, write
from uploader.source import open_source
from uploader.source.index import check_index, check_numbered_shards, parse_index

ONE = "model-00001-of-00002.safetensors"


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
        ('{"weight_map": {"a": "x.safetensors", "a": "y.safetensors"}}', "twice"),
        ('{"weight_map": {"a": NaN}}', "no integer"),
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


def test_a_tensor_that_is_not_in_its_shard_is_refused(tmp_path: Path) -> None:
    index = sharded(tmp_path, {"a": ONE, "c": ONE})
    with pytest.raises(SourceError, match="lacks it"):
        open_source(index)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path)
    write(tmp_path, {"model-00002-of-00002.safetensors": safetensors({"c": 3, "a": 5})})
    with pytest.raises(SourceError, match="tensor 'a' stands in"):
        open_source(tmp_path)
    (tmp_path / "model.safetensors.index.json").unlink()
    with pytest.raises(SourceError, match="tensor 'a' stands in"):
        open_source(tmp_path)


def test_the_same_name_in_unrelated_files_is_fine(tmp_path: Path) -> None:
    write(
        tmp_path,
        {"unet/model.safetensors": safetensors({"w": 3}), "vae.safetensors": safetensors({"w": 3})},
    )
    assert len(open_source(tmp_path).tensors()) == 2


def test_an_index_beyond_the_limit_is_not_read(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    with index.open("r+b") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(SourceError, match="the limit is"):
        open_source(tmp_path)


def test_an_index_in_a_subfolder_names_its_neighbours(tmp_path: Path) -> None:
    sharded(tmp_path / "sub").rename(tmp_path / "sub" / "model.safetensors.index.json")
    assert len(open_source(tmp_path).tensors()) == 3


def test_a_shard_that_the_index_names_twice_over_is_missing_once() -> None:
    index = parse_index("i", json.dumps({"weight_map": {"a": ONE, "b": ONE}}).encode())
    with pytest.raises(MissingShardError, match="is not there"):
        check_index(index, {})


def test_complete_numbered_shards_pass() -> None:
    check_numbered_shards({ONE: {"a"}, "model-00002-of-00002.safetensors": {"b"}, "x": {"a"}})
