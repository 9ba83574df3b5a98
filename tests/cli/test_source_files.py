"""Which files and names are taken, what is said of the others, and when files are read again."""

import json
import os
from pathlib import Path

import pytest

from datanode.text import printable
from tests.cli.stage import User, checkpoint
from tests.cli.test_sources import _U8, _with_header

NAMES = ("<cat-toy>", "../../etc/passwd", "a\x1b[31mred", "w\u202eabc", ":fire:", "\u0436")


@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_tensor_is_stored_and_shown_escaped(user: User, name: str) -> None:
    source = user.home / "m.safetensors"
    source.write_bytes(_with_header({name: _U8}))
    model = f"names-{NAMES.index(name)}"
    user.ok("upload", source, "--as", model)
    done = user.run("show", model, "--tensors", "--json")
    assert [each["name"] for each in done.results if each.get("kind") == "tensor"] == [name]
    shown = user.run("show", model, "--tensors")
    assert not {"\x1b", "\u202e"} & set(shown.out)
    assert printable(name) in shown.out
    user.ok("fetch", model, user.home / "out", "--tensor", name)
    assert (user.home / "out").read_bytes() == b"\0\1\2\3"


def folder(user: User, seed: int) -> Path:
    """A snapshot as a hub lays it out, with weights in two other formats."""
    path = user.home / "folder"
    checkpoint(path / "model.safetensors", seed)
    for name in ("modeling_x.py", "vocab.bpe", "source.spm", "LICENSE"):
        (path / name).write_text(name)
    (path / "pytorch_model.bin").write_bytes(b"PK\x03\x04")
    (path / "model.gguf").write_bytes(b"GGUF")
    return path


@pytest.mark.parametrize("command", [["plan"], ["upload", "--as", "left-out"]])
def test_what_is_left_out_is_said_with_its_reason(user: User, command: list[str]) -> None:
    source = folder(user, 201)
    done = user.run(*command, source, "--json")
    assert done.code == 0, done.err
    left_out = {
        each["path"]: each["reason"] for each in done.results if each.get("kind") == "left_out"
    }
    assert left_out == {"model.gguf": "GGUF weights", "pytorch_model.bin": "PyTorch weights"}
    done = user.run(*command, source)
    assert done.says("left out, GGUF weights: model.gguf"), done.err
    assert user.run("plan", source, "--also", "*.gguf", "--json").summary["files"] == 6


def test_what_a_model_needs_comes_back(user: User) -> None:
    source = folder(user, 202)
    user.ok("upload", source, "--as", "whole", "--also", "*.gguf", "--exclude", "LICENSE")
    user.ok("fetch", "whole", user.home / "whole")
    assert sorted(path.name for path in (user.home / "whole").iterdir()) == [
        "model.gguf",
        "model.safetensors",
        "modeling_x.py",
        "source.spm",
        "vocab.bpe",
    ]


def overwrite(source: Path, seed: int, tensors: int = 1) -> bytes:
    """Write other weights in place, with size and mtime kept; returns the new content."""
    before = source.stat()
    content = checkpoint(source.with_suffix(".new"), seed, tensors=tensors).read_bytes()
    with source.open("r+b") as file:
        file.write(content)
    source.with_suffix(".new").unlink()
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = source.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    return content


def test_weights_overwritten_in_place_are_a_new_version(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 203)
    assert user.ok("upload", source, "--as", "kept")["version"] == 1
    content = overwrite(source, 204)
    assert user.ok("upload", source, "--as", "kept")["version"] == 2
    user.ok("fetch", "kept", user.home / "back")
    assert (user.home / "back" / source.name).read_bytes() == content


def test_weights_overwritten_between_two_runs_are_not_mixed(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 205, tensors=3)
    user.fails(25, "upload", source, "--as", "mixed", "--max-cycles", "1000")
    content = overwrite(source, 206, tensors=3)
    assert user.ok("upload", source, "--as", "mixed")["version"] == 1
    user.ok("fetch", "mixed", user.home / "back")
    assert (user.home / "back" / source.name).read_bytes() == content
    assert user.run("audit", "mixed").code == 0


def test_a_file_of_the_year_2300_is_uploaded(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 207)
    os.utime(source, (10_413_792_000, 10_413_792_000))
    assert user.ok("upload", source, "--as", "future")["version"] == 1
    assert user.ok("upload", source, "--as", "future")["unchanged"]


def test_verifying_reads_the_source_and_sends_nothing(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 208)
    user.ok("upload", source, "--as", "verified")
    done = user.ok("upload", source, "--as", "verified", "--verify-source", "--ignore-inode")
    assert (done["version"], done["frames"], done["sent_bytes"]) == (1, 0, 0)


def test_a_stale_index_is_stored_and_noted(user: User) -> None:
    source = user.home / "stale"
    checkpoint(source / "model.safetensors", 209)
    index = {"weight_map": {"gone": "model.safetensors"}}
    (source / "model.safetensors.index.json").write_text(json.dumps(index))
    done = user.run("upload", source, "--as", "stale")
    assert done.code == 0, done.err
    assert done.says("is stale", "'gone'")
