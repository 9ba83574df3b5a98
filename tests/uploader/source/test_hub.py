"""uploader.source.hub: what belongs to a checkpoint, and what leads out of it."""

import os
from pathlib import Path

import pytest

from datanode.errors import MissingShardError, SourceError
from tests.uploader.source.checkpoints import safetensors, sharded, write
from uploader.source import Source, open_source

SNAPSHOT: dict[str, bytes | str] = {
    "model.safetensors": safetensors({"w": 9}),
    "config.json": "{}",
    "tokenizer.json": "{}",
    "1_Pooling/config.json": "{}",
    "LICENSE": "free",
    "empty.txt": "",
    "pytorch_model.bin": "pickle",
    "onnx/model.onnx": "graph",
    ".gitattributes": "*",
    ".git/config": "x",
    ".cache/model.safetensors": "hidden",
}


def paths(source: Source) -> list[str]:
    return [file.path for file in source.files()]


def test_a_file_is_a_source_of_one_file(tmp_path: Path) -> None:
    write(tmp_path, SNAPSHOT)
    source = open_source(tmp_path / "model.safetensors")
    assert paths(source) == ["model.safetensors"]
    assert [tensor.name for tensor in source.tensors()] == ["w"]


def test_a_folder_gives_the_files_that_make_a_model_sorted_bytewise(tmp_path: Path) -> None:
    source = open_source(write(tmp_path, SNAPSHOT))
    assert paths(source) == [
        "1_Pooling/config.json",
        "LICENSE",
        "config.json",
        "empty.txt",
        "model.safetensors",
        "tokenizer.json",
    ]
    assert source.skipped == ("onnx/model.onnx", "pytorch_model.bin")
    assert source.tensors()[0].file_index == 4


def test_include_and_exclude_decide(tmp_path: Path) -> None:
    write(tmp_path, SNAPSHOT)
    source = open_source(tmp_path, include=["*.safetensors", "onnx/"])
    assert paths(source) == ["model.safetensors", "onnx/model.onnx"]
    source = open_source(tmp_path, exclude=["*.json", "L*", "*.txt"])
    assert paths(source) == ["model.safetensors"]


def test_an_index_gives_its_shards_and_itself(tmp_path: Path) -> None:
    source = open_source(sharded(tmp_path))
    assert paths(source) == [
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
    ]
    assert [tensor.name for tensor in source.tensors()] == ["a", "b", "c"]


@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_missing_shard_is_named(tmp_path: Path, *, whole_folder: bool) -> None:
    index = sharded(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(MissingShardError, match="model-00002-of-00002"):
        open_source(tmp_path if whole_folder else index)


def test_a_missing_shard_is_noticed_without_an_index(tmp_path: Path) -> None:
    sharded(tmp_path).unlink()
    (tmp_path / "model-00001-of-00002.safetensors").unlink()
    with pytest.raises(MissingShardError, match="model-00001-of-00002"):
        open_source(tmp_path)


def test_links_into_the_blobs_of_the_hub_cache_are_followed(tmp_path: Path) -> None:
    write(tmp_path, {"blobs/0a": safetensors({"w": 9}), "blobs/0b": "{}"})
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to("../../blobs/0a")
    (snapshot / "config.json").symlink_to("../../blobs/0b")
    assert paths(open_source(snapshot)) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("../secret.txt", "leads out of the folder"),
        ("/etc/passwd", "leads out of the folder"),
        ("../folder-beside/x.txt", "leads out of the folder"),
        ("nothing.txt", "not there"),
        ("inner", "link to a folder"),
        ("notes.txt", "leads nowhere|not there"),
    ],
)
def test_links_that_lead_elsewhere_are_refused(tmp_path: Path, target: str, says: str) -> None:
    folder = tmp_path / "folder"
    write(tmp_path, {"secret.txt": "key", "folder-beside/x.txt": "key"})
    write(folder, {"model.safetensors": safetensors({"w": 9}), "inner/a.txt": ""})
    (folder / "notes.txt").symlink_to(target)
    with pytest.raises(SourceError, match=says):
        open_source(folder)


@pytest.mark.parametrize("name", ["my model.json", "a..b.json", "gewicht\u00e4.json", "x\x1b.json"])
def test_names_that_no_manifest_carries_are_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"model.safetensors": safetensors({"w": 9}), name: "{}"})
    with pytest.raises(SourceError) as caught:
        open_source(tmp_path)
    assert caught.value.what.isascii()
    assert caught.value.what.isprintable()
    assert open_source(tmp_path, exclude=[name]).files()


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("https://example.org/model.safetensors", "not supported"),
        ("gs://bucket/prefix", "not supported"),
        ("nowhere", "no file or folder"),
        ("nowhere.safetensors", "no file"),
        ("model.gguf", "not a safetensors file"),
        ("config.json", "not a safetensors file"),
        ("empty", "no .safetensors file"),
        ("pipe.safetensors", "not a regular file"),
    ],
)
def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path, location: str, says: str) -> None:
    write(tmp_path, {"model.gguf": "GGUF", "config.json": "{}", "empty/config.json": "{}"})
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(SourceError, match=says):
        open_source(location if "://" in location else tmp_path / location)


def test_a_folder_without_permission_is_a_source_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match="cannot be read"):
        open_source(tmp_path)
    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source(tmp_path)


@pytest.mark.parametrize("location", ["n" * 5000, "a\0b", "~nobody-at-all/x", ""])
def test_a_path_that_the_system_refuses_is_a_source_error(location: str) -> None:
    with pytest.raises(SourceError):
        open_source(location)
