"""Open calls: call contexts and pending callbacks.

A message that makes no calls leaves nothing here. One that does leaves its *context*, the call that
it belongs to, and a *callback* for each call that it made; a context lives as long as callbacks
refer to it, whether it has been answered or not.
"""

from dataclasses import dataclass
from typing import Final, Self, cast

from datanode.localnet.machine.outgoing import CallbackClosure
from datanode.localnet.state.message import IngressMessage
from datanode.localnet.state.network_database import NetworkDatabase, Row, Value
from datanode.principal import Principal

_CONTEXT: Final = (
    "id, canister, caller, method, request_id, callback, deadline_ns, responded, deleted,"
    " available, instructions"
)
_CALLBACK: Final = (
    "id, context, canister, callee, method, reply_function, reply_environment, reject_function,"
    " reject_environment, cleanup_function, cleanup_environment, cycles, transmission, execution,"
    " deadline_ns"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOrigin:
    """Origin of a call.

    Attributes:
        caller: Principal of the caller; the canister itself for a task.
        method: The method called.
        request_id: The ingress message, if it is one.
        callback: The caller's callback, if it is a canister.
        deadline_ns: Until when the caller waits, in canister time; 0 means as long as it takes.
    """

    caller: Principal
    method: str
    request_id: bytes | None = None
    callback: int | None = None
    deadline_ns: int = 0

    @classmethod
    def of(cls, message: IngressMessage) -> Self:
        """Return who sent a message."""
        return cls(
            caller=message.sender,
            method=message.method,
            request_id=message.request_id or None,
            callback=message.callback,
        )

    @classmethod
    def stored(
        cls, caller: Value, method: Value, request_id: Value, callback: Value, deadline: Value = 0
    ) -> Self:
        """Read who made a call from its columns."""
        return cls(
            caller=Principal(cast("bytes", caller)),
            method=str(method),
            request_id=cast("bytes | None", request_id),
            callback=cast("int | None", callback),
            deadline_ns=cast("int", deadline),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallContext:
    """A call that was made to a canister and has callbacks to come.

    Attributes:
        id: Its number; 0 before it is written.
        canister: Who was called.
        origin: Who called.
        responded: Whether it is answered.
        deleted: Whether the code that made its calls is gone.
        available_cycles: Cycles of the call that are not accepted yet.
        instructions: What its messages executed.
    """

    id: int = 0
    canister: Principal
    origin: CallOrigin
    responded: bool = False
    deleted: bool = False
    available_cycles: int = 0
    instructions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """Callback that runs when a call is answered.

    Attributes:
        id: Its number; 0 before it is written.
        context: The context of the message that made the call.
        canister: Who made the call.
        callee: Who was called.
        method: The callee's method.
        reply: Runs for a reply.
        reject: Runs for a reject.
        cleanup: Runs when that fails.
        cycles: What went along.
        transmission_cycles: Set aside for the response's bytes.
        execution_cycles: Set aside for running the callback.
        deadline_ns: When the canister stops waiting, in canister time; 0 means never.
    """

    id: int = 0
    context: int = 0
    canister: Principal
    callee: Principal
    method: str
    reply: CallbackClosure
    reject: CallbackClosure
    cleanup: CallbackClosure | None
    cycles: int
    transmission_cycles: int
    execution_cycles: int
    deadline_ns: int = 0


class OpenCalls:
    """Contexts and callbacks, in the database; a canister's are used under its slot's lock."""

    def __init__(self, database: NetworkDatabase) -> None:
        self._database = database

    def context(self, number: int) -> CallContext | None:
        """Look a context up."""
        row = self._database.row(
            f"SELECT {_CONTEXT} FROM contexts WHERE id = ?",  # noqa: S608
            (number,),
        )
        return None if row is None else _context(row)

    def contexts(self, canister: Principal) -> list[CallContext]:
        """List the contexts of a canister."""
        rows = self._database.rows(
            f"SELECT {_CONTEXT} FROM contexts WHERE canister = ? ORDER BY id",  # noqa: S608
            (canister.raw,),
        )
        return [_context(row) for row in rows]

    def are_none_of(self, canister: Principal, *, but: int = 0) -> bool:
        """Whether a canister has no context, or none but one."""
        statement = "SELECT 1 FROM contexts WHERE canister = ? AND id != ? LIMIT 1"
        return self._database.row(statement, (canister.raw, but)) is None

    def save(self, context: CallContext) -> int:
        """Write a context; returns its number."""
        origin = context.origin
        return self._database.write(
            f"INSERT OR REPLACE INTO contexts ({_CONTEXT})"  # noqa: S608
            " VALUES (?,?,?,?,?,?,?,?,?,?,?)",
            (
                context.id or None,
                context.canister.raw,
                origin.caller.raw,
                origin.method,
                origin.request_id,
                origin.callback,
                origin.deadline_ns,
                int(context.responded),
                int(context.deleted),
                str(context.available_cycles),
                context.instructions,
            ),
        )

    def close(self, context: int) -> None:
        """Remove a context that has no callbacks left."""
        self._database.write("DELETE FROM contexts WHERE id = ?", (context,))

    def callback(self, number: int) -> Callback | None:
        """Look a callback up."""
        row = self._database.row(
            f"SELECT {_CALLBACK} FROM callbacks WHERE id = ?",  # noqa: S608
            (number,),
        )
        return None if row is None else _callback(row)

    def callbacks_of(self, context: int) -> int:
        """Count the callbacks of a context."""
        row = self._database.row("SELECT count(*) FROM callbacks WHERE context = ?", (context,))
        return cast("int", row[0]) if row else 0

    def outstanding(self, canister: Principal, callee: Principal) -> int:
        """Count the calls of a canister to another that wait for their response."""
        row = self._database.row(
            "SELECT count(*) FROM callbacks WHERE canister = ? AND callee = ?",
            (canister.raw, callee.raw),
        )
        return cast("int", row[0]) if row else 0

    def expect(self, callback: Callback) -> int:
        """Write a callback; returns its number."""
        cleanup = callback.cleanup
        marks = ",".join("?" * (_CALLBACK.count(",") + 1))
        return self._database.write(
            f"INSERT INTO callbacks ({_CALLBACK}) VALUES ({marks})",  # noqa: S608
            (
                None,
                callback.context,
                callback.canister.raw,
                callback.callee.raw,
                callback.method,
                # As text: an address in a 64-bit memory does not fit SQLite's signed integers.
                *(str(callback.reply.function), str(callback.reply.environment)),
                *(str(callback.reject.function), str(callback.reject.environment)),
                None if cleanup is None else str(cleanup.function),
                None if cleanup is None else str(cleanup.environment),
                str(callback.cycles),
                str(callback.transmission_cycles),
                str(callback.execution_cycles),
                callback.deadline_ns,
            ),
        )

    def settle(self, callback: int) -> None:
        """Remove a callback whose response is being handled."""
        self._database.write("DELETE FROM callbacks WHERE id = ?", (callback,))

    def next_deadline_ns(self) -> int | None:
        """When the next caller stops waiting; None when none ever does."""
        row = self._database.row("SELECT min(deadline_ns) FROM callbacks WHERE deadline_ns > 0")
        return cast("int | None", row[0]) if row else None

    def overdue(self, now_ns: int) -> list[Callback]:
        """List the callbacks whose caller has waited long enough."""
        rows = self._database.rows(
            f"SELECT {_CALLBACK} FROM callbacks"  # noqa: S608
            " WHERE deadline_ns > 0 AND deadline_ns <= ? ORDER BY id",
            (now_ns,),
        )
        return [_callback(row) for row in rows]

    def expire(self, callback: int) -> None:
        """Let a callback wait no longer; its response is on its way."""
        self._database.write("UPDATE callbacks SET deadline_ns = 0 WHERE id = ?", (callback,))


def _context(row: Row) -> CallContext:
    number, canister, caller, method, request_id, callback, deadline, *rest = row
    responded, deleted, available, instructions = rest
    return CallContext(
        id=cast("int", number),
        canister=Principal(cast("bytes", canister)),
        origin=CallOrigin.stored(caller, method, request_id, callback, deadline),
        responded=bool(responded),
        deleted=bool(deleted),
        available_cycles=int(str(available)),
        instructions=cast("int", instructions),
    )


def _callback(row: Row) -> Callback:
    number, context, canister, callee, method, *rest = row
    reply, reject, cleanup = (_closure(rest[at], rest[at + 1]) for at in (0, 2, 4))
    if reply is None or reject is None:
        raise TypeError("a callback without closures")
    cycles, transmission, execution, deadline = rest[6:]
    return Callback(
        id=cast("int", number),
        context=cast("int", context),
        canister=Principal(cast("bytes", canister)),
        callee=Principal(cast("bytes", callee)),
        method=str(method),
        reply=reply,
        reject=reject,
        cleanup=cleanup,
        cycles=int(str(cycles)),
        transmission_cycles=int(str(transmission)),
        execution_cycles=int(str(execution)),
        deadline_ns=cast("int", deadline),
    )


def _closure(function: object, environment: object) -> CallbackClosure | None:
    return None if function is None else CallbackClosure(int(str(function)), int(str(environment)))
