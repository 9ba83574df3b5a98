"""A canister's state while it runs: its files, and the instance that mirrors them."""

import contextlib
import hashlib
from pathlib import Path

from datanode.localnet.machine import wasm_module
from datanode.localnet.machine.engine import compiled
from datanode.localnet.machine.execution import MessageInput
from datanode.localnet.machine.globals import Globals
from datanode.localnet.machine.heap import HeapMirror
from datanode.localnet.machine.instance import Instance
from datanode.localnet.machine.linked_module import LinkedModule
from datanode.localnet.machine.outgoing import CallbackClosure
from datanode.localnet.machine.stable import WASM_PAGE_BYTES, StableMemory
from datanode.localnet.machine.state_head import Head
from datanode.localnet.machine.undo import UndoFile, UndoLog
from datanode.metering import Metering


def heap_path(folder: Path, generation: int) -> Path:
    """Name the file of a heap mirror."""
    return folder / f"heap-{generation}.bin"


def stable_path(folder: Path, generation: int) -> Path:
    """Name the file of a stable memory."""
    return folder / f"stable-{generation}.bin"


def module_path(folder: Path, module_hash: bytes) -> Path:
    """Name the file of a module."""
    return folder / f"module-{module_hash.hex()}.wasm"


def keep_module(folder: Path, wasm: bytes) -> bytes:
    """Write a module's file unless it is there; returns the SHA-256 that names it.

    The former state may have the same module, so a file that is there is never written to.
    """
    module_hash = hashlib.sha256(wasm).digest()
    path = module_path(folder, module_hash)
    if not path.exists():
        part = path.with_suffix(".part")
        part.write_bytes(wasm)
        part.replace(path)
    return module_hash


