"""Snapshots in files: whole or not there after any death, as sparse as what they copy."""

import os
import shutil
import signal
from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from datanode.errors import DiskFullError
from datanode.localnet.machine import sparse
from datanode.localnet.machine.snapshot_files import SnapshotContents, SnapshotPart, UnfitError
from datanode.localnet.machine.wasm_module import WasmError
from tests.datanode.localnet import hammer
from tests.datanode.localnet.hammer import TAKEN
from tests.datanode.localnet.machine.test_machine import UPGRADED
from tests.datanode.localnet.wasm_canisters import (
    COUNTER,
    ENVIRONMENT,
    SPREAD,
    build,
    counts,
    machine,
)

MOST_OPERATIONS = 60


def files(folder: Path) -> dict[str, bytes]:
    """Read the state and the snapshots, without the undo log."""
    root = folder / "canister"
    paths = (path for path in root.rglob("*") if path.is_file() and path.name != "undo.log")
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.fixture
def ready(tmp_path: Path, context: ForkServerContext) -> Path:
    """A folder in which another process did `prepare_snapshot`."""
    folder = tmp_path / "ready"
    folder.mkdir()
    process = context.Process(target=hammer.prepare_snapshot, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == 0
    return folder


def die(
    context: ForkServerContext,
    folder: Path,
    action: str,
    operation: int,
    *,
    torn: bool = False,
    recorded: bool = False,
) -> int | None:
    options = {"torn": torn, "recorded": recorded, "sequence": 4}
    arguments = (folder, action, operation)
    process = context.Process(target=hammer.act_and_die, args=arguments, kwargs=options)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize(
    ("action", "torn"),
    [("take", False), ("fill", False), ("fill", True), ("load", False), ("load", True)],
)
def test_a_death_at_any_file_operation_leaves_what_was_there(
    tmp_path: Path, context: ForkServerContext, ready: Path, action: str, *, torn: bool
) -> None:
    before = files(ready)
    for operation in range(1, MOST_OPERATIONS):
        folder = tmp_path / str(operation)
        shutil.copytree(ready, folder)
        code = die(context, folder, action, operation, torn=torn)
        if code == 0:
            assert operation > 3
            return
        assert code == -signal.SIGKILL
        made = hammer.open_machine(folder, 3)
        made.snapshots.retain([TAKEN])
        assert files(folder) == before
        made.close()
        shutil.rmtree(folder)
    pytest.fail("the message never ended")


@pytest.mark.parametrize("action", ["take", "fill", "load"])
def test_a_death_after_a_message_is_recorded_keeps_it(
    tmp_path: Path, context: ForkServerContext, ready: Path, action: str
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(ready, whole)
    assert die(context, whole, action, 0, recorded=True) == 0
    assert files(whole) != files(ready)
    for operation in range(1, MOST_OPERATIONS):
        folder = tmp_path / str(operation)
        shutil.copytree(ready, folder)
        code = die(context, folder, action, operation, recorded=True)
        made = hammer.open_machine(folder, 4)
        made.snapshots.retain([TAKEN, TAKEN + 1])
        made.close()
        assert files(folder) == files(whole)
        shutil.rmtree(folder)
        if code == 0:
            return
    pytest.fail("the commit never ended")


def test_what_is_loaded_is_what_was_taken_and_can_be_rolled_back(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        taken = made.snapshots.take(TAKEN)
        made.commit()
        assert (taken.heap_pages, taken.stable_pages) == (2, 4)
        assert taken.module_bytes == len(COUNTER)
        made.upgrade(UPGRADED, b"\0", ENVIRONMENT, sequence=3)
        made.commit()
        before = files(tmp_path)
        folder = made.snapshots.folder(TAKEN)
        assert made.snapshots.load(folder, taken, sequence=4) > 0
        made.rollback()
        assert files(tmp_path) == before
        made.snapshots.load(folder, taken, sequence=5)
        made.commit()
        assert counts(made.query("read", b"", ENVIRONMENT)) == {1}
        assert counts(made.update("increment", b"", ENVIRONMENT, sequence=6)) == {2}
        made.commit()
    with machine(tmp_path, committed=6) as again:
        assert counts(again.query("read", b"", ENVIRONMENT)) == {2}
        assert again.snapshots.read(TAKEN, SnapshotPart.STABLE, 0, 8) == b"\1" + bytes(7)


def test_a_snapshot_of_another_machine_is_loaded(tmp_path: Path) -> None:
    with machine(tmp_path / "one", COUNTER) as one, machine(tmp_path / "two") as two:
        one.update("increment", b"", ENVIRONMENT, sequence=2)
        one.commit()
        taken = one.snapshots.take(0)
        one.commit()
        two.snapshots.load(one.snapshots.folder(0), taken, sequence=1)
        two.commit()
        one.snapshots.remove(0)
        assert counts(two.update("increment", b"", ENVIRONMENT, sequence=2)) == {2}
        assert counts(one.query("read", b"", ENVIRONMENT)) == {1}


def test_globals_are_listed_as_the_ic_lists_them(tmp_path: Path) -> None:
    wasm = build(
        """(memory 1) (global $hidden (mut i32) (i32.const 7))
        (global $end i32 (i32.const 1024)) (global $seen (mut f64) (f64.const 2.5))
        (export "seen" (global $seen)) (export "end" (global $end))
        (func (export "canister_update m") (global.set $hidden (i32.const 9))
          (global.set $seen (f64.const -1)) (call $msg_reply))""",
        "msg_reply",
    )
    with machine(tmp_path, wasm) as made:
        made.update("m", b"", ENVIRONMENT, sequence=2)
        made.commit()
        listed = made.snapshots.take(0).globals
        kinds_and_low_bytes = [(listed[at], listed[at + 1 : at + 3]) for at in range(0, 51, 17)]
        assert kinds_and_low_bytes == [(3, b"\0\0"), (0, b"\0\4"), (0, b"\t\0")]
        assert made.globals_bytes == 4 * 32


def test_a_snapshot_that_does_not_fit_its_module_is_refused(tmp_path: Path) -> None:
    with machine(tmp_path, COUNTER) as made:
        taken = made.snapshots.take(0)
        made.commit()
        before = files(tmp_path)
        one_more = taken.globals + taken.globals[:17]
        other_kind = b"\0" + taken.globals[1:]
        for wrong in (
            replace(taken, globals=b""),
            replace(taken, globals=one_more),
            replace(taken, globals=other_kind),
            replace(taken, heap_pages=1),
            replace(taken, heap_pages=0),
            replace(taken, heap_pages=65_537),
        ):
            with pytest.raises(UnfitError):
                made.snapshots.load(made.snapshots.folder(0), wrong, sequence=2)
            assert files(tmp_path) == before
        assert counts(made.update("increment", b"", ENVIRONMENT, sequence=2)) == {1}


def test_a_snapshot_can_be_filled_and_then_loaded(tmp_path: Path) -> None:
    with machine(tmp_path / "one", COUNTER) as one, machine(tmp_path / "two") as two:
        one.update("increment", b"", ENVIRONMENT, sequence=2)
        one.commit()
        taken = one.snapshots.take(0)
        one.commit()
        two.snapshots.create(3, taken)
        two.commit()
        with pytest.raises(WasmError):
            two.snapshots.load(two.snapshots.folder(3), taken, sequence=1)
        sequence = 1
        for part in SnapshotPart:
            for at in range(0, taken.size_bytes(part), 50_000):
                size = min(50_000, taken.size_bytes(part) - at)
                data = one.snapshots.read(0, part, at, size)
                two.snapshots.write(3, part, at, b"x" * size, sequence=sequence)
                two.rollback()
                two.snapshots.write(3, part, at, data, sequence=sequence)
                two.commit()
                sequence += 1
        two.snapshots.load(two.snapshots.folder(3), taken, sequence=sequence)
        two.commit()
        assert counts(two.query("read", b"", ENVIRONMENT)) == {1}


def test_many_gigabytes_of_stable_memory_are_copied_as_holes(tmp_path: Path) -> None:
    with machine(tmp_path, SPREAD) as made:
        assert made.update("m", b"", ENVIRONMENT, sequence=2).reject is None
        made.commit()
        taken = made.snapshots.take(0)
        made.commit()
        assert taken.stable_pages == 1638400
        made.snapshots.load(made.snapshots.folder(0), taken, sequence=3)
        made.commit()
        assert made.stable_bytes == 1638400 * 65_536
        assert made.copies.disk_bytes() < 200_000


def test_where_the_kernel_cannot_copy_the_bytes_are_read_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    source, target = tmp_path / "source", tmp_path / "target"
    content = os.urandom(5_000_000) + bytes(3_000_000) + b"end"
    source.write_bytes(content)
    sparse.copy(source, target, len(content) - 1)
    assert target.read_bytes() == content[:-1]


def test_a_full_disk_leaves_no_half_of_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(28, os.strerror(28))

    with machine(tmp_path, COUNTER) as made:
        made.update("increment", b"", ENVIRONMENT, sequence=2)
        made.commit()
        taken = made.snapshots.take(0)
        made.commit()
        before = files(tmp_path)
        monkeypatch.setattr(os, "copy_file_range", full)
        with pytest.raises(DiskFullError):
            made.snapshots.take(1)
        made.rollback()
        assert files(tmp_path) == before
        with pytest.raises(DiskFullError):
            made.snapshots.load(made.snapshots.folder(0), taken, sequence=3)
        made.rollback()
        assert files(tmp_path) == before
        assert counts(made.query("read", b"", ENVIRONMENT)) == {1}


def test_sizes_of_parts_follow_from_the_contents() -> None:
    contents = SnapshotContents(module_bytes=5, heap_pages=2, stable_pages=3, globals=b"")
    sizes = {part: contents.size_bytes(part) for part in SnapshotPart}
    assert sizes == {
        SnapshotPart.MODULE: 5,
        SnapshotPart.HEAP: 131_072,
        SnapshotPart.STABLE: 196_608,
    }
