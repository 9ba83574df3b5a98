"""Process an ingress message: admit, execute at most once, commit, answer.

A message that was executed is known by its request id; the same bytes again get the same answer.
Messages of one canister run one after another, those of different canisters in parallel.
"""

import logging
from contextlib import nullcontext
from typing import Final

from datanode.cleanup import rollback_on_error
from datanode.errors import DataNodeError, DiskFullError
from datanode.localnet.execution import admission, update
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management import provisional
from datanode.localnet.management.system_canisters import SystemCanisters
from datanode.localnet.replica.canister_host import CanisterHost
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressMessage, IngressReply, RejectedError
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import MANAGEMENT_CANISTER
from datanode.text import printable

_log: Final = logging.getLogger("datanode.localnet")


class Ingress:
    """Admits and executes messages; safe to be called from many threads.

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

    def admit(self, message: IngressMessage) -> IngressReply | None:
        """Say why a message is refused on arrival; None when it may be executed.

        A message that is known already is not looked at again.
        """
        if self._traffic.requests.find(message.request_id) is not None:
            return None
        concerned = self._host.find(message.effective)
        if concerned is not None:
            self._host.settle(concerned)
        if message.canister == MANAGEMENT_CANISTER:
            # Some of its methods make room; the others ask for it themselves.
            return self._system.management.admit(message)
        try:
            self._runtime.disk.check(message.envelope_bytes)
        except DiskFullError as error:
            return IngressReply(reject=admission.disk_full(message.effective, error))
        if message.canister in self._system.built_ins:
            return None
        slot = self._host.find(message.canister)
        if slot is None:
            return IngressReply(reject=admission.not_found(message.canister))
        return update.admit(self._runtime, slot, message)

    def execute(self, message: IngressMessage, *, patience_s: float) -> None:
        """Execute a message unless that was done; its answer is then in the network's requests.

        Args:
            message: An admitted message.
            patience_s: How long to wait for another thread that executes the same message.

        Raises:
            RejectedError: The disk is full; nothing was executed.
        """
        with self._traffic.requests.executing(message) as mine:
            if mine:
                try:
                    self._run(message)
                except DiskFullError as error:
                    raise RejectedError(admission.disk_full(message.effective, error)) from error
                return
        self._traffic.requests.wait(message.request_id, patience_s)

    def _run(self, message: IngressMessage) -> None:
        slot = self._host.find(message.effective)
        if message.canister in self._system.built_ins:
            target = self._system.built_ins.slot(message)
            with self._system.lock, nullcontext() if target is None else target.lock:
                if target is not None:
                    self._host.settle(target)
                target = None if target is None or target.deleted else target
                self._host.commit(message, self._system.built_ins.update(message, target), target)
        elif message.canister == MANAGEMENT_CANISTER and message.method == provisional.CREATE:
            with self._system.lock:
                self._host.commit(message, self._system.management.create(message), None)
        elif slot is None:
            answer = IngressReply(reject=admission.not_found(message.effective))
            self._host.commit(message, Effect(answer=answer), None)
        else:
            self._run_in(slot, message)

    def _run_in(self, slot: Slot, message: IngressMessage) -> None:
        with slot.lock:
            if slot.deleted:
                answer = IngressReply(reject=admission.not_found(message.effective))
                self._host.commit(message, Effect(answer=answer), None)
                return
            self._host.settle(slot)
            try:
                with rollback_on_error(slot.machine.rollback):
                    if message.canister == MANAGEMENT_CANISTER:
                        effect = self._system.management.run(slot, message)
                    else:
                        effect = update.run(self._runtime, self._traffic, slot, message)
            except DataNodeError:
                raise
            except Exception as error:  # noqa: BLE001 - see below
                # A fault of ours: the sender is told for good, or it would ask until it expires.
                _log.exception("%s of %s failed", printable(message.method), message.canister)
                effect = Effect(
                    answer=IngressReply(reject=admission.engine_failed(slot.canister.id, error))
                )
            self._host.commit(message, effect, slot)
