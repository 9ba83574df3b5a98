"""Fetching returns the stored bytes exactly, or fails."""

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datanode.digest import FrameDigest
from datanode.errors import (
    CorruptionError,
    DiskFullError,
    FormatError,
    NotFoundError,
    UsageError,
)
from datanode.node.port import FrameAbsence
from datanode.reader import Reader, VerifiedVersion, fetch_model, fetch_tensor
from tests.fakes.checkpoints import CHUNK_BYTES, sealed, some_bytes
from tests.fakes.memory_node import MemoryNode

FILES = {
    "config.json": b"{}",
    "empty": b"",
    "sub/dir/model.bin": some_bytes(10 * CHUNK_BYTES - 1),
}


class Counting(MemoryNode):
    """Remembers which chunks were asked for."""

    asked: list[int]

    def get_frames(
        self, model: str, manifest: FrameDigest, chunks: Sequence[int]
    ) -> list[bytes | FrameAbsence]:
        self.asked.extend(chunks)
        return super().get_frames(model, manifest, chunks)


@pytest.fixture
def node() -> Counting:
    node = Counting()
    node.asked = []
    sealed(node, "llama", FILES)
    return node


def opened(node: MemoryNode) -> VerifiedVersion:
    return Reader(node, root_key=node.root_key, clock_ns=node.world.clock).open_version("llama")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_file_comes_back_byte_for_byte(node: Counting, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    summary = fetch_model(
        opened(node), tmp_path / "out", on_bytes=lambda done, total: seen.append((done, total))
    )
    assert contents(tmp_path / "out") == FILES
    assert (summary.files_count, summary.skipped_count) == (3, 0)
    assert summary.raw_bytes == summary.fetched_bytes == 10 * CHUNK_BYTES + 1
    assert seen[-1] == (summary.raw_bytes, summary.raw_bytes)
    assert seen == sorted(seen)


def test_files_that_are_there_are_not_fetched_again(node: Counting, tmp_path: Path) -> None:
    fetch_model(opened(node), tmp_path)
    node.asked.clear()
    (tmp_path / "config.json").write_bytes(b"[]")
    summary = fetch_model(opened(node), tmp_path)
    assert (summary.skipped_count, summary.fetched_bytes) == (2, 2)
    assert node.asked == [0]
    assert contents(tmp_path) == FILES


def test_an_interrupted_fetch_goes_on_after_its_last_good_chunk(
    node: Counting, tmp_path: Path
) -> None:
    version = opened(node)
    node.world.unreachable.add(version.record(5).frame)
    with pytest.raises(Exception, match="timed out"):
        fetch_model(version, tmp_path, jobs=1)
    assert not (tmp_path / "sub/dir/model.bin").exists()
    unfinished = tmp_path / "sub/dir/model.bin~datanode"
    unfinished.write_bytes(FILES["sub/dir/model.bin"][: 3 * CHUNK_BYTES] + b"torn")
    node.world.unreachable.clear()
    node.asked.clear()
    summary = fetch_model(version, tmp_path)
    assert sorted(node.asked) == [4, 5, 6, 7, 8, 9, 10]
    assert summary.fetched_bytes == 7 * CHUNK_BYTES - 1
    assert contents(tmp_path) == FILES


def test_a_bad_chunk_leaves_an_existing_file_alone(node: Counting, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"mine")
    version = opened(node)
    node.world.corrupt(version.record(0).frame)
    with pytest.raises(CorruptionError, match=r"chunk 0 of config\.json"):
        fetch_model(version, tmp_path)
    assert (tmp_path / "config.json").read_bytes() == b"mine"


def test_a_file_that_was_sealed_with_another_digest_is_not_delivered(
    node: Counting, tmp_path: Path
) -> None:
    version = opened(node)
    files = tuple(replace(entry, sha256=bytes(32)) for entry in version.head.files)
    version.head = replace(version.head, files=files)
    with pytest.raises(CorruptionError, match="sealed wrong"):
        fetch_model(version, tmp_path)
    assert [path.stat().st_size for path in tmp_path.iterdir()] == [0]


def test_a_full_disk_is_said_so_and_finished_files_are_whole(
    node: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter([None, None, OSError(errno.ENOSPC, "No space left on device")])

    def fsync(descriptor: int) -> None:
        if (error := next(calls, None)) is not None:
            raise error

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DiskFullError):
        fetch_model(opened(node), tmp_path)
    assert (tmp_path / "config.json").read_bytes() == b"{}"
    monkeypatch.undo()
    fetch_model(opened(node), tmp_path)
    assert contents(tmp_path) == FILES


def test_a_link_that_leads_out_of_the_destination_is_not_followed(
    node: Counting, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub").symlink_to(outside)
    with pytest.raises(UsageError, match="leads out of"):
        fetch_model(opened(node), tmp_path / "out")
    assert list(outside.iterdir()) == []


def test_a_link_in_place_of_the_unfinished_file_is_not_followed(
    node: Counting, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/config.json~datanode").symlink_to(victim)
    with pytest.raises(UsageError):
        fetch_model(opened(node), tmp_path / "out")
    assert victim.read_bytes() == b"precious"


def test_two_fetches_at_once_do_not_mix(node: Counting, tmp_path: Path) -> None:
    version = opened(node)
    errors: list[str] = []

    def again(done: int, total: int) -> None:
        if not errors:
            try:
                fetch_tensor(version, "config.json.weight", tmp_path / "config.json")
            except UsageError as error:
                errors.append(error.what)

    fetch_model(version, tmp_path, on_bytes=again)
    assert "another process is writing" in errors[0]
    assert contents(tmp_path) == FILES


def test_a_destination_that_is_a_file_is_refused(node: Counting, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(UsageError):
        fetch_model(opened(node), tmp_path / "out")


def test_one_tensor_comes_alone(node: Counting, tmp_path: Path) -> None:
    entry = fetch_tensor(opened(node), "sub/dir/model.bin.weight", tmp_path / "tensor")
    assert (tmp_path / "tensor").read_bytes() == FILES["sub/dir/model.bin"]
    assert entry.shape == (10 * CHUNK_BYTES - 1,)
    assert 0 not in node.asked


def test_an_unknown_tensor_writes_nothing(node: Counting, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        fetch_tensor(opened(node), "nope", tmp_path / "tensor")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "lie", [{"first_chunk": 2, "chunk_count": 1}, {"chunk_count": 12}, {"offset_bytes": 1},
            {"file_index": 9}],
)  # fmt: skip
def test_a_tensor_that_a_broken_manifest_names_elsewhere_is_refused(
    node: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lie: dict[str, Any]
) -> None:
    version = opened(node)
    entries = tuple(replace(entry, **lie) for entry in version.tensor_page(0))
    monkeypatch.setattr(VerifiedVersion, "tensor_page", lambda *_: entries)
    with pytest.raises(FormatError):
        fetch_tensor(version, "sub/dir/model.bin.weight", tmp_path / "tensor")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_another_process_finished_meanwhile_is_not_touched(
    node: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "tensor"

    def late(descriptor: int, _operation: int) -> None:
        os.write(descriptor, b"finished")
        (tmp_path / "tensor~datanode").replace(place)

    monkeypatch.setattr("fcntl.flock", late)
    with pytest.raises(UsageError, match="another process"):
        fetch_tensor(opened(node), "sub/dir/model.bin.weight", place)
    assert place.read_bytes() == b"finished"


def test_links_in_a_circle_are_refused(node: Counting, tmp_path: Path) -> None:
    (tmp_path / "sub").symlink_to(tmp_path / "bus")
    (tmp_path / "bus").symlink_to(tmp_path / "sub")
    with pytest.raises(UsageError):
        fetch_model(opened(node), tmp_path)
