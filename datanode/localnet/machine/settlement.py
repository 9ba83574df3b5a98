"""How a prepared message is settled: kept, undone, or decided after a crash.

The state lives in the files that `head.bin` names. A message that changes it leaves the files
changed and the undo log active, under a sequence; `commit`, `rollback` or, in the next process,
`recover` settles it. A change of code prepares a new generation of files beside the former one;
whichever loses is deleted.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from datanode.cleanup import undoing
from datanode.errors import LocalNetworkError
from datanode.localnet.machine.full_disk import refuse_when_full
from datanode.localnet.machine.head import Head, HeadFile
from datanode.localnet.machine.running import Running, sweep
from datanode.localnet.machine.stable import StableMemory
from datanode.localnet.machine.undo import Target, UndoLog

LOG: Final = "undo.log"
UNDO_ALWAYS: Final = (1 << 64) - 1
"""Sequence of messages that are never kept."""


class Settlement:
    """The state of one canister and the message that is prepared on it.

    Args:
        directory: The canister's own folder; created when absent.
        module_cache: Folder of compiled modules, shared by all canisters.
    """

    def __init__(self, directory: Path, *, module_cache: Path) -> None:
        self._folder = directory
        self._cache = module_cache
        with refuse_when_full():
            directory.mkdir(parents=True, exist_ok=True)
            self._undo = UndoLog(directory / LOG)
            self._file = HeadFile(directory)
        self._current: Running | None = None
        self._former: Running | None = None
        self._prepared = False
        self._code_changes = False

    def commit(self) -> None:
        """Keep the prepared message, if there is one."""
        if self._prepared:
            self._prepared = False
            self._undo.end()
            if self._former is not None:
                former, self._former = self._former, None
                self._code_changes = False
                former.close(keep_stable=former.stable is self._running.stable)
                sweep(self._folder, self._running.head)

    def rollback(self) -> None:
        """Undo the prepared message, if there is one."""
        if self._prepared:
            self._undo_all()

    def recover(self, committed_sequence: int) -> None:
        """Settle the message that was prepared when the process died; call it once, at start.

        Args:
            committed_sequence: The last sequence whose outcome was recorded.
        """
        sequence = self._undo.sequence
        if sequence is not None and sequence > committed_sequence:
            self._undo.replay({Target.HEAD: self._file.descriptor})
            self._undo_written()
            running = self._open(self._file.read())
            running.undo_files(self._undo)
            running.close()
        self._undo.end()
        self._written.unlink(missing_ok=True)
        sweep(self._folder, self._file.read())

    def close(self) -> None:
        """Release the files; a prepared message is settled by the next `recover`."""
        if self._current is not None:
            shared = self._former is not None and self._former.stable is self._current.stable
            self._current.close(keep_stable=shared)
        if self._former is not None:
            self._former.close()
        self._former = self._current = None
        self._undo.close()
        self._file.close()

    @property
    def _running(self) -> Running:
        if self._current is None:
            if self._undo.sequence is not None:
                raise LocalNetworkError("a message of an earlier process is not settled yet")
            head = self._file.read()
            self._current = self._open(head)
        return self._current

    def _open(self, head: Head, stable: StableMemory | None = None) -> Running:
        return Running(self._folder, self._cache, head, stable)

    def _begin(self, sequence: int) -> Running:
        if self._prepared:
            raise LocalNetworkError("the last message is neither committed nor rolled back")
        self._undo_former()
        running = self._running
        self._undo.begin(sequence)
        running.stable.begin(self._undo)
        return running

    def _undo_former(self) -> None:
        """Undo a message whose undoing failed: its log alone knows what was there before it."""
        if self._current is not None and self._undo.sequence is not None:
            self._undo_all()

    def _replace(self, running: Running, head: Head) -> None:
        """Prepare a change of generation."""
        if self._former is None:
            self._former, self._current = self._current, running
        self._prepare(running, head)

    def _prepare(self, running: Running, head: Head) -> None:
        if head != self._file.read():
            self._undo.save(Target.HEAD, self._file.descriptor, 0, self._file.size)
            self._file.write(head)
        running.head = head
        self._prepared = True

    def _undo_all(self) -> None:
        """Put files and instance back to what they were before the message; may be repeated."""
        self._prepared = False
        self._undo.replay({Target.HEAD: self._file.descriptor})
        self._undo_written()
        head = self._file.read()
        if self._former is not None and self._current is not None:
            self._current.close(keep_stable=self._current.stable is self._former.stable)
            self._current, self._former = self._former, None
        running = self._running
        running.head = head
        running.undo_files(self._undo)
        running.revert()
        self._undo.end()
        if self._code_changes:
            self._code_changes = False
            sweep(self._folder, head)

    @property
    def _written(self) -> Path:
        """Second name of a snapshot's file, while a message writes to it."""
        return self._folder / "written.bin"

    def _undo_written(self) -> None:
        """Put back what a message wrote to a snapshot."""
        if self._written.exists():
            descriptor = os.open(self._written, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._undo.replay({Target.SNAPSHOT: descriptor})
            finally:
                os.close(descriptor)

    @contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        with refuse_when_full(), undoing(self._undo_all):
            yield
