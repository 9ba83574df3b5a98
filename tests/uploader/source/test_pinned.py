"""uploader.source.pinned: a read proves that the file is still the one that was opened."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.errors import SourceChangedError, SourceError, TruncatedSourceError
from tests.uploader.source.checkpoints import safetensors, write
from uploader.source import Source, open_source
from uploader.source.base import PinnedFile
from uploader.source.pinned import pin, read_exact

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


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "grown": (grow, "then,"),
    "truncated": (lambda path: os.truncate(path, 5), "then, 5 now"),
    "written to": (touch, "was written to"),
    "replaced": (replace, "another file"),
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
            stamp=found.st_mtime_ns,
            inode=found.st_ino,
        ),
    )
