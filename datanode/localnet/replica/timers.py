"""Watches canister time: global timers, callers that wait no longer, stops that take too long."""

import threading
from functools import partial
from typing import Final

from datanode.cleanup import undoing
from datanode.localnet.execution import answers, stopping, task
from datanode.localnet.execution.effect import commit
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.replica import rent
from datanode.localnet.replica.scheduler import Scheduler
from datanode.localnet.state.canister import Hook, Status
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import Answer
from datanode.localnet.state.network import Network
from datanode.localnet.state.open_calls import Callback
from datanode.localnet.state.queue import Queued
from datanode.localnet.state.stops import Stop
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
        network: The network; the watcher ends before it is closed.
        scheduler: Runs what is due.
    """

    def __init__(self, network: Network, scheduler: Scheduler) -> None:
        self._network = network
        self._scheduler = scheduler
        self._rung = threading.Event()
        self._closing = False
        self._running: set[bytes] = set()
        self._ran_ns: dict[bytes, int] = {}
        network.alarm.listen(self._rung.set)
        self._thread = threading.Thread(target=self._watch, name="timers", daemon=True)
        network.on_close(self.close)
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
                wait_s = min(wait_s, self._network.canister_time.real_s_until(due_ns))
            if not self._closing:
                self._rung.wait(wait_s)

    def _next_ns(self) -> int | None:
        """When the next thing is due that is not under way."""
        network = self._network
        times = [self._due_ns(each) for each in network.canisters if self._has(each, task.TIMER)]
        times += [each.time_ns + STOP_TIMEOUT_NS for each in network.stops.all()]
        deadline_ns = network.calls.next_deadline_ns()
        return min([*times, deadline_ns] if deadline_ns is not None else times, default=None)

    def _has(self, slot: Slot, export: str) -> bool:
        """Whether a canister has a task to come that is not under way."""
        canister = slot.canister
        if canister.status is not Status.RUNNING or canister.id.raw in self._running:
            return False
        if export == task.TIMER:
            return canister.timer_ns > 0
        return canister.low_memory_hook is Hook.READY and canister.module_hash is not None

    def _is_due(self, slot: Slot, export: str, now_ns: int) -> bool:
        return self._has(slot, export) and (export != task.TIMER or self._due_ns(slot) <= now_ns)

    def _due_ns(self, slot: Slot) -> int:
        """When a timer is to run: at its time, and not again within a round."""
        earliest_ns = self._ran_ns.get(slot.canister.id.raw, 0) + ROUND_NS
        return max(slot.canister.timer_ns, earliest_ns)

    def _fire(self) -> None:
        network = self._network
        now_ns = network.canister_time.now_ns()
        for slot in network.canisters:
            for export in (task.LOW_MEMORY, task.TIMER):
                if self._is_due(slot, export, now_ns):
                    self._running.add(slot.canister.id.raw)
                    self._scheduler.run(partial(self._run, slot, export))
        for callback in network.calls.overdue(now_ns):
            self._give_up(callback)
        for stop in network.stops.all():
            if stop.time_ns + STOP_TIMEOUT_NS <= now_ns:
                self._stop_waiting(stop)

    def _run(self, slot: Slot, export: str) -> None:
        network = self._network
        try:
            with slot.lock:
                rent.settle(network, slot)
                self._running.discard(slot.canister.id.raw)
                is_due = self._is_due(slot, export, network.canister_time.now_ns())
                if slot.deleted or not is_due:
                    return
                if export == task.TIMER:
                    self._ran_ns[slot.canister.id.raw] = network.canister_time.now_ns()
                message = task.message(slot, export)
                with undoing(slot.machine.rollback):
                    effect = task.run(network, slot, export)
                commit(network, message, effect, slot)
        finally:
            self._running.discard(slot.canister.id.raw)
            network.alarm.ring()

    def _give_up(self, callback: Callback) -> None:
        """Answer a best-effort call in the callee's place; its own answer will come too late."""
        network, reject = self._network, answers.timed_out()
        with network.database.transaction():
            network.calls.expire(callback.id)
            network.queue.push(
                Queued(
                    sender=callback.callee,
                    receiver=callback.canister,
                    callback=callback.id,
                    is_response=True,
                    payload=answers.told(reject),
                    reject_code=reject.code,
                )
            )
        network.queue.announce((callback.canister,))

    def _stop_waiting(self, stop: Stop) -> None:
        """Tell who asked that the canister does not stop; it goes on trying to."""
        network = self._network
        slot = network.canisters.find(stop.canister)
        reject = Reject(
            code=RejectCode.SYS_TRANSIENT,
            error_code="IC0206",
            message="Stop canister request timed out",
        )
        if slot is None:
            return
        with slot.lock:
            if stop not in network.stops.of(stop.canister):
                return
            told = stopping.answered(network, [stop], Answer(reject=reject))
            with network.database.transaction():
                for write in told.writes:
                    write()
        for step in told.done:
            step()
