"""Delivers messages between canisters: each is executed once, in the order of its receiver's queue.

What a message does, its removal from the queue included, is one transaction; so a killed server
goes on with exactly the messages that were not executed yet.
"""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Final

from datanode.errors import DiskFullError
from datanode.localnet.execution import admission, call_replies, request, response
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management import from_canisters
from datanode.localnet.management.system_canisters import SystemCanisters
from datanode.localnet.replica.canister_host import CanisterHost
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_record import Canister, CanisterSettings
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressMessage, IngressReply
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.open_calls import CallOrigin
from datanode.localnet.state.queue import QueuedMessage
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.text import printable

_log: Final = logging.getLogger("datanode.localnet")


class CallDelivery:
    """Executes queued messages; those of one receiver one at a time.

    Args:
        runtime: Prices, time and disk.
        traffic: Messages in flight.
        host: The canisters.
        system: Canisters that the network itself answers for.
    """

    def __init__(
        self,
        *,
        runtime: SubnetRuntime,
        traffic: MessageTraffic,
        host: CanisterHost,
        system: SystemCanisters,
    ) -> None:
        self._runtime = runtime
        self._traffic = traffic
        self._host = host
        self._system = system

    def next(self, receiver: Principal) -> bool:
        """Execute the first message that waits for a receiver; False when none does.

        Raises:
            DiskFullError: There is no room; the message waits on.
        """
        queued = self._traffic.queue.first(receiver)
        if queued is None:
            return False
        slot = self._host.find(receiver)
        if receiver == MANAGEMENT_CANISTER:
            self._manage(queued)
        elif receiver in self._system.built_ins:
            self._ask_built_in(queued)
        elif slot is None:
            self._commit(queued, self._nowhere(queued), None)
        else:
            with slot.lock:
                self._host.settle(slot)
                if slot.deleted:
                    self._commit(queued, self._nowhere(queued), None)
                else:
                    self._run(slot, queued)
        return True

    def _run(self, slot: Slot, queued: QueuedMessage) -> None:
        run = response.run if queued.is_response else request.run
        self._settle(
            queued,
            slot,
            lambda: run(self._runtime, self._traffic, slot, queued),
            lambda error: self._given_up(slot, queued, error),
        )

    def _settle(
        self,
        queued: QueuedMessage,
        slot: Slot | None,
        work: Callable[[], Effect],
        give_up: Callable[[Exception], Effect],
    ) -> None:
        """Execute a message and commit what it does."""
        try:
            self._commit(queued, work(), slot)
        except DiskFullError:
            if slot is not None:
                slot.machine.rollback()
            raise
        except Exception as error:
            if self._traffic.queue.first(queued.receiver) != queued:
                raise  # it is committed, and what follows in memory has failed
            # A fault of ours: the message is given up, or it would fail again and again.
            what = printable(queued.method) or "a response"
            _log.exception("%s for %s failed", what, queued.receiver)
            if slot is not None:
                slot.machine.rollback()
            self._commit(queued, give_up(error), slot)

    def _given_up(self, slot: Slot, queued: QueuedMessage, error: Exception) -> Effect:
        reject = admission.engine_failed(slot.canister.id, error)
        if queued.is_response:
            return response.failed(self._runtime, self._traffic, slot, queued, reject)
        failed = call_replies.refuse(
            self._traffic,
            request.origin_of(queued),
            reject,
            sender=queued.receiver,
            cycles=queued.cycles,
        )
        return replace(failed, bill=Bill(slot.canister, self._runtime.fees))

    def _nowhere(self, queued: QueuedMessage) -> Effect:
        """Answer for a canister that does not exist; what a response brings back to it is burnt."""
        if queued.is_response:
            gone = Canister(
                id=queued.receiver,
                settings=CanisterSettings(controllers=()),
                balance_cycles=0,
                charged_ns=0,
            )
            bill = Bill(gone, self._runtime.fees)
            bill.receive("refunded", queued.cycles)
            bill.burn()
            return Effect(answer=None, bill=bill, status="late")
        return call_replies.refuse(
            self._traffic,
            request.origin_of(queued),
            admission.not_found(queued.receiver),
            sender=queued.receiver,
            cycles=queued.cycles,
        )

    def _manage(self, queued: QueuedMessage) -> None:
        """Let the management canister execute a call, under the lock of whom it concerns."""
        concerned = from_canisters.concerned(queued.method, queued.payload)
        message = replace(_message(self._traffic, queued), effective=concerned)
        slot = self._host.find(concerned)
        with self._system.lock if slot is None else slot.lock:
            if slot is not None:
                self._host.settle(slot)
            slot = None if slot is None or slot.deleted else slot
            self._settle(
                queued,
                slot,
                lambda: self._answered(
                    message, self._system.management.run_for_canister(slot, message)
                ),
                lambda error: self._failed(message, error),
            )

    def _ask_built_in(self, queued: QueuedMessage) -> None:
        if self._runtime.fees.is_free and not queued.deadline_ns:
            refused = call_replies.refuse(
                self._traffic,
                request.origin_of(queued),
                admission.unbounded_from_engine(),
                sender=queued.receiver,
                cycles=queued.cycles,
            )
            self._commit(queued, refused, None)
            return
        message = _message(self._traffic, queued)
        target = self._system.built_ins.slot(message)
        with self._system.lock, nullcontext() if target is None else target.lock:
            target = None if target is None or target.deleted else target
            self._settle(
                queued,
                target,
                lambda: self._answered(message, self._system.built_ins.update(message, target)),
                lambda error: self._failed(message, error),
            )

    def _failed(self, message: IngressMessage, error: Exception) -> Effect:
        reject = admission.engine_failed(message.effective, error)
        return self._answered(message, Effect(answer=IngressReply(reject=reject)))

    def _answered(self, message: IngressMessage, effect: Effect) -> Effect:
        """Send the answer of a call, if it is there already, and the cycles that were not taken."""
        answer, origin = effect.answer, CallOrigin.of(message)
        if answer is None:
            return effect
        given: IngressReply = answer
        refund_cycles = message.cycles - effect.kept_cycles

        def write() -> None:
            call_replies.give(
                self._traffic,
                origin,
                given,
                sender=message.canister,
                refund_cycles=refund_cycles,
            )

        return replace(
            effect,
            writes=(*effect.writes, write),
            done=(*effect.done, lambda: call_replies.announce(self._traffic, origin)),
        )

    def _commit(self, queued: QueuedMessage, effect: Effect, slot: Slot | None) -> None:

        def consume() -> None:
            self._traffic.queue.remove(queued)
            if queued.is_response:
                self._traffic.calls.settle(queued.callback)

        consuming = replace(effect, writes=(consume, *effect.writes))
        self._host.commit(_message(self._traffic, queued), consuming, slot)


def _message(traffic: MessageTraffic, queued: QueuedMessage) -> IngressMessage:
    """Describe a queued message as the ledger shows messages."""
    method = queued.method
    if queued.is_response:
        callback = traffic.calls.callback(queued.callback)
        method = f"callback of {callback.method}" if callback else "callback"
    return IngressMessage(
        request_id=b"",
        sender=queued.sender,
        canister=queued.receiver,
        effective=queued.receiver,
        method=method,
        arg=queued.payload,
        envelope_bytes=0,
        expires_ns=0,
        callback=None if queued.is_response else queued.callback,
        cycles=queued.cycles,
    )
