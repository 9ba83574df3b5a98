"""uploader.source.checkpoint_layout: what belongs to a checkpoint, and what leads out of it."""

import os
from pathlib import Path

import pytest

from datanode.errors import MissingShardError, SourceError
from tests.uploader.source.checkpoints import safetensors, sharded, write
from uploader.source import Source, notes_on, open_source
from uploader.source.base import LeftOut

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
    assert source.left_out == (
        LeftOut(path="onnx/model.onnx", reason="ONNX weights"),
        LeftOut(path="pytorch_model.bin", reason="PyTorch weights"),
    )
    assert list(notes_on(source)) == [
        "left out, ONNX weights: onnx/model.onnx",
        "left out, PyTorch weights: pytorch_model.bin",
    ]
    assert source.tensors()[0].file_index == 4


@pytest.mark.parametrize(
    "name",
    [
        "modeling_x.py", "tokenizer.spm", "vocab.bpe", "source.spm", "merges.txt", "tekken.json",
        "sentencepiece.bpe.model", "chat_template.jinja", "voices/af.wav", "model.sig", "README",
        "tokenizer.bin", "spiece.vocab", "x.bpe.codes", "config.toml", "images/a.png",
    ],
)  # fmt: skip
def test_what_a_model_may_need_is_taken(tmp_path: Path, name: str) -> None:
    source = open_source(write(tmp_path, {"model.safetensors": safetensors({"w": 9}), name: "x"}))
    assert name in paths(source)
    assert not source.left_out


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a/pytorch_model-00001-of-00002.bin", b"?", "PyTorch weights"),
        ("weights.bin", b"PK\x03\x04", "PyTorch weights"),
        ("adapter.bin", b"\x80\x02}q", "PyTorch weights"),
        ("Model.GGUF", b"GGUF", "GGUF weights"),
        ("model.ckpt", b"", "PyTorch weights"),
        ("tf_model.h5", b"", "TensorFlow or Keras weights"),
        ("flax_model.msgpack", b"", "Flax weights"),
        ("onnx/model.onnx_data", b"", "ONNX weights"),
        ("openvino_model.bin", b"", "OpenVINO weights"),
        ("x.mlpackage/Data/weights", b"", "Core ML weights"),
        ("rust_model.ot", b"", "rust-bert weights"),
        ("training_args.bin", b"", "PyTorch training state"),
    ],
)
def test_weights_in_other_formats_are_left_out_unless_asked_for(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    write(tmp_path, {"model.safetensors": safetensors({"w": 9}), name: content})
    source = open_source(tmp_path)
    assert source.left_out == (LeftOut(path=name, reason=reason),)
    assert name in paths(open_source(tmp_path, also=[name]))
    assert name in paths(open_source(tmp_path, include=["*.safetensors"], also=[name]))
    assert name not in paths(open_source(tmp_path, also=[name], exclude=["*" + name[-4:]]))


def test_include_and_exclude_decide(tmp_path: Path) -> None:
    write(tmp_path, SNAPSHOT)
    source = open_source(tmp_path, include=["*.safetensors", "onnx/"])
    assert paths(source) == ["model.safetensors", "onnx/model.onnx"]
    reasons = {each.path: each.reason for each in source.left_out}
    assert reasons["config.json"] == reasons["pytorch_model.bin"] == "matches no --include"
    source = open_source(tmp_path, exclude=["*.json", "L*", "*.txt"])
    assert paths(source) == ["model.safetensors"]
    assert LeftOut(path="config.json", reason="matches --exclude") in source.left_out


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


def cache(folder: Path) -> Path:
    """A hub cache with one model of two snapshots, laid out as a pipeline with parts."""
    model = folder / "hub" / "models--org--pipe"
    write(
        model,
        {
            "blobs/0a": safetensors({"w": 9}),
            "blobs/0b": "{}",
            "refs/main": "abc123",
            "snapshots/abc123/unet/config.json": "{}",
            "snapshots/000fff/config.json": "{}",
        },
    )
    snapshot = model / "snapshots" / "abc123"
    (snapshot / "unet" / "model.safetensors").symlink_to("../../../blobs/0a")
    (snapshot / "model_index.json").symlink_to("../../blobs/0b")
    (snapshot / "unet" / "index.json").symlink_to("../model_index.json")
    return model


@pytest.mark.parametrize("part", [".", "unet"])
def test_any_folder_of_a_snapshot_is_a_source(tmp_path: Path, part: str) -> None:
    source = open_source(cache(tmp_path) / "snapshots" / "abc123" / part)
    assert [tensor.name for tensor in source.tensors()] == ["w"]


def test_a_link_from_a_snapshot_into_another_model_is_refused(tmp_path: Path) -> None:
    model = cache(tmp_path)
    write(tmp_path / "hub" / "models--org--other", {"blobs/0a": safetensors({"w": 9})})
    link = model / "snapshots" / "abc123" / "unet" / "more.safetensors"
    link.symlink_to("../../../../models--org--other/blobs/0a")
    with pytest.raises(SourceError, match="leads out of the folder"):
        open_source(link.parent)


@pytest.mark.parametrize("place", [".", "..", "snapshots"])
def test_the_root_of_a_hub_cache_names_the_snapshot_of_main(tmp_path: Path, place: str) -> None:
    model = cache(tmp_path)
    with pytest.raises(SourceError, match=r"cache of huggingface_hub") as caught:
        open_source(model / place)
    named = next(word for word in caught.value.hint.split() if "/" in word)
    assert Path(named).resolve() == model.resolve() / "snapshots" / "abc123"
    (model / "refs" / "main").write_text("../../../etc")
    with pytest.raises(SourceError, match="cache of huggingface_hub") as caught:
        open_source(model / place)
    assert "etc" not in caught.value.hint
    assert "000fff" in caught.value.hint


def test_a_shard_named_alone_names_its_index_or_folder(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    shard = tmp_path / "model-00002-of-00002.safetensors"
    with pytest.raises(SourceError, match="is shard 2 of 2") as caught:
        open_source(shard)
    assert index.name in caught.value.hint
    index.unlink()
    with pytest.raises(SourceError, match="is shard 2 of 2") as caught:
        open_source(shard)
    assert "folder" in caught.value.hint


def test_links_are_followed_where_they_lead_if_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    write(tmp_path, {"beside/part/model.safetensors": safetensors({"w": 9}), "notes.txt": "x"})
    folder.mkdir()
    (folder / "part").symlink_to(tmp_path / "beside" / "part")
    (folder / "notes.txt").symlink_to(tmp_path / "notes.txt")
    with pytest.raises(SourceError, match="leads out of the folder") as caught:
        open_source(folder)
    assert "--follow-links" in caught.value.hint
    source = open_source(folder, follow_links=True)
    assert paths(source) == ["notes.txt", "part/model.safetensors"]
    (tmp_path / "beside" / "part" / "again").symlink_to(tmp_path / "beside" / "part")
    with pytest.raises(SourceError, match="folders deep"):
        open_source(folder, follow_links=True)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 9999\n"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_a_web_page_is_not_taken_for_json(tmp_path: Path, name: str) -> None:
    page = "<!DOCTYPE html>" + " " * 5_000
    write(tmp_path, {"model.safetensors": safetensors({"w": 9}), name: page})
    with pytest.raises(SourceError, match=f"{name} is a web page"):
        open_source(tmp_path)


def test_a_pointer_in_place_of_an_index_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"model.safetensors.index.json": POINTER})
    with pytest.raises(SourceError, match="is a Git LFS pointer"):
        open_source(tmp_path / "model.safetensors.index.json")


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model", "model.safetensors"])
def test_a_git_lfs_pointer_is_not_taken_for_the_file(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"model.safetensors": safetensors({"w": 9})} | {name: POINTER})
    with pytest.raises(SourceError, match=f"{name} is a Git LFS pointer") as caught:
        open_source(tmp_path)
    assert "git lfs pull" in caught.value.hint


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (POINTER.encode(), "Git LFS pointer"),
        (b"# xet version 0\n", "Xet pointer"),
        (b"\n\n<!DOCTYPE HTML><title>Log in</title>", "web page"),
        (b"<?xml version='1.0'?><Error>AccessDenied</Error>", "web page"),
        (b"PK\x03\x04" + bytes(90), "zip archive"),
        (b"\x80\x04\x95" + bytes(90), "Python pickle"),
        (b"GGUF\x03\0\0\0" + bytes(90), "GGUF"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08" + bytes(90), "compressed file"),
        (bytes(257) + b"ustar\x0000" + bytes(250), "tar archive"),
        (bytes(4096), "unfinished download"),
        (b'{"error": "Repository not found"}', "JSON text"),
        (b"Access to model is restricted. You must be authenticated.", "is a text"),
    ],
)
@pytest.mark.parametrize("name", ["model.safetensors", "model.ckpt"])
def test_what_is_no_safetensors_file_is_named(
    tmp_path: Path, content: bytes, says: str, name: str
) -> None:
    write(tmp_path, {name: content})
    with pytest.raises(SourceError, match=says) as caught:
        open_source(tmp_path / name)
    assert caught.value.hint


def test_a_folder_of_other_weights_says_which(tmp_path: Path) -> None:
    write(tmp_path, {"pytorch_model.bin": b"PK\x03\x04", "config.json": "{}"})
    with pytest.raises(SourceError, match="only PyTorch weights") as caught:
        open_source(tmp_path)
    assert "Convert" in caught.value.hint


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
        ("model.gguf", "GGUF file"),
        ("config.json", "JSON text"),
        ("odd.bin", "not a safetensors file"),
        ("empty", "no .safetensors file"),
        ("pipe.safetensors", "not a regular file"),
    ],
)
def test_what_is_not_a_checkpoint_is_refused(tmp_path: Path, location: str, says: str) -> None:
    write(
        tmp_path,
        {
            "odd.bin": b"\xff\x00",
            "model.gguf": "GGUF",
            "config.json": "{}",
            "empty/config.json": "{}",
        },
    )
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
