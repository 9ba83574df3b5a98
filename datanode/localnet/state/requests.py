"""Answers to ingress messages, kept so that a message is never executed twice.

A message that waits for calls that it made has a row without a reply and without a reject.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

from datanode.agent.hash_tree import Plan
from datanode.agent.request_id import leb128
from datanode.localnet.machine.rejects import Reject
from datanode.localnet.state.message import FORGET_AFTER_NS, IngressMessage, IngressReply
from datanode.localnet.state.network_database import NetworkDatabase, Row
from datanode.principal import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRequest:
    """A message that the network knows.

    Attributes:
        sender: Who sent it, and alone may ask for its answer.
        effective: Whom it concerns.
        answer: How it ended; None while it is executed or waits for calls that it made.
    """

    sender: Principal
    effective: Principal
    answer: IngressReply | None

    def plan(self) -> Plan:
        """The subtree of the state tree under the request id."""
        if self.answer is None:
            return {b"status": b"processing"}
        status = self.answer.status.encode()
        reject = self.answer.reject
        if reject is None:
            return {b"status": status, b"reply": self.answer.reply or b""}
        return {
            b"status": status,
            b"reject_code": leb128(reject.code),
            b"reject_message": reject.message.encode(),
            b"error_code": reject.error_code.encode(),
        }


@dataclass(slots=True)
class _Flight:
    known: KnownRequest
    landed: threading.Event = field(default_factory=threading.Event)


class RequestHistory:
    """The messages that are executed now, and the answers of those that were."""

    def __init__(self, database: NetworkDatabase) -> None:
        self._database = database
        self._flying: dict[bytes, _Flight] = {}
        self._watchers: dict[bytes, list[Callable[[], None]]] = {}
        self._lock = threading.Lock()

    def find(self, request_id: bytes) -> KnownRequest | None:
        """Look a message up."""
        flight = self._flying.get(request_id)
        if flight is not None:
            return flight.known
        row = self._database.row(
            "SELECT sender, canister, reply, reject_code, reject_message, error_code"
            " FROM requests WHERE id = ?",
            (request_id,),
        )
        return None if row is None else _known(row)

    @contextmanager
    def executing(self, message: IngressMessage) -> Iterator[bool]:
        """Hold a message while it is executed; False when somebody else holds it or has done it.

        Two threads that get the same bytes decide here which of them executes.
        """
        known = KnownRequest(sender=message.sender, effective=message.effective, answer=None)
        with self._lock:
            mine = message.request_id not in self._flying and self.find(message.request_id) is None
            if mine:
                self._flying[message.request_id] = _Flight(known)
        try:
            yield mine
        finally:
            if mine:
                with self._lock:
                    self._flying.pop(message.request_id).landed.set()

    def wait(self, request_id: bytes, timeout_s: float) -> None:
        """Wait while a message is executed by somebody else."""
        flight = self._flying.get(request_id)
        if flight is not None:
            flight.landed.wait(timeout_s)

    def finish(self, message: IngressMessage, answer: IngressReply | None, time_ns: int) -> None:
        """Write an answer, or that there is none yet, as part of the message's transaction."""
        reply = None if answer is None or answer.reject is not None else answer.reply or b""
        reject = None if answer is None else answer.reject
        self._database.write(
            "INSERT INTO requests VALUES (?,?,?,?,?,?,?,?,?)",
            (
                message.request_id,
                message.sender.raw,
                message.effective.raw,
                reply,
                None if reject is None else reject.code,
                None if reject is None else reject.message,
                None if reject is None else reject.error_code,
                time_ns,
                max(time_ns, message.expires_ns) + FORGET_AFTER_NS,
            ),
        )

    def answer(self, request_id: bytes, answer: IngressReply, time_ns: int) -> None:
        """Write the answer to a message that was waiting for it, as part of a transaction."""
        reject = answer.reject
        self._database.write(
            "UPDATE requests SET reply = ?, reject_code = ?, reject_message = ?, error_code = ?,"
            " time_ns = ?, forget_ns = max(forget_ns, ?) WHERE id = ?",
            (
                answer.reply if reject is not None else answer.reply or b"",
                None if reject is None else reject.code,
                None if reject is None else reject.message,
                None if reject is None else reject.error_code,
                time_ns,
                time_ns + FORGET_AFTER_NS,
                request_id,
            ),
        )

    def watch(self, request_id: bytes, watcher: Callable[[], None]) -> None:
        """Have a function called when a message has its answer; at once if it has one."""
        with self._lock:
            self._watchers.setdefault(request_id, []).append(watcher)
        known = self.find(request_id)
        if known is None or known.answer is not None:
            self.announce(request_id)

    def unwatch(self, request_id: bytes, watcher: Callable[[], None]) -> None:
        """Take a watcher back that waits no longer."""
        with self._lock:
            left = [each for each in self._watchers.pop(request_id, []) if each is not watcher]
            if left:
                self._watchers[request_id] = left

    def announce(self, request_id: bytes) -> None:
        """Tell the watchers of a message; call it after the transaction."""
        with self._lock:
            watchers = self._watchers.pop(request_id, [])
        for watcher in watchers:
            watcher()

    def forget(self, now_ns: int) -> None:
        """Drop the answers that are old enough; their messages cannot arrive again."""
        self._database.write(
            "DELETE FROM requests WHERE forget_ns < ?"
            " AND (reply IS NOT NULL OR reject_code IS NOT NULL)",
            (now_ns,),
        )

    def before(self, request_id: bytes) -> bytes | None:
        """Return the nearest smaller request id."""
        return self._near("SELECT max(id) FROM requests WHERE id < ?", request_id)

    def after(self, request_id: bytes) -> bytes | None:
        """Return the nearest larger request id."""
        return self._near("SELECT min(id) FROM requests WHERE id > ?", request_id)

    def _near(self, statement: str, request_id: bytes) -> bytes | None:
        row = self._database.row(statement, (request_id,))
        return cast("bytes | None", row[0]) if row else None


def _known(row: Row) -> KnownRequest:
    sender, canister, reply, code, message, error_code = row
    reject = None
    if code is not None:
        reject = Reject(code=cast("int", code), error_code=str(error_code), message=str(message))
    answer = IngressReply(reply=cast("bytes | None", reply), reject=reject)
    return KnownRequest(
        sender=Principal(cast("bytes", sender)),
        effective=Principal(cast("bytes", canister)),
        answer=None if reply is None and reject is None else answer,
    )
