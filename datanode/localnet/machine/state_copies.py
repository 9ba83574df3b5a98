"""Copy a canister's whole state, hidden globals included, for injected rollbacks.

A copy is a folder that a machine of its own can open. A snapshot, which controllers can ask for,
knows only what the module exports, as on the Internet Computer; see `snapshots`.
"""

from dataclasses import replace
from pathlib import Path

from datanode.localnet.machine import sparse
from datanode.localnet.machine.full_disk import refuse_when_full
from datanode.localnet.machine.running_canister import keep_module, named
from datanode.localnet.machine.settlement import LOG, Settlement
from datanode.localnet.machine.state_head import NAME, Head


class StateCopies:
    """The state of one canister, copied and put back.

    Args:
        state: The state.
    """

    def __init__(self, state: Settlement) -> None:
        self._state = state

    def disk_bytes(self) -> int:
        """How much room a copy takes at most."""
        return sum(map(sparse.disk_bytes, named(self._state.folder, self._state.running.head)))

    def save(self, folder: Path) -> None:
        """Copy the state, as it was last committed, to a new folder.

        Raises:
            DiskFullError: There is no room; a part may be left.
        """
        self._state.undo_former()
        head = self._state.running.head
        with refuse_when_full():
            folder.mkdir(parents=True)
            for path in named(self._state.folder, head):
                sparse.copy(path, folder / path.name, path.stat().st_size)
            # The head comes last: without it the folder is an empty canister's.
            (folder / NAME).write_bytes(head.pack())

    def save_committed(self, folder: Path) -> None:
        """Copy the state and the undo log of a query that waits, to a folder that is there.

        The machine that opens the folder undoes the query there, as after a kill.

        Raises:
            DiskFullError: There is no room; a part may be left.
        """
        own = self._state.folder
        paths = (*named(own, self._state.file.read()), own / LOG, own / NAME)
        with refuse_when_full():
            for path in paths:
                sparse.copy(path, folder / path.name, path.stat().st_size)

    def restore(self, folder: Path, *, sequence: int) -> None:
        """Take over the state of a copy; prepared under a sequence.

        Raises:
            DiskFullError: There is no room.
        """
        own = self._state.folder
        former = self._state.begin_code_change(sequence)
        with self._state.undone_on_error():
            kept = Head.parse((folder / NAME).read_bytes())
            head = replace(
                kept,
                heap_generation=former.head.heap_generation + 1,
                stable_generation=former.head.stable_generation + 1,
            )
            heap, stable, *module = named(folder, kept)
            for path in module:
                keep_module(own, path.read_bytes())
            for source, target in zip((heap, stable), named(own, head), strict=False):
                sparse.copy(source, target, source.stat().st_size)
            self._state.switch(self._state.open(head))
            self._state.prepare(head)
