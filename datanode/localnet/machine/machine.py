"""One canister's machine: its Wasm, heap and stable memory in a folder, run message by message.

A message that changes state is *prepared*: its changes are in the files, and what they overwrote
is in the undo log, under the message's sequence. The caller then records the message's outcome
under the same sequence in its own database and calls `commit`, or it calls `rollback`. After a
`kill -9` at any instant, `recover` with the last sequence that the database holds keeps or undoes
the prepared message, so that the canister and the database agree::

    files of the message written, undo log active    -> recover(older sequence)  undoes
    database transaction committed                   -> recover(this sequence)   keeps
    commit(): undo log idle                          -> recover                  does nothing

A message that fails, and every query, is undone at once. A machine is not safe for concurrent use:
its owner holds a lock. The engine runs without Python's global lock, so that machines of different
canisters run in parallel.
"""

from collections.abc import Callable, Container
from dataclasses import replace
from pathlib import Path
from typing import Final

from datanode.errors import LocalNetworkError
from datanode.localnet.machine import instrument, prices
from datanode.localnet.machine.composite import CompositeQuery
from datanode.localnet.machine.execution import (
    Environment,
    Execution,
    MessageInput,
    MessageKind,
    outcome,
)
from datanode.localnet.machine.outgoing import CallbackClosure
from datanode.localnet.machine.rejects import Failure, Reject
from datanode.localnet.machine.running_canister import keep_module
from datanode.localnet.machine.settlement import UNDO_ALWAYS, Settlement
from datanode.localnet.machine.snapshot_files import SnapshotFiles
from datanode.localnet.machine.stable import WASM_PAGE_BYTES
from datanode.localnet.machine.state_copies import StateCopies
from datanode.localnet.machine.state_head import Head
from datanode.localnet.machine.undo import clear
from datanode.localnet.machine.wasm_module import WasmError
from datanode.metering import Metering
from datanode.metering import metering as newest

__all__ = ["Environment", "Execution", "Machine", "Reject"]

_KEPT: Final = (MessageKind.UPDATE, MessageKind.TASK)


