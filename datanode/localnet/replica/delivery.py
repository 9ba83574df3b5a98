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
from datanode.localnet.execution import admission, answers, request, response
from datanode.localnet.execution.effect import Effect, commit
from datanode.localnet.management import from_canisters
from datanode.localnet.management.built_in import BuiltIns
from datanode.localnet.replica import rent
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister import Canister, Settings
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import Answer, Message
from datanode.localnet.state.network import Network
from datanode.localnet.state.open_calls import Origin
from datanode.localnet.state.queue import Queued
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.text import printable

_log: Final = logging.getLogger("datanode.localnet")


class Delivery:
    """Executes queued messages; those of one receiver one at a time."""

    def __init__(self, network: Network, built_ins: BuiltIns) -> None:
        self._network = network
        self._built_ins = built_ins

    def next(self, receiver: Principal) -> bool:
        """Execute the first message that waits for a receiver; False when none does.

        Raises:
            DiskFullError: There is no room; the message waits on.
        """
        queued = self._network.queue.first(receiver)
        if queued is None:
            return False
        slot = self._network.canisters.find(receiver)
        if receiver == MANAGEMENT_CANISTER:
            self._manage(queued)
        elif receiver in self._built_ins:
            self._ask_built_in(queued)
        elif slot is None:
            self._commit(queued, self._nowhere(queued), None)
        else:
            with slot.lock:
                rent.settle(self._network, slot)
                if slot.deleted:
                    self._commit(queued, self._nowhere(queued), None)
                else:
                    self._run(slot, queued)
        return True

    def _run(self, slot: Slot, queued: Queued) -> None:
        run = response.run if queued.is_response else request.run
        self._settle(
            queued,
            slot,
            lambda: run(self._network, slot, queued),
            lambda error: self._given_up(slot, queued, error),
        )

    def _settle(
        self,
        queued: Queued,
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
            if self._network.queue.first(queued.receiver) != queued:
                raise  # it is committed, and what follows in memory has failed
            # A fault of ours: the message is given up, or it would fail again and again.
            what = printable(queued.method) or "a response"
            _log.exception("%s for %s failed", what, queued.receiver)
            if slot is not None:
                slot.machine.rollback()
            self._commit(queued, give_up(error), slot)

    def _given_up(self, slot: Slot, queued: Queued, error: Exception) -> Effect:
        reject = admission.engine_failed(slot.canister.id, error)
        if queued.is_response:
            return response.failed(self._network, slot, queued, reject)
        failed = answers.refuse(
            self._network,
            request.origin_of(queued),
            reject,
            sender=queued.receiver,
            cycles=queued.cycles,
        )
        return replace(failed, bill=Bill(slot.canister, self._network.fees))

    def _nowhere(self, queued: Queued) -> Effect:
        """Answer for a canister that does not exist; what a response brings back to it is burnt."""
        if queued.is_response:
            gone = Canister(
                id=queued.receiver,
                settings=Settings(controllers=()),
                balance_cycles=0,
                charged_ns=0,
            )
            bill = Bill(gone, self._network.fees)
            bill.receive("refunded", queued.cycles)
            bill.burn()
            return Effect(answer=None, bill=bill, status="late")
        return answers.refuse(
            self._network,
            request.origin_of(queued),
            admission.not_found(queued.receiver),
            sender=queued.receiver,
            cycles=queued.cycles,
        )

    def _manage(self, queued: Queued) -> None:
        """Let the management canister execute a call, under the lock of whom it concerns."""
        network = self._network
        concerned = from_canisters.concerned(queued.method, queued.payload)
        message = replace(_message(network, queued), effective=concerned)
        slot = network.canisters.find(concerned)
        with self._built_ins.lock if slot is None else slot.lock:
            if slot is not None:
                rent.settle(network, slot)
            slot = None if slot is None or slot.deleted else slot
            self._settle(
                queued,
                slot,
                lambda: self._answered(message, from_canisters.run(network, slot, message)),
                lambda error: self._failed(message, error),
            )

    def _ask_built_in(self, queued: Queued) -> None:
        message = _message(self._network, queued)
        target = self._built_ins.slot(message)
        with self._built_ins.lock, nullcontext() if target is None else target.lock:
            target = None if target is None or target.deleted else target
            self._settle(
                queued,
                target,
                lambda: self._answered(message, self._built_ins.update(message, target)),
                lambda error: self._failed(message, error),
            )

    def _failed(self, message: Message, error: Exception) -> Effect:
        reject = admission.engine_failed(message.effective, error)
        return self._answered(message, Effect(answer=Answer(reject=reject)))

    def _answered(self, message: Message, effect: Effect) -> Effect:
        """Send the answer of a call, if it is there already, and the cycles that were not taken."""
        answer, origin = effect.answer, Origin.of(message)
        if answer is None:
            return effect
        given: Answer = answer
        refund_cycles = message.cycles - effect.kept_cycles

        def write() -> None:
            answers.give(
                self._network,
                origin,
                given,
                sender=message.canister,
                refund_cycles=refund_cycles,
            )

        return replace(
            effect,
            writes=(*effect.writes, write),
            done=(*effect.done, lambda: answers.announce(self._network, origin)),
        )

    def _commit(self, queued: Queued, effect: Effect, slot: Slot | None) -> None:
        network = self._network

        def consume() -> None:
            network.queue.remove(queued)
            if queued.is_response:
                network.calls.settle(queued.callback)

        consuming = replace(effect, writes=(consume, *effect.writes))
        commit(network, _message(network, queued), consuming, slot)


def _message(network: Network, queued: Queued) -> Message:
    """Describe a queued message as the ledger shows messages."""
    method = queued.method
    if queued.is_response:
        callback = network.calls.callback(queued.callback)
        method = f"callback of {callback.method}" if callback else "callback"
    return Message(
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
