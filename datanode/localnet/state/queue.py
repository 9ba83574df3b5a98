"""Queue of messages between canisters, in the order in which they were sent.

Every receiver takes its messages in that order, so those of one sender to one receiver never
overtake each other.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, cast

from datanode.localnet.state.network_database import NetworkDatabase, Row
from datanode.principal import Principal

_COLUMNS: Final = (
    "id, sender, receiver, callback, response, method, payload, cycles, deadline_ns, reject_code"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage:
    """A request or a response on its way.

    Attributes:
        id: Its place in the order; 0 before it is written.
        sender: Who sent it.
        receiver: Who executes it.
        callback: The callback of whoever made the call.
        is_response: Whether it answers a call.
        method: A request's method.
        payload: The argument, the reply, or the text of a reject.
        cycles: What comes along: of a request the payment, of a response the refund.
        deadline_ns: When a request is no longer of use, in canister time; 0 means never.
        reject_code: A response's reject code; 0 for a reply.
    """

    id: int = 0
    sender: Principal
    receiver: Principal
    callback: int
    is_response: bool = False
    method: str = ""
    payload: bytes = b""
    cycles: int = 0
    deadline_ns: int = 0
    reject_code: int = 0


class MessageQueue:
    """The messages, in the database."""

    def __init__(self, database: NetworkDatabase) -> None:
        self._database = database
        self._watchers: list[Callable[[Principal], None]] = []

    def push(self, message: QueuedMessage) -> int:
        """Write a message, as part of the transaction of the one that sent it."""
        marks = ",".join("?" * (_COLUMNS.count(",") + 1))
        return self._database.write(
            f"INSERT INTO queue ({_COLUMNS}) VALUES ({marks})",  # noqa: S608
            (
                None,
                message.sender.raw,
                message.receiver.raw,
                message.callback,
                int(message.is_response),
                message.method,
                message.payload,
                str(message.cycles),
                message.deadline_ns,
                message.reject_code,
            ),
        )

    def first(self, receiver: Principal) -> QueuedMessage | None:
        """Return the next message for a receiver."""
        row = self._database.row(
            f"SELECT {_COLUMNS} FROM queue WHERE receiver = ? ORDER BY id LIMIT 1",  # noqa: S608
            (receiver.raw,),
        )
        return None if row is None else _queued(row)

    def remove(self, message: QueuedMessage) -> None:
        """Remove a message, as part of the transaction of its execution."""
        self._database.write("DELETE FROM queue WHERE id = ?", (message.id,))

    def receivers(self) -> list[Principal]:
        """List the canisters that messages wait for."""
        rows = self._database.rows("SELECT DISTINCT receiver FROM queue")
        return [Principal(cast("bytes", raw)) for (raw,) in rows]

    def watch(self, watcher: Callable[[Principal], None]) -> None:
        """Have a function called with every receiver that messages were committed for."""
        self._watchers.append(watcher)

    def announce(self, receivers: Iterable[Principal]) -> None:
        """Tell the watchers; call it after the transaction."""
        for receiver in receivers:
            for watcher in self._watchers:
                watcher(receiver)


def _queued(row: Row) -> QueuedMessage:
    number, sender, receiver, callback, response, method, payload, cycles, deadline, code = row
    return QueuedMessage(
        id=cast("int", number),
        sender=Principal(cast("bytes", sender)),
        receiver=Principal(cast("bytes", receiver)),
        callback=cast("int", callback),
        is_response=bool(response),
        method=str(method),
        payload=cast("bytes", payload),
        cycles=int(str(cycles)),
        deadline_ns=cast("int", deadline),
        reject_code=cast("int", code),
    )
