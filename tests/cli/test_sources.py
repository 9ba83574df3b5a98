"""Bad sources: each its own message and exit code, nothing sent, and the mended one succeeds."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.stage import User, checkpoint
from tests.fakes.ledger_judge import messages

_U8 = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}

HOSTILE: dict[str, Callable[[Path], object]] = {
    "empty": lambda p: p.write_bytes(b""),
    "header longer than the file": lambda p: p.write_bytes(struct.pack("<Q", 10**6) + b"{}"),
    "header longer than allowed": lambda p: p.write_bytes(struct.pack("<Q", 1 << 62) + b"{}"),
    "not JSON": lambda p: p.write_bytes(struct.pack("<Q", 4) + b"{ooo"),
    "a Git LFS pointer": lambda p: p.write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 99\n"
    ),
    "a web page": lambda p: p.write_text("<!DOCTYPE html><title>Log in</title>"),
    "a pickle": lambda p: p.write_bytes(b"PK\x03\x04" + bytes(99)),
    "a name that is too long": lambda p: p.write_bytes(_with_header({"n" * 513: _U8})),
    "overlap": lambda p: p.write_bytes(_with_header({"a": _U8, "b": _U8})),
    "a hole": lambda p: p.write_bytes(
        _with_header({"a": {"dtype": "U8", "shape": [2], "data_offsets": [2, 4]}})
    ),
    "unknown dtype": lambda p: p.write_bytes(
        _with_header({"a": {"dtype": "Z9", "shape": [4], "data_offsets": [0, 4]}})
    ),
    "nested too deeply": lambda p: p.write_bytes(
        struct.pack("<Q", 200_006) + b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    ),
}


def _with_header(header: object) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0\1\2\3"


def _puts(user: User) -> int:
    return sum(entry.method == "put_frames" for entry in user.net.ledger())


def _sent(user: User) -> int:
    return len(messages(user.net.ledger()))


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_and_nothing_is_sent(user: User, case: str) -> None:
    source = user.home / "m.safetensors"
    HOSTILE[case](source)
    before = _sent(user)
    for command in (["plan", source], ["upload", source, "--as", "hostile"]):
        done = user.run(*command, "--json")
        assert done.code in {13, 17}, done.err
        assert done.out == ""
        assert done.error["what"].startswith(source.name)
        assert done.error["hint"]
    assert _sent(user) == before
    checkpoint(source, 100)
    assert user.ok("upload", source, "--as", "hostile")["version"] >= 1


def test_each_hostile_file_has_a_message_of_its_own(user: User) -> None:
    said = set()
    for case, write in HOSTILE.items():
        source = user.home / "m.safetensors"
        write(source)
        said.add(user.run("plan", source, "--json").error["what"])
        assert len(said) > list(HOSTILE).index(case), said


def test_a_truncated_file_is_told_from_a_bad_one(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 101)
    whole = source.read_bytes()
    source.write_bytes(whole[:-7])
    before = _sent(user)
    done = user.fails(17, "upload", source, "--as", "cut")
    assert done.says("40000", "39993", "m.safetensors", "fetch the file again"), done.err
    assert _sent(user) == before
    source.write_bytes(whole)
    assert user.ok("upload", source, "--as", "cut")["version"] == 1


def test_a_missing_shard_is_named(user: User) -> None:
    folder = user.home / "sharded"
    first = checkpoint(folder / "model-00001-of-00002.safetensors", 102)
    second = checkpoint(folder / "model-00002-of-00002.safetensors", 103)
    index = {
        "metadata": {},
        "weight_map": {"layer.0": first.name, "x": second.name},
    }
    content = second.read_bytes().replace(b'"layer.0"', b'"x"      ')
    second.write_bytes(content)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    second.unlink()
    before = _sent(user)
    done = user.fails(18, "upload", folder, "--as", "sharded")
    assert done.says(second.name, "same folder"), done.err
    assert _sent(user) == before
    second.write_bytes(content)
    assert user.ok("upload", folder, "--as", "sharded")["version"] == 1


def test_a_source_that_is_not_there_is_a_bad_source(user: User) -> None:
    assert user.fails(13, "upload", "nowhere.safetensors", "--as", "m").says("nowhere")
    (user.home / "empty").mkdir()
    assert user.fails(13, "plan", "empty").says("empty")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_is_a_bad_source(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 104)
    source.chmod(0)
    user.fails(13, "plan", source)


def test_a_source_that_changed_between_runs_needs_a_word(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 105, tensors=3)
    user.fails(25, "upload", source, "--as", "changing", "--max-cycles", "1000")
    checkpoint(source, 106, tensors=3)
    os.utime(source, (1, 1))
    before = _puts(user)
    done = user.fails(31, "upload", source, "--as", "changing")
    assert done.says("--restart", "m.safetensors"), done.err
    assert _puts(user) == before
    assert user.ok("upload", source, "--as", "changing", "--restart")["version"] == 1
    user.ok("fetch", "changing", user.home / "back")
    assert (user.home / "back" / source.name).read_bytes() == source.read_bytes()


def test_a_sealed_source_that_changed_becomes_the_next_version(user: User) -> None:
    source = checkpoint(user.home / "m.safetensors", 107)
    assert user.ok("upload", source, "--as", "growing")["version"] == 1
    checkpoint(source, 108)
    os.utime(source, (1, 1))
    done = user.run("upload", source, "--as", "growing", "--json")
    assert done.code == 0, done.err
    assert done.summary["version"] == 2


@pytest.mark.parametrize("name", ["", "a/../b", "a b", "x" * 129, "\x1b[2J", "\N{SNOWMAN}"])
def test_a_name_that_is_none_is_refused_before_anything_is_sent(user: User, name: str) -> None:
    source = checkpoint(user.home / "m.safetensors", 109)
    before = _sent(user)
    done = user.run("upload", source, f"--as={name}", "--json")
    assert (done.code, done.error["exit_code"]) == (2, 2), done.err
    assert _sent(user) == before
    assert not user.ok("status")["uploads"]
