import os
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from datanode.localnet.machine.stable import WASM_PAGE_BYTES, StableMemory
from datanode.localnet.machine.undo import UndoFile, UndoLog

SIZE = 3 * WASM_PAGE_BYTES
WRITES = st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(1, 20_000)), max_size=12)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stable")


@given(before=WRITES, during=WRITES, grow=st.integers(0, 2))
def test_undoing_any_writes_and_growth_restores_every_byte(
    place: Path, before: list[tuple[int, int]], during: list[tuple[int, int]], grow: int
) -> None:
    for name in ("undo", "memory"):
        (place / name).unlink(missing_ok=True)
    undo, memory = UndoLog(place / "undo"), StableMemory(place / "memory")
    memory.grow(3)
    model = bytearray(SIZE)
    memory.begin(None)
    for offset, length in before:
        write(memory, model, offset, length)
    undo.begin(1)
    memory.begin(undo)
    kept = bytes(model)
    memory.grow(grow)
    model += bytes(grow * WASM_PAGE_BYTES)
    pages = set()
    for offset, length in during:
        pages.update(write(memory, model, offset, length))
    assert os.pread(memory.descriptor, len(model) + 1, 0) == model
    undo.replay({UndoFile.STABLE: memory.descriptor})
    memory.resize(3)
    assert os.pread(memory.descriptor, SIZE + 1, 0) == kept
    memory.close()
    undo.close()


def write(memory: StableMemory, model: bytearray, offset: int, length: int) -> set[int]:
    data = os.urandom(min(length, len(model) - offset))
    memory.claim(memory.unwritten(offset, len(data)))
    memory.write(offset, memoryview(data))
    model[offset : offset + len(data)] = data
    return set(range(offset // 4096, (offset + len(data) - 1) // 4096 + 1))


def test_a_page_is_claimed_once_a_message(tmp_path: Path) -> None:
    memory = StableMemory(tmp_path / "memory")
    memory.grow(1)
    memory.begin(None)
    for offset, length, fresh in ((0, 1, [0]), (4095, 2, [1]), (0, 8192, [])):
        assert memory.unwritten(offset, length) == fresh
        memory.claim(fresh)
    assert memory.dirty_pages == 2
    memory.begin(None)
    assert memory.dirty_pages == 0
    assert memory.unwritten(0, 8192) == [0, 1]


def test_pages_that_a_message_uses_are_counted_once(tmp_path: Path) -> None:
    memory = StableMemory(tmp_path / "memory")
    memory.grow(1)
    memory.begin(None)
    assert [memory.touch(0, 1), memory.touch(4095, 2), memory.touch(0, 8192)] == [1, 2, 2]
    memory.begin(None)
    assert memory.touch(8192, 1) == 1


def test_reads_see_writes_and_zeros_elsewhere(tmp_path: Path) -> None:
    memory = StableMemory(tmp_path / "memory")
    assert memory.grow(2) == 0
    assert memory.grow(1) == 2
    memory.begin(None)
    memory.claim(memory.unwritten(100, 3))
    memory.write(100, memoryview(b"abc"))
    into = bytearray(8)
    memory.read(98, memoryview(into))
    assert into == b"\0\0abc\0\0\0"
    assert memory.find(b"bc") == 101
    assert not memory.holds(SIZE - 1, 2)
    assert memory.holds(SIZE - 1, 1)
