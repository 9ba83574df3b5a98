"""Composite queries with the queries that they call, of canisters on this network.

The graph of calls is walked depth first: a call is answered before the next one is made, and the
first answer of a canister ends its part. A canister's lock is held from its first step to its
last; while its query waits, a twin of it answers whoever calls it again. Only one composite query
is walked at a time: two of them could each wait for a canister that the other holds, and nobody
else holds one canister while waiting for another.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Final

from datanode.cleanup import always_after
from datanode.fees import FeeSchedule
from datanode.localnet.execution import admission, call_replies
from datanode.localnet.machine import prices, rejects
from datanode.localnet.machine.execution import Execution
from datanode.localnet.machine.machine import Machine
from datanode.localnet.machine.outgoing import IncomingCall, OutgoingCall
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.replica.query_copies import twin
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressReply
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import Principal

MAX_DEPTH: Final = 6
"""Canisters that may wait for each other's queries. Source: IC resource limits, 2026-05."""

MAX_INSTRUCTIONS: Final = prices.INSTRUCTION_LIMIT_QUERY
OVERHEAD_INSTRUCTIONS: Final = 50_000_000
MAX_TIME_S: Final = 10.0
"""What all queries of a graph may execute, what each call counts for, and how long they may take.
Source: the same, and the replica's configuration of mid-2026."""


class _EndedError(Exception):
    """The whole query is refused, whatever its canisters would make of it."""

    def __init__(self, error_code: str, message: str) -> None:
        super().__init__(message)
        self.reject = Reject(code=RejectCode.CANISTER_ERROR, error_code=error_code, message=message)


@dataclass(slots=True)
class _Walk:
    """A walk under way: when it ends, who waits, and what was executed."""

    until_s: float
    waiting: list[Principal] = field(default_factory=list)
    instructions: int = 0


class CallGraph:
    """Walks the calls of composite queries; safe to be called from many threads."""

    def __init__(
        self,
        runtime: SubnetRuntime,
        records: CanisterRecords,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtime = runtime
        self._records = records
        self._now_s = now_s
        self._lock = threading.Lock()

    def answer(
        self, slot: Slot, method: str, arg: bytes, caller: Principal, certificate: bytes
    ) -> IngressReply:
        """Answer a composite query; no lock of a canister is held."""
        with self._lock:
            try:
                walk = _Walk(until_s=self._now_s() + MAX_TIME_S)
                return self._visit(slot, method, arg, caller, walk, certificate)
            except _EndedError as ended:
                return IngressReply(reject=ended.reject)

    def _visit(  # noqa: PLR0917 - all of one query
        self,
        slot: Slot,
        method: str,
        arg: bytes,
        caller: Principal,
        walk: _Walk,
        certificate: bytes | None = None,
    ) -> IngressReply:
        canister = slot.canister.id
        with slot.lock, self._machine(slot, walk) as machine:
            reject = refusal(self._runtime.fees, slot)
            if reject is not None:
                return IngressReply(reject=reject)
            env = self._runtime.environment(slot.canister, caller, data_certificate=certificate)
            if not machine.has(f"canister_composite_query {method}"):
                execution = machine.query(method, arg, env)
                walk.instructions += execution.instructions
                self._records.query_stats.count(
                    canister, execution.instructions, arg, execution.reply
                )
                return IngressReply(reply=execution.reply, reject=execution.reject)
            with always_after(machine.composite.finish):
                execution = machine.composite.start(method, arg, env)
                walk.waiting.append(canister)
                answer = self._finish(slot, machine, caller, execution, walk)
                walk.waiting.pop()
                self._records.query_stats.count(canister, execution.instructions, arg, answer.reply)
                return answer

    def _machine(self, slot: Slot, walk: _Walk) -> AbstractContextManager[Machine]:
        """Return the machine that answers: the canister's, or a twin while that one waits."""
        if slot.canister.id in walk.waiting:
            return twin(self._runtime, self._records, slot.machine)
        return nullcontext(slot.machine)

    def _finish(
        self, slot: Slot, machine: Machine, caller: Principal, execution: Execution, walk: _Walk
    ) -> IngressReply:
        """Make the calls of a canister, one after another, until it has answered."""
        canister = slot.canister.id
        calls: deque[OutgoingCall] = deque()
        done = 0
        while True:
            done += execution.instructions
            walk.instructions += execution.instructions
            calls.extend(execution.calls)
            answered = execution.reply is not None or execution.reject is not None
            if answered and (not execution.trapped or not calls):
                return IngressReply(reply=execution.reply, reject=execution.reject)
            if not calls:
                return IngressReply(reject=rejects.did_not_reply(canister.raw))
            if len(walk.waiting) > MAX_DEPTH:
                raise _EndedError(
                    "IC0525", "Composite query calls exceeded the maximum call depth."
                )
            if walk.instructions >= MAX_INSTRUCTIONS:
                raise _EndedError("IC0526", "Composite query calls exceeded the instruction limit.")
            if self._now_s() >= walk.until_s:
                raise _EndedError("IC0528", "Composite query call exceeded the time limit.")
            call = calls.popleft()
            walk.instructions += OVERHEAD_INSTRUCTIONS
            answer = self._call(call, canister, walk)
            code, payload = 0, answer.reply or b""
            if answer.reject is not None:
                code, payload = answer.reject.code, call_replies.told(answer.reject)
            incoming = IncomingCall(
                reject_code=code, reject_message=payload if code else b"", instructions=done
            )
            execution = machine.composite.resume(
                call.reject if code else call.reply,
                b"" if code else payload,
                self._runtime.environment(slot.canister, caller, incoming=incoming),
                cleanup=call.cleanup,
            )

    def _call(self, call: OutgoingCall, caller: Principal, walk: _Walk) -> IngressReply:
        callee = Principal(call.callee)
        slot = self._records.canisters.find(callee)
        if slot is None:
            return IngressReply(reject=admission.not_found(callee))
        return self._visit(slot, call.method, bytes(call.payload), caller, walk)


def refusal(fees: FeeSchedule, slot: Slot) -> Reject | None:
    """Say why a canister answers no queries now; its lock is held."""
    canister = slot.canister
    if slot.deleted:
        return admission.not_found(canister.id)
    reject = admission.stopped(canister)
    if reject is None and Bill(canister, fees).missing(0):
        reject = admission.frozen(canister.id)
    return reject
