import os
from itertools import pairwise
from pathlib import Path

import pytest

from datanode.errors import UnsupportedVersionError
from datanode.localnet.machine.undo import UndoFile, UndoLog, extents

PAGE = 4096


def file(folder: Path, name: str, content: bytes) -> int:
    descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, content, 0)
    return descriptor


def test_replaying_restores_what_was_saved_in_reverse_order(tmp_path: Path) -> None:
    log = UndoLog(tmp_path / "undo.log")
    heap, stable = file(tmp_path, "heap", b"a" * PAGE), file(tmp_path, "stable", b"b" * PAGE)
    log.begin(7)
    log.save(UndoFile.HEAP, heap, 0, PAGE)
    os.pwrite(heap, b"x" * PAGE, 0)
    log.save(UndoFile.HEAP, heap, 100, 50)
    os.pwrite(heap, b"y" * 50, 100)
    log.save(UndoFile.STABLE, stable, 10, 3)
    os.pwrite(stable, b"zzz", 10)
    for _ in range(2):
        log.replay({UndoFile.HEAP: heap, UndoFile.STABLE: stable})
        assert os.pread(heap, PAGE, 0) == b"a" * PAGE
        assert os.pread(stable, PAGE, 0) == b"b" * PAGE


def test_a_log_is_found_again_by_another_process(tmp_path: Path) -> None:
    log = UndoLog(tmp_path / "undo.log")
    heap = file(tmp_path, "heap", b"a" * PAGE)
    log.begin(2**64 - 1)
    log.save(UndoFile.HEAP, heap, 0, PAGE)
    os.pwrite(heap, b"x" * PAGE, 0)
    again = UndoLog(tmp_path / "undo.log")
    assert again.sequence == 2**64 - 1
    again.replay({UndoFile.HEAP: heap})
    again.end()
    assert os.pread(heap, PAGE, 0) == b"a" * PAGE
    assert UndoLog(tmp_path / "undo.log").sequence is None


def test_holes_are_saved_without_their_zeros_and_restored(tmp_path: Path) -> None:
    log = UndoLog(tmp_path / "undo.log")
    heap = file(tmp_path, "heap", b"")
    os.ftruncate(heap, 1 << 30)
    os.pwrite(heap, b"data", 1 << 29)
    log.begin(1)
    log.save(UndoFile.HEAP, heap, 0, 1 << 30)
    assert (tmp_path / "undo.log").stat().st_size < 64 * PAGE
    os.pwrite(heap, b"x" * (1 << 20), (1 << 29) - (1 << 19))
    log.replay({UndoFile.HEAP: heap})
    expected = bytes(1 << 19) + b"data" + bytes((1 << 19) - 4)
    assert os.pread(heap, 1 << 20, (1 << 29) - (1 << 19)) == expected


def test_only_the_files_asked_for_are_restored(tmp_path: Path) -> None:
    log = UndoLog(tmp_path / "undo.log")
    heap, head = file(tmp_path, "heap", b"a" * 10), file(tmp_path, "head", b"b" * 10)
    log.begin(1)
    log.save(UndoFile.HEAP, heap, 0, 10)
    log.save(UndoFile.HEAD, head, 0, 10)
    os.pwrite(heap, b"x", 0)
    os.pwrite(head, b"x", 0)
    log.replay({UndoFile.HEAD: head})
    assert (os.pread(heap, 10, 0), os.pread(head, 10, 0)) == (b"x" + b"a" * 9, b"b" * 10)


def test_a_new_message_forgets_the_entries_of_the_last(tmp_path: Path) -> None:
    log = UndoLog(tmp_path / "undo.log")
    heap = file(tmp_path, "heap", b"a" * 10)
    log.begin(1)
    log.save(UndoFile.HEAP, heap, 0, 10)
    log.end()
    os.pwrite(heap, b"b" * 10, 0)
    log.begin(2)
    log.replay({UndoFile.HEAP: heap})
    assert os.pread(heap, 10, 0) == b"b" * 10


def test_a_large_log_gives_its_room_back(tmp_path: Path) -> None:
    log = UndoLog(tmp_path / "undo.log")
    heap = file(tmp_path, "heap", b"")
    for at in range(70):
        os.pwrite(heap, b"a" * (1 << 20), at << 20)
    log.begin(1)
    log.save(UndoFile.HEAP, heap, 0, 70 << 20)
    assert (tmp_path / "undo.log").stat().st_size > 70 << 20
    log.end()
    assert (tmp_path / "undo.log").stat().st_size == PAGE
    log.begin(2)
    log.save(UndoFile.HEAP, heap, 0, 10)
    log.replay({UndoFile.HEAP: heap})


def test_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "undo.log").write_bytes(b"DNUL\x02" + bytes(PAGE))
    with pytest.raises(UnsupportedVersionError):
        UndoLog(tmp_path / "undo.log")


def test_extents_tile_the_range(tmp_path: Path) -> None:
    descriptor = file(tmp_path, "sparse", b"")
    os.ftruncate(descriptor, 100 * PAGE)
    os.pwrite(descriptor, b"x", 50 * PAGE)
    found = list(extents(descriptor, 10, 90 * PAGE))
    assert found[0][1] == 10
    assert found[-1][2] == 10 + 90 * PAGE
    assert all(left[2] == right[1] for left, right in pairwise(found))
    assert any(has_data and start <= 50 * PAGE < end for has_data, start, end in found)
