"""Processes that change a canister until they die; run in a child, killed by the test."""

import contextlib
import os
import signal
import sqlite3
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from unittest import mock

from datanode.localnet.machine.machine import Execution, Machine
from datanode.localnet.machine.snapshot_files import SnapshotContents, SnapshotPart
from tests.datanode.localnet.machine.test_machine import UPGRADED
from tests.datanode.localnet.wasm_canisters import COUNTER, ENVIRONMENT, counts

TAKEN = 5
"""Number of the snapshot in the tests."""

METHODS = ("increment", "grow", "trap_after", "grow_and_trap", "increment")


def database(folder: Path) -> sqlite3.Connection:
    """Open the outcomes, the way the network keeps them."""
    base = sqlite3.connect(folder / "outcomes.db", isolation_level=None)
    base.execute("PRAGMA journal_mode=WAL")
    base.execute("PRAGMA synchronous=NORMAL")
    base.execute("CREATE TABLE IF NOT EXISTS outcome (sequence INTEGER PRIMARY KEY, count INT)")
    return base


def last(base: sqlite3.Connection) -> tuple[int, int]:
    """Return the last sequence and the count that it recorded."""
    found = base.execute("SELECT sequence, count FROM outcome ORDER BY sequence DESC").fetchone()
    return (int(found[0]), int(found[1])) if found else (0, 0)


def open_machine(folder: Path, committed: int) -> Machine:
    """Open and recover the machine, as the network does at start."""
    made = Machine(folder / "canister", module_cache=folder / "cache")
    made.recover(committed)
    return made


def increment_until_killed(folder: Path, acknowledge: Connection, offset: int) -> None:
    """Send updates of several kinds and acknowledge each after it is recorded."""
    base = database(folder)
    sequence, count = last(base)
    made = open_machine(folder, sequence)
    if made.module_hash is None:
        made.install(COUNTER, b"", ENVIRONMENT, sequence=sequence + 1)
        sequence += 1
        base.execute("INSERT INTO outcome VALUES (?, 0)", (sequence,))
        made.commit()
    while True:
        sequence += 1
        method = METHODS[(sequence + offset) % len(METHODS)]
        if method == "grow" and made.heap_bytes > 64 * 65536:
            method = "increment"
        done = made.update(method, b"", ENVIRONMENT, sequence=sequence)
        if done.reject is None:
            (count,) = counts(done)
        base.execute("INSERT INTO outcome VALUES (?, ?)", (sequence, count))
        made.commit()
        made.query("sneak", b"", ENVIRONMENT)
        acknowledge.send((sequence, count))


@contextlib.contextmanager
def death_at(operation: int, *, torn: bool) -> Iterator[list[int]]:
    """Kill this process at its n-th change of a file; a torn write still writes half."""
    done = [0]

    def lethal(name: str) -> object:
        real = getattr(os, name)

        def run(*arguments: object, **options: object) -> object:
            done[0] += 1
            if done[0] == operation:
                if torn and name == "pwrite":
                    descriptor, data, offset = arguments
                    view = memoryview(data)  # type: ignore[arg-type]
                    real(descriptor, view[: len(view) // 2], offset)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        return run

    with contextlib.ExitStack() as stack:
        for name in (
            "pwrite",
            "ftruncate",
            "unlink",
            "replace",
            "copy_file_range",
            "link",
            "mkdir",
        ):
            stack.enter_context(mock.patch.object(os, name, lethal(name)))
        yield done


def act(made: Machine, action: str, sequence: int) -> Execution | None:
    """Do one thing that changes state."""
    if action == "install":
        return made.install(COUNTER, b"", ENVIRONMENT, sequence=sequence)
    if action == "upgrade":
        return made.upgrade(UPGRADED, b"\0", ENVIRONMENT, sequence=sequence)
    if action == "uninstall":
        made.uninstall(sequence=sequence)
        return None
    if action == "go_back":
        made.copies.restore(made._state.folder.parent / "copy", sequence=sequence)
        return None
    if action in ("take", "fill", "load"):
        act_on_snapshot(made, action, sequence)
        return None
    return made.update(action, b"", ENVIRONMENT, sequence=sequence)


def act_on_snapshot(made: Machine, action: str, sequence: int) -> None:
    """Take another snapshot, write to the one that is there, or load it."""
    if action == "take":
        made.snapshots.take(TAKEN + 1)
    elif action == "fill":
        made.snapshots.write(TAKEN, SnapshotPart.STABLE, 4090, b"written" * 2000, sequence=sequence)
    else:
        made.snapshots.load(made.snapshots.folder(TAKEN), contents(made), sequence=sequence)


def contents(made: Machine) -> SnapshotContents:
    """Contents of the snapshot that `prepare_snapshot` takes: the counter at one."""
    folder = made.snapshots.folder(TAKEN)
    return SnapshotContents(
        module_bytes=(folder / SnapshotPart.MODULE).stat().st_size,
        heap_pages=2,
        stable_pages=4,
        globals=(folder.parent.parent.parent / "globals").read_bytes(),
    )


def prepare_snapshot(folder: Path) -> None:
    """Install the counter, count to one, take a snapshot and upgrade: sequences 1 to 3."""
    prepare(folder)
    made = open_machine(folder, 2)
    (folder / "globals").write_bytes(made.snapshots.take(TAKEN).globals)
    made.commit()
    made.upgrade(UPGRADED, b"\0", ENVIRONMENT, sequence=3)
    made.commit()
    made.close()


def act_and_die(
    folder: Path, action: str, operation: int, *, torn: bool, recorded: bool, sequence: int = 3
) -> None:
    """Do one thing as a sequence and die at one of its file operations; exit 0 if it has fewer."""
    made = open_machine(folder, sequence - 1)
    made.query("read", b"", ENVIRONMENT)
    if recorded:
        act(made, action, sequence)
        (folder / "recorded").write_text(str(sequence))
    with death_at(operation, torn=torn):
        if not recorded:
            act(made, action, sequence)
        else:
            made.commit()
    os._exit(0)


def prepare(folder: Path) -> None:
    """Install the counter, count to one and copy the state: sequences 1 and 2."""
    made = open_machine(folder, 0)
    made.install(COUNTER, b"", ENVIRONMENT, sequence=1)
    made.commit()
    made.update("increment", b"", ENVIRONMENT, sequence=2)
    made.commit()
    made.copies.save(folder / "copy")
    made.close()
