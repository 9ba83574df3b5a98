import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from datanode.localnet.machine.heap import HeapMirror
from datanode.localnet.machine.stable import WASM_PAGE_BYTES
from datanode.localnet.machine.undo import UndoFile, UndoLog

PAGES = 8
SIZE = PAGES * WASM_PAGE_BYTES


def keep(mirror: HeapMirror, live: bytes | bytearray, undo: UndoLog | None = None) -> None:
    memory = memoryview(bytearray(live))
    mirror.store(memory, mirror.changes(memory), undo)


SPOTS = st.lists(st.integers(0, SIZE - 1), max_size=30)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heap")


@given(first=SPOTS, second=SPOTS)
def test_storing_restoring_and_undoing_follow_a_model(
    place: Path, first: list[int], second: list[int]
) -> None:
    for name in ("undo", "mirror"):
        (place / name).unlink(missing_ok=True)
    undo, mirror = UndoLog(place / "undo"), HeapMirror(place / "mirror")
    live = bytearray(SIZE)
    for spot in first:
        live[spot] ^= 0x5A
    keep(mirror, live)
    kept = bytes(live)
    for spot in second:
        live[spot] ^= 0xC3
    changed = bytes(live)
    mirror.restore(memoryview(live), mirror.changes(memoryview(live)))
    assert live == kept
    live[:] = changed
    undo.begin(1)
    keep(mirror, live, undo)
    assert os.pread(mirror.descriptor, SIZE + 1, 0) == changed
    undo.replay({UndoFile.HEAP: mirror.descriptor})
    assert os.pread(mirror.descriptor, SIZE + 1, 0) == kept
    mirror.load(memoryview(live))
    assert live == kept
    mirror.close()
    undo.close()


def test_changes_name_the_pages_that_differ(tmp_path: Path) -> None:
    mirror = HeapMirror(tmp_path / "mirror")
    live = bytearray(SIZE)
    keep(mirror, live)
    live[0] = live[5000] = live[300_000] = live[SIZE - 1] = 1
    last = SIZE // 4096
    assert mirror.changes(memoryview(live)) == [0, 1, 73, last - 1]
    live += bytes(3 * WASM_PAGE_BYTES)
    live[SIZE] = live[-1] = 1
    assert mirror.changes(memoryview(live)) == [0, 1, 73, last - 1, last, last + 47]


def test_pages_that_stay_zero_take_no_room(tmp_path: Path) -> None:
    mirror = HeapMirror(tmp_path / "mirror")
    live = bytearray(256 * WASM_PAGE_BYTES)
    live[10_000_000] = 1
    keep(mirror, live)
    assert (tmp_path / "mirror").stat().st_size == len(live)
    assert (tmp_path / "mirror").stat().st_blocks * 512 < 100_000


def test_growing_keeps_what_was_there(tmp_path: Path) -> None:
    mirror = HeapMirror(tmp_path / "mirror")
    keep(mirror, b"a" * WASM_PAGE_BYTES)
    keep(mirror, b"a" * WASM_PAGE_BYTES + b"b" * WASM_PAGE_BYTES)
    again = HeapMirror(tmp_path / "mirror")
    assert again.pages == 2
    live = bytearray(2 * WASM_PAGE_BYTES)
    again.load(memoryview(live))
    assert live == b"a" * WASM_PAGE_BYTES + b"b" * WASM_PAGE_BYTES
