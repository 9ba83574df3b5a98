"""uploader.source.pinned: a read proves that the file is still the one that was opened."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import SourceChangedError, SourceError, TruncatedSourceError
from tests.uploader.source.checkpoints import safetensors, write
from uploader import stamps
from uploader.source import Source, open_source
from uploader.source.base import PinnedFile
from uploader.source.pinned import check, pin, read_exact

CONTENT = bytes(range(256)) * 3


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    return path


@given(st.integers(0, len(CONTENT)), st.integers(0, len(CONTENT)))
def test_reads_return_exactly_the_range(
    tmp_path_factory: pytest.TempPathFactory, one: int, other: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "ranges"
    if not path.exists():
        path.write_bytes(CONTENT)
    start, end = sorted((one, other))
    assert read_exact(path, pin(path, "ranges"), start, end - start) == CONTENT[start:end]


def test_a_read_beyond_the_end_is_truncated(file: Path) -> None:
    with pytest.raises(TruncatedSourceError, match="ends 10 bytes early"):
        read_exact(file, pin(file, "file"), 760, 18)


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def touch(path: Path) -> None:
    found = path.stat()
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns + 1))


def replace(path: Path) -> None:
    found = path.stat()
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(found.st_atime_ns, found.st_mtime_ns))
    copy.replace(path)


def overwrite(path: Path) -> None:
    """Write other bytes in place and set the old time again, as a sync tool does."""
    found = path.stat()
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content[::-1])
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "grown": (grow, "then,"),
    "truncated": (lambda path: os.truncate(path, 5), "then, 5 now"),
    "written to": (touch, "was written to"),
    "replaced": (replace, "ctime"),
    "overwritten, time kept": (overwrite, "ctime"),
    "removed": (Path.unlink, "is gone"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_noticed_by_the_next_read_and_by_checking(tmp_path: Path, change: str) -> None:
    write(tmp_path, {"model.safetensors": safetensors({"w": 99}), "config.json": "{}"})
    source: Source = open_source(tmp_path)
    assert source.read(1, 0, 8)
    source.check_unchanged()
    act, says = CHANGES[change]
    act(tmp_path / "model.safetensors")
    with pytest.raises(SourceChangedError, match=says):
        source.read(1, 0, 8)
    with pytest.raises(SourceChangedError, match=says):
        source.check_unchanged()
    source.close()


def test_a_folder_in_the_place_of_a_file_is_noticed(file: Path) -> None:
    pinned = pin(file, "file")
    make_folder(file)
    with pytest.raises(SourceError):
        read_exact(file, pinned, 0, 1)


def test_a_disk_that_fails_is_a_source_error(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = pin(file, "file")

    def fail(path: Path, mode: str, buffering: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(SourceError, match="Input/output error"):
        read_exact(file, pinned, 0, 1)
    with pytest.raises(SourceError, match="Input/output error"):
        pin(file, "file")


def test_a_source_tells_its_pins(tmp_path: Path) -> None:
    write(tmp_path, {"model.safetensors": safetensors({"w": 9})})
    found = (tmp_path / "model.safetensors").stat()
    assert open_source(tmp_path).pinned() == (
        PinnedFile(
            path="model.safetensors",
            length_bytes=found.st_size,
            stamp=stamps.of_times(found.st_mtime_ns, found.st_ctime_ns),
            inode=found.st_ino,
        ),
    )


class Inodes:
    """A file system that tells another inode number at each `period`-th question."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, period: int) -> None:
        self._asked = 0
        self._period = period
        self._true: dict[str, Callable[..., os.stat_result]] = {"stat": os.stat, "fstat": os.fstat}
        monkeypatch.setattr(os, "stat", lambda *a, **k: self._told("stat", *a, **k))
        monkeypatch.setattr(os, "fstat", lambda *a, **k: self._told("fstat", *a, **k))

    def _told(self, name: str, *arguments: object, **named: object) -> os.stat_result:
        self._asked += 1
        found = self._true[name](*arguments, **named)
        fields = list(found)
        fields[1] = 1 + self._asked // self._period
        named_fields = {
            each: getattr(found, each) for each in ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")
        }
        return os.stat_result(fields, named_fields)


def test_a_file_system_that_makes_inodes_up_can_be_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Inodes(monkeypatch, period=1)
    pinned = pin(file, "file")
    assert pinned.inode == 0
    assert read_exact(file, pinned, 0, 9) == CONTENT[:9]
    check(file, pinned)


def test_an_inode_that_changes_at_times_is_told_from_another_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = pin(file, "file")
    ignored = pin(file, "file", ignore_inode=True)
    Inodes(monkeypatch, period=1_000)
    with pytest.raises(SourceChangedError, match="another file lies in its place") as caught:
        check(file, pinned)
    assert "--ignore-inode" in caught.value.hint
    check(file, ignored)
    Inodes(monkeypatch, period=1)
    check(file, pinned)


@pytest.mark.parametrize("second", [-(2**33), 10_413_792_000, 2**33])
def test_any_time_of_a_file_is_taken(file: Path, second: int) -> None:
    """The year 2300 is 10,413,792,000 s: 2^63 ns end in 2262."""
    os.utime(file, (second, second))
    pinned = pin(file, "file")
    assert 0 <= pinned.stamp < 2**63
    check(file, pinned)
