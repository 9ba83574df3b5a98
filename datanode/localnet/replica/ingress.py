"""The way of an ingress message: admitted, executed at most once, committed, answered.

A message that was executed is known by its request id; the same bytes again get the same answer.
Messages of one canister run one after another, those of different canisters in parallel.
"""

import logging
from contextlib import nullcontext
from typing import Final

from datanode.cleanup import undoing
from datanode.errors import DataNodeError, DiskFullError
from datanode.localnet.execution import admission, update
from datanode.localnet.execution.effect import Effect, commit
from datanode.localnet.management import methods as management
from datanode.localnet.management import provisional
from datanode.localnet.management.built_in import BuiltIns
from datanode.localnet.replica import rent
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import Answer, Message, RejectedError
from datanode.localnet.state.network import Network
from datanode.principal import MANAGEMENT_CANISTER
from datanode.text import printable

_log: Final = logging.getLogger("datanode.localnet")


class Ingress:
    """Admits and executes messages; safe to be called from many threads."""

    def __init__(self, network: Network, built_ins: BuiltIns) -> None:
        self._network = network
        self._built_ins = built_ins

    def admit(self, message: Message) -> Answer | None:
        """Say why a message is refused on arrival; None when it may be executed.

        A message that is known already is not looked at again.
        """
        if self._network.requests.find(message.request_id) is not None:
            return None
        concerned = self._network.canisters.find(message.effective)
        if concerned is not None:
            rent.settle(self._network, concerned)
        if message.canister == MANAGEMENT_CANISTER:
            # Some of its methods make room; the others ask for it themselves.
            return management.admit(self._network, message)
        try:
            self._network.check_disk(message.envelope_bytes)
        except DiskFullError as error:
            return Answer(reject=admission.disk_full(message.effective, error))
        if message.canister in self._built_ins:
            return None
        slot = self._network.canisters.find(message.canister)
        if slot is None:
            return Answer(reject=admission.not_found(message.canister))
        return update.admit(self._network, slot, message)

    def execute(self, message: Message, *, patience_s: float) -> None:
        """Execute a message unless that was done; its answer is then in the network's requests.

        Args:
            message: An admitted message.
            patience_s: How long to wait for another thread that executes the same message.

        Raises:
            RejectedError: The disk is full; nothing was executed.
        """
        with self._network.requests.executing(message) as mine:
            if mine:
                try:
                    self._run(message)
                except DiskFullError as error:
                    raise RejectedError(admission.disk_full(message.effective, error)) from error
                return
        self._network.requests.wait(message.request_id, patience_s)

    def _run(self, message: Message) -> None:
        network = self._network
        slot = network.canisters.find(message.effective)
        if message.canister in self._built_ins:
            target = self._built_ins.slot(message)
            with self._built_ins.lock, nullcontext() if target is None else target.lock:
                if target is not None:
                    rent.settle(network, target)
                target = None if target is None or target.deleted else target
                commit(network, message, self._built_ins.update(message, target), target)
        elif message.canister == MANAGEMENT_CANISTER and message.method == provisional.CREATE:
            with self._built_ins.lock:
                commit(network, message, management.create(network, message), None)
        elif slot is None:
            answer = Answer(reject=admission.not_found(message.effective))
            commit(network, message, Effect(answer=answer), None)
        else:
            self._run_in(slot, message)

    def _run_in(self, slot: Slot, message: Message) -> None:
        network = self._network
        with slot.lock:
            if slot.deleted:
                answer = Answer(reject=admission.not_found(message.effective))
                commit(network, message, Effect(answer=answer), None)
                return
            rent.settle(network, slot)
            try:
                with undoing(slot.machine.rollback):
                    if message.canister == MANAGEMENT_CANISTER:
                        effect = management.run(network, slot, message)
                    else:
                        effect = update.run(network, slot, message)
            except DataNodeError:
                raise
            except Exception as error:  # noqa: BLE001 - see below
                # A fault of ours: the sender is told for good, or it would ask until it expires.
                _log.exception("%s of %s failed", printable(message.method), message.canister)
                effect = Effect(
                    answer=Answer(reject=admission.engine_failed(slot.canister.id, error))
                )
            commit(network, message, effect, slot)
