"""Snapshots of a canister's state, beside it in its folder: taken, filled, read and loaded.

Snapshot N is the folder `snapshots/N` with `module.wasm`, `heap.bin` and `stable.bin`; what else
belongs to it is the caller's to keep. A folder that the caller does not name is a leftover and is
deleted at start, so a snapshot exists from the moment at which the caller has recorded it.

Taking one copies the files as the last message left them. Loading one is a change of code: it
prepares a new generation of the canister's own files. Writing to one that is being uploaded is
prepared under the undo log, through a second name of the file, `written.bin`.
"""

import os
import shutil
from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import wasmtime

from datanode.localnet.machine import prices, sparse
from datanode.localnet.machine.full_disk import refuse_when_full
from datanode.localnet.machine.instance import Instance
from datanode.localnet.machine.running_canister import (
    heap_path,
    keep_module,
    module_path,
    stable_path,
)
from datanode.localnet.machine.settlement import Settlement
from datanode.localnet.machine.stable import WASM_PAGE_BYTES
from datanode.localnet.machine.state_head import Head
from datanode.localnet.machine.undo import UndoFile, write_all


class UnfitError(Exception):
    """The parts of a snapshot do not fit together; the text says which, in the IC's words."""


class SnapshotPart(StrEnum):
    """A file of a snapshot."""

    MODULE = "module.wasm"
    HEAP = "heap.bin"
    STABLE = "stable.bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotContents:
    """Contents of a snapshot.

    Attributes:
        module_bytes: Size of the module.
        heap_pages: Size of the heap, Wasm pages.
        stable_pages: Size of the stable memory, Wasm pages.
        globals: Records of the listed globals.
    """

    module_bytes: int
    heap_pages: int
    stable_pages: int
    globals: bytes

    def size_bytes(self, part: SnapshotPart) -> int:
        """Length of one of the files."""
        pages = self.heap_pages if part is SnapshotPart.HEAP else self.stable_pages
        return self.module_bytes if part is SnapshotPart.MODULE else pages * WASM_PAGE_BYTES