class Machine:
    """One canister's Wasm, heap and stable memory in a folder.

    Args:
        directory: The canister's own folder; created when absent.
        module_cache: Folder of compiled modules, shared by all canisters.
        metering: Tells what memory costs; asked before each message.

    Attributes:
        snapshots: Snapshots that controllers take and load.
        copies: Copies of the whole state, for injected rollbacks.
        composite: The composite query under way.
    """

    def __init__(
        self,
        directory: Path,
        *,
        module_cache: Path,
        metering: Callable[[], Metering] = newest,
    ) -> None:
        self._state = Settlement(directory, module_cache=module_cache, metering=metering)
        self.snapshots = SnapshotFiles(self._state)
        self.copies = StateCopies(self._state)
        self.composite = CompositeQuery(self._state)

    def commit(self) -> None:
        """Keep the prepared message, if there is one."""
        self._state.commit()
        self.snapshots.commit()

    def rollback(self) -> None:
        """Undo the prepared message, if there is one."""
        self._state.rollback()
        self.snapshots.rollback()

    def recover(self, committed_sequence: int) -> None:
        """Settle the message that was prepared when the process died; call it once, at start.

        Args:
            committed_sequence: The last sequence whose outcome was recorded.
        """
        self._state.recover(committed_sequence)

    def close(self) -> None:
        """Release the files; a prepared message is settled by the next `recover`."""
        self._state.close()

    def install(
        self,
        wasm: bytes,
        arg: bytes,
        env: Environment,
        *,
        sequence: int,
        compiled: Container[bytes] = (),
    ) -> Execution:
        """Install a module on an empty heap and an empty stable memory (install, reinstall).

        Args:
            wasm: The module.
            arg: Argument of its initialization.
            env: What the canister is told.
            sequence: Number of the message.
            compiled: Hashes of modules that the subnet has compiled since its last checkpoint.
        """
        return self._change_code(wasm, arg, env, sequence, upgrade=False, compiled=compiled)

    def upgrade(
        self,
        wasm: bytes,
        arg: bytes,
        env: Environment,
        *,
        sequence: int,
        skip_pre_upgrade: bool = False,
        keep_heap: bool = False,
        compiled: Container[bytes] = (),
    ) -> Execution:
        """Replace the module; stable memory stays, the heap only on request."""
        hook = None if skip_pre_upgrade else "canister_pre_upgrade"
        return self._change_code(
            wasm,
            arg,
            env,
            sequence,
            upgrade=True,
            before=hook,
            keep_heap=keep_heap,
            compiled=compiled,
        )

    def uninstall(self, *, sequence: int) -> None:
        """Remove the module, the heap and the stable memory."""
        former = self._state.begin_code_change(sequence)
        with self._state.undone_on_error():
            head = Head(
                heap_generation=former.head.heap_generation + 1,
                stable_generation=former.head.stable_generation + 1,
            )
            self._state.switch(self._state.open(head))
            self._state.prepare(head)

    def update(self, method: str, arg: bytes, env: Environment, *, sequence: int) -> Execution:
        """Run an update method, or a query method in replicated execution, which keeps nothing.

        Raises:
            DiskFullError: The state's disk is full; the message is undone.
        """
        message = MessageInput(kind=MessageKind.UPDATE, environment=env, arg=arg, method=method)
        entry = f"canister_update {method}"
        if self.module_hash is not None and entry not in self._state.running.methods:
            entry = f"canister_query {method}"
            message.kind = MessageKind.REPLICATED_QUERY
            if f"canister_composite_query {method}" in self._state.running.methods:
                return outcome(message, Failure.composite())
        return self._serve(message, entry, sequence, words="update")

    def has(self, export: str) -> bool:
        """Whether the module has a timer function, a composite query or the like."""
        return self.module_hash is not None and export in self._state.running.methods

    def task(self, export: str, env: Environment, *, sequence: int) -> Execution:
        """Run a function that nobody calls and that answers nobody."""
        message = MessageInput(kind=MessageKind.TASK, environment=env, method=export)
        return self._serve(message, export, sequence, words="system")

    def respond(
        self,
        closure: CallbackClosure,
        payload: bytes,
        env: Environment,
        *,
        cleanup: CallbackClosure | None,
        sequence: int,
    ) -> Execution:
        """Run the callback for a response, and when it fails the cleanup, whose changes are kept.

        Args:
            closure: The callback for a reply or, if the environment has a reject code, a reject.
            payload: The reply; nothing for a reject.
            env: What the canister is told.
            cleanup: What runs when the callback fails.
            sequence: The message's sequence.
        """
        kind = MessageKind.REJECT if env.incoming.reject_code else MessageKind.REPLY
        message = MessageInput(kind=kind, environment=env, arg=payload)
        if self.module_hash is None:
            return outcome(message, Failure.no_module())
        running = self._state.begin(sequence)
        failure = None
        with self._state.undone_on_error():
            try:
                running.run(message, closure)
                self._state.keep()
            except Failure as stop:
                failure = stop
                self._state.undo_all()
        if failure is not None:
            return self._clean_up(message, failure, cleanup, sequence)
        return outcome(message, None)

    def _clean_up(
        self,
        message: MessageInput,
        failure: Failure,
        cleanup: CallbackClosure | None,
        sequence: int,
    ) -> Execution:
        failed = outcome(message, failure)
        if message.environment.growth is not None:
            message.environment.growth.reset()
        if cleanup is None:
            return failed
        again = MessageInput(
            kind=MessageKind.CLEANUP,
            environment=message.environment,
            instructions=message.instructions,
            logs=message.logs,
        )
        running = self._state.begin(sequence)
        with self._state.undone_on_error():
            try:
                running.run(again, cleanup, message.instructions)
                self._state.keep()
            except Failure as second:
                self._state.undo_all()
                failure.what += f"\n\ncall_on_cleanup also failed:\n\n{second.what}"
                return replace(outcome(message, failure), instructions=again.instructions)
        return replace(
            failed,
            instructions=again.instructions,
            logs=tuple(again.logs),
            burnt_cycles=again.burnt_cycles,
            timer_ns=again.timer_ns,
            reserved_cycles=again.reserved_cycles,
        )

    def query(self, method: str, arg: bytes, env: Environment) -> Execution:
        """Run a query method; what it changes is undone."""
        message = MessageInput(kind=MessageKind.QUERY, environment=env, arg=arg, method=method)
        return self._serve(message, f"canister_query {method}", UNDO_ALWAYS, words="query")

    def inspect(self, method: str, arg: bytes, env: Environment) -> Execution:
        """Ask `canister_inspect_message` whether an ingress message may enter."""
        message = MessageInput(kind=MessageKind.INSPECT, environment=env, arg=arg, method=method)
        entry = "canister_inspect_message"
        if self.module_hash is not None and entry not in self._state.running.methods:
            message.accepted = True
            return outcome(message, None)
        return self._serve(message, entry, UNDO_ALWAYS, words="inspect")

    @property
    def module_hash(self) -> bytes | None:
        """SHA-256 of the module as it was given; None when there is none."""
        return self._state.running.head.module_hash

    @property
    def is_wide(self) -> bool:
        """Whether the module has a 64-bit memory."""
        return self.module_hash is not None and self._state.running.linked.compiled.facts.wide

    @property
    def stable_bytes(self) -> int:
        """Size of the stable memory, bytes."""
        return self._state.running.stable.pages * WASM_PAGE_BYTES

    @property
    def heap_bytes(self) -> int:
        """Size of the heap, bytes."""
        return self._state.running.head.heap_pages * WASM_PAGE_BYTES

    @property
    def sections_bytes(self) -> int:
        """Size of the metadata sections as the IC counts them, bytes."""
        sections = self._state.running.metadata.items()
        return sum(len(name.encode()) + 1 + len(content) for name, (_, content) in sections)

    @property
    def globals_bytes(self) -> int:
        """Size of the globals as the IC counts them, bytes."""
        return 0 if self.module_hash is None else self._state.running.globals().counted_bytes

    def metadata(self, name: str) -> tuple[str, bytes] | None:
        """Return the visibility ("public", "private") and content of a metadata section."""
        return self._state.running.metadata.get(name)

    def metadata_names(self) -> tuple[str, ...]:
        """Return the names of all metadata sections."""
        return tuple(self._state.running.metadata)

    def find_stable(self, needle: bytes) -> int | None:
        """Return the offset of some bytes in stable memory."""
        return self._state.running.stable.find(needle)

    def corrupt_stable(self, offset: int, xor: int) -> None:
        """Change one byte of stable memory behind the canister's back: a fault on cue."""
        if not self._state.running.stable.holds(offset, 1):
            raise LocalNetworkError(f"stable memory has no byte at {offset}")
        self._state.running.stable.flip(offset, xor)

    def erase_stable(self, offset: int, length_bytes: int) -> None:
        """Zero a range of stable memory behind the canister's back: a fault on cue."""
        if not self._state.running.stable.holds(offset, length_bytes):
            raise LocalNetworkError(f"stable memory has no {length_bytes} bytes at {offset}")
        clear(self._state.running.stable.descriptor, offset, length_bytes)

    def _serve(self, message: MessageInput, entry: str, sequence: int, *, words: str) -> Execution:
        if self.module_hash is None:
            return outcome(message, Failure.no_module())
        if entry not in self._state.running.methods:
            return outcome(message, Failure.no_method(words, message.method))
        running = self._state.begin(sequence)
        failure = None
        with self._state.undone_on_error():
            try:
                running.run(message, entry)
            except Failure as stop:
                failure = stop
            if failure is not None or message.kind not in _KEPT:
                self._state.undo_all()
            else:
                self._state.keep()
        return outcome(message, failure)

    def _change_code(
        self,
        wasm: bytes,
        arg: bytes,
        env: Environment,
        sequence: int,
        *,
        upgrade: bool,
        before: str | None = None,
        keep_heap: bool = False,
        compiled: Container[bytes],
    ) -> Execution:
        message = MessageInput(kind=MessageKind.INIT, environment=env, arg=arg)
        if upgrade and self.module_hash is None:
            return outcome(message, Failure.no_module())
        try:
            module = self._state.compiled(wasm)
        except WasmError as error:
            return outcome(message, Failure.wasm(error))
        former = self._state.begin_code_change(sequence)
        failure = None
        with self._state.undone_on_error():
            head = Head(
                heap_generation=former.head.heap_generation + 1,
                stable_generation=former.head.stable_generation + (not upgrade),
                module_hash=keep_module(self._state.folder, wasm),
            )
            again = head.module_hash in compiled
            used = prices.compiling_instructions(module.facts.operators, again=again)
            message.instructions = used
            try:
                if before and before in former.methods:
                    message.kind = MessageKind.PRE_UPGRADE
                    used = former.run(message, before, used)
                running = self._state.open(head, former.stable if upgrade else None)
                self._state.switch(running)
                running.new_instance(former if keep_heap else None)
                hook = "canister_post_upgrade" if upgrade else "canister_init"
                for kind, export in (
                    (MessageKind.START, instrument.START),
                    (MessageKind.INIT, hook),
                ):
                    message.kind = kind
                    if export in running.methods:
                        used = running.run(message, export, used)
                        running.store_heap(None)
                self._state.prepare(running.keep(None))
            except Failure as stop:
                failure = stop
                self._state.undo_all()
        return outcome(message, failure)
