"""Delivers messages between canisters: each is executed once, in the order of its receiver's queue.

What a message does, its removal from the queue included, is one transaction; so a killed server
goes on with exactly the messages that were not executed yet.
"""

import logging
from dataclasses import replace
from typing import Final

from datanode.errors import DataNodeError
from datanode.localnet.execution import admission, answers, request, response
from datanode.localnet.execution.effect import Effect, commit
from datanode.localnet.replica import rent
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import Answer, Message
from datanode.localnet.state.network import Network
from datanode.localnet.state.queue import Queued
from datanode.principal import Principal

_log: Final = logging.getLogger("datanode.localnet")


class Delivery:
    """Executes queued messages; those of one receiver one at a time."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def next(self, receiver: Principal) -> bool:
        """Execute the first message that waits for a receiver; False when none does.

        Raises:
            DiskFullError: There is no room; the message waits on.
        """
        slot = self._network.canisters.find(receiver)
        if slot is None:
            return self._nowhere(receiver)
        with slot.lock:
            rent.settle(self._network, slot)
            if slot.deleted:
                return self._nowhere(receiver)
            queued = self._network.queue.first(receiver)
            if queued is None:
                return False
            self._commit(queued, self._run(slot, queued), slot)
        return True

    def _run(self, slot: Slot, queued: Queued) -> Effect:
        run = response.run if queued.is_response else request.run
        try:
            return run(self._network, slot, queued)
        except DataNodeError:
            slot.machine.rollback()
            raise
        except Exception as error:  # noqa: BLE001 - see below
            # A fault of ours: the message is given up, or it would fail again and again.
            _log.exception("%s for %s failed", queued.method or "a response", queued.receiver)
            slot.machine.rollback()
            return self._given_up(slot, queued, error)

    def _given_up(self, slot: Slot, queued: Queued, error: Exception) -> Effect:
        bill = Bill(slot.canister, self._network.fees)
        if queued.is_response:
            bill.receive("refunded", queued.cycles)
            return Effect(answer=None, bill=bill, status="IC0521")
        failed = answers.effect(
            self._network,
            request.origin_of(queued),
            admission.engine_failed(slot.canister, error),
            sender=queued.receiver,
            cycles=queued.cycles,
        )
        return replace(failed, bill=bill)

    def _nowhere(self, receiver: Principal) -> bool:
        """Answer for a canister that does not exist; a response to it is dropped."""
        queued = self._network.queue.first(receiver)
        if queued is None:
            return False
        effect = Effect(answer=Answer())
        if not queued.is_response:
            effect = answers.effect(
                self._network,
                request.origin_of(queued),
                admission.not_found(receiver),
                sender=receiver,
                cycles=queued.cycles,
            )
        self._commit(queued, effect, None)
        return True

    def _commit(self, queued: Queued, effect: Effect, slot: Slot | None) -> None:
        network = self._network

        def consume() -> None:
            network.queue.remove(queued)
            if queued.is_response:
                network.calls.settle(queued.callback)

        commit(
            network,
            _message(network, queued),
            replace(effect, writes=(consume, *effect.writes)),
            slot,
        )


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
    )