class SnapshotFiles:
    """The snapshots of one canister.

    Args:
        state: The state that they are taken of and loaded into.
    """

    def __init__(self, state: Settlement) -> None:
        self._state = state
        self._made: Path | None = None
        self._writes = False

    def folder(self, number: int) -> Path:
        """Name the folder of a snapshot."""
        return self._state.folder / "snapshots" / str(number)

    def disk_bytes(self, number: int) -> int:
        """How much room a copy of a snapshot takes at most."""
        return sum(sparse.disk_bytes(self.folder(number) / part) for part in SnapshotPart)

    def take(self, number: int) -> SnapshotContents:
        """Copy the present state of a canister that has code; prepared until `commit`.

        Raises:
            DiskFullError: There is no room; nothing is left.
        """
        self._state.undo_former()
        running, own = self._state.running, self._state.folder
        head = running.head
        if head.module_hash is None:
            raise LookupError("the canister has no module")
        module = module_path(own, head.module_hash)
        contents = SnapshotContents(
            module_bytes=module.stat().st_size,
            heap_pages=head.heap_pages,
            stable_pages=head.stable_pages,
            globals=running.globals().listed(head.globals, running.instance()),
        )
        sources = {
            SnapshotPart.MODULE: module,
            SnapshotPart.HEAP: heap_path(own, head.heap_generation),
            SnapshotPart.STABLE: stable_path(own, head.stable_generation),
        }
        with refuse_when_full():
            folder = self._new_folder(number)
            for part, source in sources.items():
                sparse.copy(source, folder / part, contents.size_bytes(part))
        return contents

    def create(self, number: int, contents: SnapshotContents) -> None:
        """Make a snapshot of zeros, to be filled; prepared until `commit`."""
        with refuse_when_full():
            folder = self._new_folder(number)
            for part in SnapshotPart:
                sparse.empty(folder / part, contents.size_bytes(part))

    def write(
        self, number: int, part: SnapshotPart, offset: int, data: bytes, *, sequence: int
    ) -> None:
        """Overwrite a range of a snapshot's file; prepared under a sequence.

        Raises:
            DiskFullError: There is no room; the range is as it was.
        """
        self._state.begin(sequence)
        with self._state.undone_on_error():
            self._writes = True
            self._state.written.unlink(missing_ok=True)
            os.link(self.folder(number) / part, self._state.written)
            descriptor = os.open(self._state.written, os.O_RDWR | os.O_CLOEXEC)
            try:
                self._state.undo.save(UndoFile.SNAPSHOT, descriptor, offset, len(data))
                write_all(descriptor, data, offset)
            finally:
                os.close(descriptor)
            self._state.prepare(self._state.running.head)

    def read(self, number: int, part: SnapshotPart, offset: int, size: int) -> bytes:
        """Read a range that a snapshot's file holds."""
        descriptor = os.open(self.folder(number) / part, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def remove(self, number: int) -> None:
        """Delete the files of a snapshot that is not recorded any more."""
        shutil.rmtree(self.folder(number), ignore_errors=True)

    def retain(self, numbers: Iterable[int]) -> None:
        """Delete the snapshots that are not named: messages that were never recorded left them."""
        kept = {str(each) for each in numbers}
        folder = self._state.folder / "snapshots"
        for path in folder.iterdir() if folder.exists() else ():
            if path.name not in kept:
                shutil.rmtree(path)

    def load(
        self,
        source: Path,
        contents: SnapshotContents,
        *,
        sequence: int,
        compiled: Container[bytes] = (),
    ) -> int:
        """Replace code, heap, stable memory and globals; prepared under a sequence.

        Args:
            source: The snapshot's folder, of this canister or of another one.
            contents: What it consists of.
            sequence: Number of the message.
            compiled: Hashes of modules that the subnet has compiled since its last checkpoint.

        Returns:
            The instructions of compiling the module.

        Raises:
            WasmError: The module cannot be installed.
            UnfitError: The module does not take the heap or the globals.
            DiskFullError: There is no room.
        """
        wasm = (source / SnapshotPart.MODULE).read_bytes()
        with refuse_when_full():
            facts = self._state.compiled(wasm).facts
        former = self._state.begin_code_change(sequence)
        with self._state.undone_on_error():
            head = Head(
                heap_generation=former.head.heap_generation + 1,
                stable_generation=former.head.stable_generation + 1,
                heap_pages=contents.heap_pages,
                stable_pages=contents.stable_pages,
                module_hash=keep_module(self._state.folder, wasm),
            )
            heap = heap_path(self._state.folder, head.heap_generation)
            sparse.copy(source / SnapshotPart.HEAP, heap, contents.size_bytes(SnapshotPart.HEAP))
            stable = stable_path(self._state.folder, head.stable_generation)
            sparse.copy(
                source / SnapshotPart.STABLE, stable, contents.size_bytes(SnapshotPart.STABLE)
            )
            self._state.switch(self._state.open(head))
            self._state.prepare(self._fitted(head, contents.globals))
        return prices.compiling_instructions(facts.operators, again=head.module_hash in compiled)

    def commit(self) -> None:
        """Keep the snapshot that is prepared; the state is committed before."""
        self._made = None
        self._forget_written()

    def rollback(self) -> None:
        """Delete the snapshot that is prepared; the state is rolled back before."""
        self._forget_written()
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)
            self._made = None

    def _forget_written(self) -> None:
        if self._writes:
            self._writes = False
            self._state.written.unlink(missing_ok=True)

    def _new_folder(self, number: int) -> Path:
        folder = self.folder(number)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        self._made = folder
        return folder

    def _fitted(self, head: Head, listed: bytes) -> Head:
        """Return a head with the globals, once a module of that memory takes them.

        Raises:
            UnfitError: The module has other globals, or a memory that cannot be so large.
        """
        fresh = Instance(self._state.running.linked)
        saved = self._state.running.globals().saved(listed, fresh)
        if saved is None:
            raise UnfitError(
                "Wasm exported globals of canister module and snapshot metadata do not match."
            )
        try:
            fresh.grow_to(head.heap_pages)
        except wasmtime.WasmtimeError:
            fresh.refresh()
        if fresh.pages != head.heap_pages:
            raise UnfitError(
                f"Wasm memory of {head.heap_pages} pages does not fit the canister module."
            )
        return replace(head, globals=saved)
