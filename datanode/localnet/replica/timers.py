"""Watch canister time: global timers, call deadlines and stop timeouts."""

import threading
from functools import partial
from typing import Final

from datanode.cleanup import rollback_on_error
from datanode.localnet.execution import call_replies, canister_stopping, task
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.replica.canister_host import CanisterHost
from datanode.localnet.replica.scheduler import Scheduler
from datanode.localnet.state.canister_record import CanisterState, LowMemoryHook
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressReply
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.open_calls import Callback
from datanode.localnet.state.queue import QueuedMessage
from datanode.localnet.state.stops import PendingStop
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.units import MINUTE_S, SECOND_NS

STOP_TIMEOUT_NS: Final = 5 * MINUTE_S * SECOND_NS
"""How long a canister may take to stop before who asked is told so. Source: replica, 2026."""

ROUND_NS: Final = SECOND_NS
"""How soon a timer may run again: blocks of a subnet follow each other in about a second."""

_LONGEST_WAIT_S: Final = 60.0
"""Longest pause before the watcher looks again, whatever it has been told."""


class Timers:
    """Lets things happen when their time comes.

    Args:
        runtime: Prices, time and disk.
        traffic: Messages in flight.
        host: The canisters.
        scheduler: Runs what is due.
    """

    def __init__(
        self,
        *,
        runtime: SubnetRuntime,
        traffic: MessageTraffic,
        host: CanisterHost,
        scheduler: Scheduler,
    ) -> None:
        self._runtime = runtime
        self._traffic = traffic
        self._host = host
        self._scheduler = scheduler
        self._rung = threading.Event()
        self._closing = False
        self._running: set[bytes] = set()
        self._ran_ns: dict[bytes, int] = {}
        traffic.alarm.listen(self._rung.set)
        self._thread = threading.Thread(target=self._watch, name="timers", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the watcher."""
        self._closing = True
        self._rung.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._closing:
            self._rung.clear()
            self._scheduler.guarded(self._fire)
            due_ns = self._next_ns()
            wait_s = _LONGEST_WAIT_S
            if due_ns is not None:
                wait_s = min(wait_s, self._runtime.canister_time.real_s_until(due_ns))
            if not self._closing:
                self._rung.wait(wait_s)

    def _next_ns(self) -> int | None:
        """When the next thing is due that is not under way."""
        times = [
            self._due_ns(each)
            for each in self._host.records.canisters
            if self._has(each, task.TIMER)
        ]
        times += [each.time_ns + STOP_TIMEOUT_NS for each in self._traffic.stops.all()]
        deadline_ns = self._traffic.calls.next_deadline_ns()
        return min([*times, deadline_ns] if deadline_ns is not None else times, default=None)

    def _has(self, slot: Slot, export: str) -> bool:
        """Whether a canister has a task to come that is not under way."""
        canister = slot.canister
        if canister.status is not CanisterState.RUNNING or canister.id.raw in self._running:
            return False
        if export == task.TIMER:
            return canister.timer_ns > 0
        return canister.low_memory_hook is LowMemoryHook.READY and canister.module_hash is not None

    def _is_due(self, slot: Slot, export: str, now_ns: int) -> bool:
        return self._has(slot, export) and (export != task.TIMER or self._due_ns(slot) <= now_ns)

    def _due_ns(self, slot: Slot) -> int:
        """When a timer is to run: at its time, and not again within a round."""
        earliest_ns = self._ran_ns.get(slot.canister.id.raw, 0) + ROUND_NS
        return max(slot.canister.timer_ns, earliest_ns)

    def _fire(self) -> None:
        now_ns = self._runtime.canister_time.now_ns()
        for slot in self._host.records.canisters:
            for export in (task.LOW_MEMORY, task.TIMER):
                if self._is_due(slot, export, now_ns):
                    self._running.add(slot.canister.id.raw)
                    self._scheduler.run(partial(self._run, slot, export))
        for callback in self._traffic.calls.overdue(now_ns):
            self._give_up(callback)
        for stop in self._traffic.stops.all():
            if stop.time_ns + STOP_TIMEOUT_NS <= now_ns:
                self._stop_waiting(stop)

    def _run(self, slot: Slot, export: str) -> None:
        try:
            with slot.lock:
                self._host.settle(slot)
                self._running.discard(slot.canister.id.raw)
                is_due = self._is_due(slot, export, self._runtime.canister_time.now_ns())
                if slot.deleted or not is_due:
                    return
                if export == task.TIMER:
                    self._ran_ns[slot.canister.id.raw] = self._runtime.canister_time.now_ns()
                message = task.message(slot, export)
                with rollback_on_error(slot.machine.rollback):
                    effect = task.run(self._runtime, self._traffic, slot, export)
                self._host.commit(message, effect, slot)
        finally:
            self._running.discard(slot.canister.id.raw)
            self._traffic.alarm.ring()

    def _give_up(self, callback: Callback) -> None:
        """Answer a best-effort call in the callee's place; its own answer will come too late."""
        reject = call_replies.timed_out()
        with self._host.records.database.transaction():
            self._traffic.calls.expire(callback.id)
            self._traffic.queue.push(
                QueuedMessage(
                    sender=callback.callee,
                    receiver=callback.canister,
                    callback=callback.id,
                    is_response=True,
                    payload=call_replies.told(reject),
                    reject_code=reject.code,
                )
            )
        self._traffic.queue.announce((callback.canister,))

    def _stop_waiting(self, stop: PendingStop) -> None:
        """Tell who asked that the canister does not stop; it goes on trying to."""
        slot = self._host.find(stop.canister)
        reject = Reject(
            code=RejectCode.SYS_TRANSIENT,
            error_code="IC0206",
            message="Stop canister request timed out",
        )
        if slot is None:
            return
        with slot.lock:
            if stop not in self._traffic.stops.of(stop.canister):
                return
            told = canister_stopping.answered(self._traffic, [stop], IngressReply(reject=reject))
            with self._host.records.database.transaction():
                for write in told.writes:
                    write()
        for step in told.done:
            step()
