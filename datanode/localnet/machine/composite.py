"""Composite queries: what a canister does between its calls stays until the query is over.

The first step begins as any query. If it makes calls, its changes are written to the files, under
the undo log of a message that is never kept; so a later step that traps is taken back to the step
before it, and the end of the query, like a killed process, takes back everything.
"""

from datanode.localnet.machine.execution import Environment, Execution, Kind, Message, outcome
from datanode.localnet.machine.outgoing import Closure
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.machine.running import Running
from datanode.localnet.machine.settlement import UNDO_ALWAYS, Settlement
from datanode.localnet.machine.undo import Target


class CompositeQueries(Settlement):
    """The steps of a composite query; other messages wait until it is over."""

    def ask(self, method: str, arg: bytes, env: Environment) -> Execution:
        """Begin a composite query that the module has; `finish` must follow."""
        message = Message(kind=Kind.COMPOSITE, environment=env, arg=arg, method=method)
        running = self._begin(UNDO_ALWAYS)
        return self._step(running, message, f"canister_composite_query {method}")

    def resume(
        self, closure: Closure, payload: bytes, env: Environment, *, cleanup: Closure | None
    ) -> Execution:
        """Run a callback of the composite query under way, and when it fails the cleanup."""
        is_reject = env.incoming.reject_code > 0
        kind = Kind.COMPOSITE_REJECT if is_reject else Kind.COMPOSITE_REPLY
        message = Message(kind=kind, environment=env, arg=payload)
        done = self._step(self._running, message, closure)
        if done.trapped and cleanup is not None:
            again = Message(
                kind=Kind.COMPOSITE_CLEANUP, environment=env, instructions=done.instructions
            )
            self._step(self._running, again, cleanup)
        return done

    def finish(self) -> None:
        """End the composite query under way and take back what it did."""
        if self._undo.sequence == UNDO_ALWAYS:
            self._running.forget_instance()
            self._undo_all()

    def _step(self, running: Running, message: Message, entry: str | Closure) -> Execution:
        mark = self._undo.mark
        running.stable.begin(self._undo)
        with self._undone_on_error():
            try:
                running.run(message, entry, message.instructions)
                running.head = running.keep(self._undo)
            except Failure as failure:
                files = {
                    Target.STABLE: running.stable.descriptor,
                    Target.HEAP: running.heap.descriptor,
                }
                self._undo.rewind(mark, files)
                running.stable.resize(running.head.stable_pages)
                running.heap.resize(running.head.heap_pages)
                running.revert()
                return outcome(message, failure)
            except BaseException:
                running.forget_instance()
                raise
        return outcome(message, None)
