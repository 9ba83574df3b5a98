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

from dataclasses import replace
from typing import Final

from datanode.errors import LocalNetworkError
from datanode.localnet.machine import instrument, prices
from datanode.localnet.machine.composite import CompositeQueries
from datanode.localnet.machine.copies import Copies
from datanode.localnet.machine.engine import compiled
from datanode.localnet.machine.execution import Environment, Execution, Kind, Message, outcome
from datanode.localnet.machine.head import Head
from datanode.localnet.machine.outgoing import Closure
from datanode.localnet.machine.rejects import Failure, Reject
from datanode.localnet.machine.running import keep_module
from datanode.localnet.machine.settlement import UNDO_ALWAYS
from datanode.localnet.machine.stable import WASM_PAGE_BYTES
from datanode.localnet.machine.undo import clear
from datanode.localnet.machine.wasm_module import WasmError

__all__ = ["Environment", "Execution", "Machine", "Reject"]

_KEPT: Final = (Kind.UPDATE, Kind.TASK)


class Machine(Copies, CompositeQueries):
    """One canister's Wasm, heap and stable memory in a folder.

    Args:
        directory: The canister's own folder; created when absent.
        module_cache: Folder of compiled modules, shared by all canisters.
    """

    def install(self, wasm: bytes, arg: bytes, env: Environment, *, sequence: int) -> Execution:
        """Install a module on an empty heap and an empty stable memory (install, reinstall)."""
        return self._change_code(wasm, arg, env, sequence, upgrade=False)

    def upgrade(
        self,
        wasm: bytes,
        arg: bytes,
        env: Environment,
        *,
        sequence: int,
        skip_pre_upgrade: bool = False,
        keep_heap: bool = False,
    ) -> Execution:
        """Replace the module; stable memory stays, the heap only on request."""
        hook = None if skip_pre_upgrade else "canister_pre_upgrade"
        return self._change_code(
            wasm, arg, env, sequence, upgrade=True, before=hook, keep_heap=keep_heap
        )

    def uninstall(self, *, sequence: int) -> None:
        """Remove the module, the heap and the stable memory."""
        former = self._begin(sequence)
        self._code_changes = True
        with self._undone_on_error():
            head = Head(
                heap_generation=former.head.heap_generation + 1,
                stable_generation=former.head.stable_generation + 1,
            )
            self._replace(self._open(head), head)

    def update(self, method: str, arg: bytes, env: Environment, *, sequence: int) -> Execution:
        """Run an update method, or a query method in replicated execution, which keeps nothing.

        Raises:
            DiskFullError: The state's disk is full; the message is undone.
        """
        message = Message(kind=Kind.UPDATE, environment=env, arg=arg, method=method)
        entry = f"canister_update {method}"
        if self.module_hash is not None and entry not in self._running.methods:
            entry = f"canister_query {method}"
            message.kind = Kind.REPLICATED_QUERY
            if f"canister_composite_query {method}" in self._running.methods:
                return outcome(message, Failure.composite())
        return self._serve(message, entry, sequence, words="update")

    def has(self, export: str) -> bool:
        """Whether the module has a timer function, a composite query or the like."""
        return self.module_hash is not None and export in self._running.methods

    def task(self, export: str, env: Environment, *, sequence: int) -> Execution:
        """Run a function that nobody calls and that answers nobody."""
        message = Message(kind=Kind.TASK, environment=env, method=export)
        return self._serve(message, export, sequence, words="system")

    def respond(
        self,
        closure: Closure,
        payload: bytes,
        env: Environment,
        *,
        cleanup: Closure | None,
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
        kind = Kind.REJECT if env.incoming.reject_code else Kind.REPLY
        message = Message(kind=kind, environment=env, arg=payload)
        if self.module_hash is None:
            return outcome(message, Failure.no_module())
        running = self._begin(sequence)
        failure = None
        with self._undone_on_error():
            try:
                running.run(message, closure)
                self._prepare(running, running.keep(self._undo))
            except Failure as stop:
                failure = stop
                self._undo_all()
        if failure is not None:
            return self._clean_up(message, failure, cleanup, sequence)
        return outcome(message, None)

    def _clean_up(
        self, message: Message, failure: Failure, cleanup: Closure | None, sequence: int
    ) -> Execution:
        failed = outcome(message, failure)
        if message.environment.growth is not None:
            message.environment.growth.reset()
        if cleanup is None:
            return failed
        again = Message(
            kind=Kind.CLEANUP,
            environment=message.environment,
            instructions=message.instructions,
            logs=message.logs,
        )
        running = self._begin(sequence)
        with self._undone_on_error():
            try:
                running.run(again, cleanup, message.instructions)
                self._prepare(running, running.keep(self._undo))
            except Failure as second:
                self._undo_all()
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
        message = Message(kind=Kind.QUERY, environment=env, arg=arg, method=method)
        return self._serve(message, f"canister_query {method}", UNDO_ALWAYS, words="query")

    def inspect(self, method: str, arg: bytes, env: Environment) -> Execution:
        """Ask `canister_inspect_message` whether an ingress message may enter."""
        message = Message(kind=Kind.INSPECT, environment=env, arg=arg, method=method)
        entry = "canister_inspect_message"
        if self.module_hash is not None and entry not in self._running.methods:
            message.accepted = True
            return outcome(message, None)
        return self._serve(message, entry, UNDO_ALWAYS, words="inspect")

    @property
    def module_hash(self) -> bytes | None:
        """SHA-256 of the module as it was given; None when there is none."""
        return self._running.head.module_hash

    @property
    def is_wide(self) -> bool:
        """Whether the module has a 64-bit memory."""
        return self.module_hash is not None and self._running.linked.compiled.facts.wide

    @property
    def stable_bytes(self) -> int:
        """Size of the stable memory, bytes."""
        return self._running.stable.pages * WASM_PAGE_BYTES

    @property
    def heap_bytes(self) -> int:
        """Size of the heap, bytes."""
        return self._running.head.heap_pages * WASM_PAGE_BYTES

    def metadata(self, name: str) -> tuple[str, bytes] | None:
        """Return the visibility ("public", "private") and content of a metadata section."""
        return self._running.metadata.get(name)

    def metadata_names(self) -> tuple[str, ...]:
        """Return the names of all metadata sections."""
        return tuple(self._running.metadata)

    def find_stable(self, needle: bytes) -> int | None:
        """Return the offset of some bytes in stable memory."""
        return self._running.stable.find(needle)

    def corrupt_stable(self, offset: int, xor: int) -> None:
        """Change one byte of stable memory behind the canister's back: a fault on cue."""
        if not self._running.stable.holds(offset, 1):
            raise LocalNetworkError(f"stable memory has no byte at {offset}")
        self._running.stable.flip(offset, xor)

    def erase_stable(self, offset: int, length_bytes: int) -> None:
        """Zero a range of stable memory behind the canister's back: a fault on cue."""
        if not self._running.stable.holds(offset, length_bytes):
            raise LocalNetworkError(f"stable memory has no {length_bytes} bytes at {offset}")
        clear(self._running.stable.descriptor, offset, length_bytes)

    def _serve(self, message: Message, entry: str, sequence: int, *, words: str) -> Execution:
        if self.module_hash is None:
            return outcome(message, Failure.no_module())
        if entry not in self._running.methods:
            return outcome(message, Failure.no_method(words, message.method))
        running = self._begin(sequence)
        failure = None
        with self._undone_on_error():
            try:
                running.run(message, entry)
            except Failure as stop:
                failure = stop
            if failure is not None or message.kind not in _KEPT:
                self._undo_all()
            else:
                self._prepare(running, running.keep(self._undo))
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
    ) -> Execution:
        message = Message(kind=Kind.INIT, environment=env, arg=arg)
        if upgrade and self.module_hash is None:
            return outcome(message, Failure.no_module())
        try:
            module = compiled(wasm, self._cache)
        except WasmError as error:
            return outcome(message, Failure.wasm(str(error)))
        former = self._begin(sequence)
        failure = None
        self._code_changes = True
        with self._undone_on_error():
            head = Head(
                heap_generation=former.head.heap_generation + 1,
                stable_generation=former.head.stable_generation + (not upgrade),
                module_hash=keep_module(self._folder, wasm),
            )
            used = module.facts.operators * prices.INSTRUCTIONS_TO_COMPILE_AN_OPERATOR
            message.instructions = used
            try:
                if before and before in former.methods:
                    message.kind = Kind.PRE_UPGRADE
                    used = former.run(message, before, used)
                running = self._open(head, former.stable if upgrade else None)
                self._current, self._former = running, former
                running.new_instance(former if keep_heap else None)
                hook = "canister_post_upgrade" if upgrade else "canister_init"
                for kind, export in ((Kind.START, instrument.START), (Kind.INIT, hook)):
                    message.kind = kind
                    if export in running.methods:
                        used = running.run(message, export, used)
                        running.store_heap(None)
                self._replace(running, running.keep(None))
            except Failure as stop:
                failure = stop
                self._undo_all()
        return outcome(message, failure)