class RunningCanister:
    """One generation of a canister's state.

    Args:
        folder: The canister's folder.
        cache: Folder of compiled modules.
        head: Which files hold the state.
        metering: What memory costs.
        stable: The stable memory of the generation before, if an upgrade hands it on.

    Attributes:
        head: What the files hold.
        stable: The stable memory.
        heap: The heap mirror.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        head: Head,
        metering: Metering,
        stable: StableMemory | None = None,
    ) -> None:
        self.head = head
        self._metering = metering
        self.stable = stable or StableMemory(stable_path(folder, head.stable_generation))
        self.heap = HeapMirror(heap_path(folder, head.heap_generation))
        self._folder = folder
        self._cache = cache
        self._metadata: dict[str, tuple[str, bytes]] | None = None
        self._linked: LinkedModule | None = None
        self._instance: Instance | None = None
        self._new: Instance | None = None
        self._changes: list[int] = []

    @property
    def linked(self) -> LinkedModule:
        """The module; it is loaded when it is first needed."""
        if self._linked is None:
            reads = self._metering.tracks_accesses
            self._linked = LinkedModule(compiled(self.module(), self._cache, reads=reads))
        return self._linked

    def use(self, metering: Metering) -> None:
        """Charge by another metering version from the next message on."""
        if metering != self._metering:
            self._metering = metering
            if self._linked is not None:
                self._linked.release()
            self._instance = self._linked = None

    def module(self) -> bytes:
        """Return the module as it was given."""
        if self.head.module_hash is None:
            raise LookupError("the canister has no module")
        return module_path(self._folder, self.head.module_hash).read_bytes()

    @property
    def metadata(self) -> dict[str, tuple[str, bytes]]:
        """The module's metadata sections: name to (visibility, content)."""
        if self._metadata is None:
            self._metadata = {}
            if self.head.module_hash is not None:
                self._metadata = wasm_module.metadata(wasm_module.unpack(self.module()))
        return self._metadata

    @property
    def methods(self) -> tuple[str, ...]:
        """Functions that the module exports."""
        return self.linked.compiled.facts.methods

    def globals(self) -> Globals:
        """Return the listed globals of the module."""
        return Globals(wasm_module.unpack(self.module()), self.linked)

    def instance(self) -> Instance:
        """Return an instance that holds what the files hold."""
        if self._instance is None or self.linked.compiled.facts.per_instance:
            fresh = Instance(self.linked)
            fresh.grow_to(self.heap.pages)
            if self.heap.pages:
                self.heap.load(fresh.memory)
            if self.head.globals:
                fresh.restore_globals(self.head.globals)
            self._instance = fresh
        return self._instance

    def new_instance(self, keep: "RunningCanister | None" = None) -> Instance:
        """Return the instance of a module that is being installed.

        Its data segments are not what a message changed: they go to the files at once.

        Args:
            keep: Whose heap it takes over, instead of its own data segments.

        Raises:
            Failure: Its memory is too small for that heap.
        """
        self._new = self._instance = fresh = Instance(self.linked)
        if keep is not None:
            fresh.take_over((keep._instance or keep.instance()).memory)  # noqa: SLF001 - a Running too
        self._changes = self.heap.changes(self._instance.memory)
        self.store_heap(None)
        return self._instance

    def run(self, message: MessageInput, entry: str | CallbackClosure, used: int = 0) -> int:
        """Run an export or a callback as (part of) a message; return what the message has used.

        Raises:
            Failure: It failed, in the IC's words; its changes are still there.
            OSError: A file could not be written.
        """
        instance = self._new or self.instance()
        self.linked.state.serve(instance, message, self.stable, self._metering)
        instance.begin(message.kind.memory_prices(self._metering))
        try:
            message.check_heap(instance.pages * WASM_PAGE_BYTES)
            instance.run(entry, message.kind.limit, used)
        finally:
            written = instance.pages_used.written(instance.pages)
            self._changes = self.heap.changes(instance.memory, written)
            used = instance.used()
            if message.kind.keeps:
                wide = self.linked.compiled.facts.wide
                used += len(self._changes) * self._metering.heap_page_instructions(wide=wide)
            message.instructions = min(used, message.kind.limit)
        return message.instructions

    def store_heap(self, undo: UndoLog | None) -> None:
        """Write what changed in the instance's memory to the mirror."""
        if self._instance is not None:
            self.heap.store(self._instance.memory, self._changes, undo)

    def keep(self, undo: UndoLog | None) -> Head:
        """Write the instance's state to the files; return the head that describes them."""
        self._new = None
        head = self.head
        if self._instance is not None:
            self.store_heap(undo)
            head = Head(
                heap_generation=head.heap_generation,
                stable_generation=head.stable_generation,
                stable_pages=self.stable.pages,
                heap_pages=self.heap.pages,
                module_hash=head.module_hash,
                globals=self._instance.save_globals(),
            )
        return head

    def revert(self) -> None:
        """Make the instance hold what the files hold, after a message that is undone."""
        instance = self._instance
        if instance is not None:
            if instance.pages != self.heap.pages:
                self._instance = None
            else:
                self.heap.restore(instance.memory, self._changes)
                instance.restore_globals(self.head.globals)

    def forget_instance(self) -> None:
        """Let the next message begin with a fresh instance of what the files hold."""
        self._instance = None

    def undo_files(self, undo: UndoLog) -> None:
        """Put the files back to what the head says."""
        undo.replay({UndoFile.STABLE: self.stable.descriptor, UndoFile.HEAP: self.heap.descriptor})
        self.stable.resize(self.head.stable_pages)
        self.heap.resize(self.head.heap_pages)

    def close(self, *, keep_stable: bool = False) -> None:
        """Release the files."""
        if self._linked is not None:
            self._linked.release()
        self._instance = self._new = self._linked = None
        self.heap.close()
        if not keep_stable:
            self.stable.close()


def named(folder: Path, head: Head) -> list[Path]:
    """List the files that a head names."""
    paths = [heap_path(folder, head.heap_generation), stable_path(folder, head.stable_generation)]
    if head.module_hash:
        paths.append(module_path(folder, head.module_hash))
    return paths


def sweep(folder: Path, head: Head) -> None:
    """Delete the files that the head does not name."""
    kept = named(folder, head)
    for pattern in ("heap-*.bin", "stable-*.bin", "module-*.wasm", "*.part"):
        for path in folder.glob(pattern):
            if path not in kept:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
