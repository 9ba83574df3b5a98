"""Copies of a canister's whole state, hidden globals included: for faults on cue.

A copy is a folder that a machine of its own can open. A snapshot, which controllers can ask for,
knows only what the module exports, as on the Internet Computer; see `snapshots`.
"""

from dataclasses import replace
from pathlib import Path

from datanode.localnet.machine import sparse
from datanode.localnet.machine.full_disk import refuse_when_full
from datanode.localnet.machine.head import NAME, Head
from datanode.localnet.machine.running import keep_module, named
from datanode.localnet.machine.settlement import LOG
from datanode.localnet.machine.snapshots import Snapshots


class Copies(Snapshots):
    """The state of one canister, copied and put back."""

    def copy_to(self, folder: Path) -> None:
        """Copy the state, as it was last committed, to a new folder.

        Raises:
            DiskFullError: There is no room; a part may be left.
        """
        self._undo_former()
        head = self._running.head
        with refuse_when_full():
            folder.mkdir(parents=True)
            for path in named(self._folder, head):
                sparse.copy(path, folder / path.name, path.stat().st_size)
            # The head comes last: without it the folder is an empty canister's.
            (folder / NAME).write_bytes(head.pack())

    def copy_committed(self, folder: Path) -> None:
        """Copy the state and the undo log of a query that waits, to a folder that is there.

        The machine that opens the folder undoes the query there, as after a kill.

        Raises:
            DiskFullError: There is no room; a part may be left.
        """
        head = self._file.read()
        with refuse_when_full():
            for path in (*named(self._folder, head), self._folder / LOG, self._folder / NAME):
                sparse.copy(path, folder / path.name, path.stat().st_size)

    def go_back(self, folder: Path, *, sequence: int) -> None:
        """Take over the state of a copy; prepared under a sequence.

        Raises:
            DiskFullError: There is no room.
        """
        former = self._begin(sequence)
        self._code_changes = True
        with self._undone_on_error():
            kept = Head.parse((folder / NAME).read_bytes())
            head = replace(
                kept,
                heap_generation=former.head.heap_generation + 1,
                stable_generation=former.head.stable_generation + 1,
            )
            heap, stable, *module = named(folder, kept)
            for path in module:
                keep_module(self._folder, path.read_bytes())
            for source, target in zip((heap, stable), named(self._folder, head), strict=False):
                sparse.copy(source, target, source.stat().st_size)
            self._replace(self._open(head), head)
