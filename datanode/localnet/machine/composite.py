"""Composite queries: keep a canister's changes between its calls until the query ends.

The first step begins as any query. If it makes calls, its changes are written to the files, under
the undo log of a message that is never kept; so a later step that traps is taken back to the step
before it, and the end of the query, like a killed process, takes back everything.
"""

from datanode.localnet.machine.execution import (
    Environment,
    Execution,
    MessageInput,
    MessageKind,
    outcome,
)
from datanode.localnet.machine.outgoing import CallbackClosure
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.machine.running_canister import RunningCanister
from datanode.localnet.machine.settlement import UNDO_ALWAYS, Settlement
from datanode.localnet.machine.undo import UndoFile


class CompositeQuery:
    """The steps of a composite query; other messages wait until it is over.

    Args:
        state: The state that it reads, and changes until it ends.
    """

    def __init__(self, state: Settlement) -> None:
        self._state = state

    def start(self, method: str, arg: bytes, env: Environment) -> Execution:
        """Begin a composite query that the module has; `finish` must follow."""
        message = MessageInput(kind=MessageKind.COMPOSITE, environment=env, arg=arg, method=method)
        running = self._state.begin(UNDO_ALWAYS)
        return self._step(running, message, f"canister_composite_query {method}")

    def resume(
        self,
        closure: CallbackClosure,
        payload: bytes,
        env: Environment,
        *,
        cleanup: CallbackClosure | None,
    ) -> Execution:
        """Run a callback of the composite query under way, and when it fails the cleanup."""
        is_reject = env.incoming.reject_code > 0
        kind = MessageKind.COMPOSITE_REJECT if is_reject else MessageKind.COMPOSITE_REPLY
        message = MessageInput(kind=kind, environment=env, arg=payload)
        done = self._step(self._state.running, message, closure)
        if done.trapped and cleanup is not None:
            again = MessageInput(
                kind=MessageKind.COMPOSITE_CLEANUP, environment=env, instructions=done.instructions
            )
            self._step(self._state.running, again, cleanup)
        return done

    def finish(self) -> None:
        """End the composite query under way and take back what it did."""
        if self._state.undo.sequence == UNDO_ALWAYS:
            self._state.running.forget_instance()
            self._state.undo_all()

    def _step(
        self, running: RunningCanister, message: MessageInput, entry: str | CallbackClosure
    ) -> Execution:
        mark = self._state.undo.mark
        running.stable.begin(self._state.undo)
        with self._state.undone_on_error():
            try:
                running.run(message, entry, message.instructions)
                running.head = running.keep(self._state.undo)
            except Failure as failure:
                files = {
                    UndoFile.STABLE: running.stable.descriptor,
                    UndoFile.HEAP: running.heap.descriptor,
                }
                self._state.undo.rewind(mark, files)
                running.stable.resize(running.head.stable_pages)
                running.heap.resize(running.head.heap_pages)
                running.revert()
                return outcome(message, failure)
            except BaseException:
                running.forget_instance()
                raise
        return outcome(message, None)
