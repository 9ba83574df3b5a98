"""Settle a prepared message: commit, roll back, or decide after a crash.

The state lives in the files that `head.bin` names. A message that changes it leaves the files
changed and the undo log active, under a sequence; `commit`, `rollback` or, in the next process,
`recover` settles it. A change of code prepares a new generation of files beside the former one;
whichever loses is deleted.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from datanode.cleanup import rollback_on_error
from datanode.errors import LocalNetworkError
from datanode.localnet.machine.engine import Compiled, compiled
from datanode.localnet.machine.full_disk import refuse_when_full
from datanode.localnet.machine.running_canister import RunningCanister, sweep
from datanode.localnet.machine.stable import StableMemory
from datanode.localnet.machine.state_head import Head, HeadFile
from datanode.localnet.machine.undo import UndoFile, UndoLog
from datanode.metering import Metering
from datanode.metering import metering as newest

LOG: Final = "undo.log"
UNDO_ALWAYS: Final = (1 << 64) - 1
"""Sequence of messages that are never kept."""


class Settlement:
    """The state of one canister and the message that is prepared on it.

    Args:
        directory: The canister's own folder; created when absent.
        module_cache: Folder of compiled modules, shared by all canisters.
        metering: Tells what memory costs; asked before each message.

    Attributes:
        folder: The canister's own folder.
        undo: What the message under way overwrote.
        file: The file of the committed head.
    """

    def __init__(
        self,
        directory: Path,
        *,
        module_cache: Path,
        metering: Callable[[], Metering] = newest,
    ) -> None:
        self._metering = metering
        self.folder = directory
        self._cache = module_cache
        with refuse_when_full():
            directory.mkdir(parents=True, exist_ok=True)
            self.undo = UndoLog(directory / LOG)
            self.file = HeadFile(directory)
        self._current: RunningCanister | None = None
        self._former: RunningCanister | None = None
        self._prepared = False
        self._code_changes = False

    def commit(self) -> None:
        """Keep the prepared message, if there is one."""
        if self._prepared:
            self._prepared = False
            self.undo.end()
            if self._former is not None:
                former, self._former = self._former, None
                self._code_changes = False
                former.close(keep_stable=former.stable is self.running.stable)
                sweep(self.folder, self.running.head)

    def rollback(self) -> None:
        """Undo the prepared message, if there is one."""
        if self._prepared:
            self.undo_all()

    def recover(self, committed_sequence: int) -> None:
        """Settle the message that was prepared when the process died; call it once, at start.

        Args:
            committed_sequence: The last sequence whose outcome was recorded.
        """
        sequence = self.undo.sequence
        if sequence is not None and sequence > committed_sequence:
            self.undo.replay({UndoFile.HEAD: self.file.descriptor})
            self._undo_written()
            running = self.open(self.file.read())
            running.undo_files(self.undo)
            running.close()
        self.undo.end()
        self.written.unlink(missing_ok=True)
        sweep(self.folder, self.file.read())

    def close(self) -> None:
        """Release the files; a prepared message is settled by the next `recover`."""
        if self._current is not None:
            shared = self._former is not None and self._former.stable is self._current.stable
            self._current.close(keep_stable=shared)
        if self._former is not None:
            self._former.close()
        self._former = self._current = None
        self.undo.close()
        self.file.close()

    @property
    def running(self) -> RunningCanister:
        """The state in use; the files are opened when it is first needed."""
        if self._current is None:
            if self.undo.sequence is not None:
                raise LocalNetworkError("a message of an earlier process is not settled yet")
            self._current = self.open(self.file.read())
        return self._current

    def open(self, head: Head, stable: StableMemory | None = None) -> RunningCanister:
        """Open the files of a head, with the stable memory that an upgrade hands on."""
        return RunningCanister(self.folder, self._cache, head, self._metering(), stable)

    def compiled(self, wasm: bytes) -> Compiled:
        """Compile a module for the metering in force.

        Raises:
            WasmError: It is not a module that a canister can have.
        """
        return compiled(wasm, self._cache, reads=self._metering().tracks_accesses)

    def begin(self, sequence: int) -> RunningCanister:
        """Begin a message: what it overwrites is saved under its sequence."""
        if self._prepared:
            raise LocalNetworkError("the last message is neither committed nor rolled back")
        self.undo_former()
        running = self.running
        running.use(self._metering())
        self.undo.begin(sequence)
        running.stable.begin(self.undo)
        return running

    def begin_code_change(self, sequence: int) -> RunningCanister:
        """Begin a message that replaces the files by another generation of them."""
        former = self.begin(sequence)
        self._code_changes = True
        return former

    def switch(self, running: RunningCanister) -> None:
        """Use another generation from here on; the former one is kept until it is settled."""
        self._former, self._current = self._current, running

    def keep(self) -> None:
        """Prepare what the message under way changed in the instance and in the files."""
        self.prepare(self.running.keep(self.undo))

    def prepare(self, head: Head) -> None:
        """Prepare a head that describes the files as the message under way leaves them."""
        if head != self.file.read():
            self.undo.save(UndoFile.HEAD, self.file.descriptor, 0, self.file.size)
            self.file.write(head)
        self.running.head = head
        self._prepared = True

    def undo_former(self) -> None:
        """Undo a message whose undoing failed: its log alone knows what was there before it."""
        if self._current is not None and self.undo.sequence is not None:
            self.undo_all()

    def undo_all(self) -> None:
        """Put files and instance back to what they were before the message; may be repeated."""
        self._prepared = False
        self.undo.replay({UndoFile.HEAD: self.file.descriptor})
        self._undo_written()
        head = self.file.read()
        if self._former is not None and self._current is not None:
            self._current.close(keep_stable=self._current.stable is self._former.stable)
            self._current, self._former = self._former, None
        running = self.running
        running.head = head
        running.undo_files(self.undo)
        running.revert()
        self.undo.end()
        if self._code_changes:
            self._code_changes = False
            sweep(self.folder, head)

    @property
    def written(self) -> Path:
        """Second name of a snapshot's file, while a message writes to it."""
        return self.folder / "written.bin"

    def _undo_written(self) -> None:
        """Put back what a message wrote to a snapshot."""
        if self.written.exists():
            descriptor = os.open(self.written, os.O_RDWR | os.O_CLOEXEC)
            try:
                self.undo.replay({UndoFile.SNAPSHOT: descriptor})
            finally:
                os.close(descriptor)

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Undo the message under way if the block fails."""
        with refuse_when_full(), rollback_on_error(self.undo_all):
            yield
