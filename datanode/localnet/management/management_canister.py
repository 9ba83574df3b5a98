"""The management canister, `aaaaa-aa`: executes calls of users and of canisters.

`methods` has the table of its methods; those that only canisters may call and that have no target
yet are in `from_canisters`.
"""

from datanode.errors import FormatError
from datanode.localnet.execution import admission
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management import (
    canister_lifecycle,
    from_canisters,
    interface_types,
    methods,
    provisional,
    views,
)
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.call import ManagementCall
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressMessage, IngressReply, RejectedError
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import Principal


class ManagementCanister:
    """Executes calls; whoever calls `run` holds the lock of the slot that the call concerns.

    Args:
        runtime: Prices, time and disk.
        traffic: Messages in flight.
        records: State of the canisters.
    """

    def __init__(
        self, runtime: SubnetRuntime, traffic: MessageTraffic, records: CanisterRecords
    ) -> None:
        self._runtime = runtime
        self._traffic = traffic
        self._records = records

    def admit(self, message: IngressMessage) -> IngressReply | None:
        """Say why a call of a user is refused on arrival; None when it is taken."""
        method = message.method
        if method == provisional.CREATE:
            return None
        slot = self._records.canisters.find(message.effective)
        reject = methods.inadmissible(method, message.effective, message.sender, slot)
        if reject is None and slot is not None:
            ingress_cycles = self._runtime.fees.ingress_cycles(message.envelope_bytes)
            missing = Bill(slot.canister, self._runtime.fees).missing(ingress_cycles)
            if missing and not methods.is_free(message) and not methods.pays_later(message):
                reject = admission.out_of_cycles(slot.canister, missing, message.sender)
        return None if reject is None else IngressReply(reject=reject)

    def create(self, message: IngressMessage) -> Effect:
        """Execute the one method of users that concerns no canister yet."""
        try:
            return self._created(message)
        except FormatError as error:
            return Effect(answer=IngressReply(reject=admission.invalid_payload(str(error))))
        except RejectedError as rejected:
            return Effect(answer=IngressReply(reject=rejected.reject))

    def run(self, slot: Slot, message: IngressMessage) -> Effect:
        """Execute a call of a user; the canister that it concerns pays the ingress fee."""
        bill = Bill(slot.canister, self._runtime.fees)
        reject = methods.inadmissible(message.method, message.effective, message.sender, slot)
        pays_later = methods.pays_later(message)
        if reject is None and not methods.is_free(message) and not pays_later:
            ingress_cycles = self._runtime.fees.ingress_cycles(message.envelope_bytes)
            missing = bill.missing(ingress_cycles)
            if missing:
                reject = admission.out_of_cycles(slot.canister, missing, message.sender)
            else:
                bill.take("ingress", ingress_cycles)
        if reject is not None:
            return Effect(answer=IngressReply(reject=reject), bill=bill)
        effect = self._handled(slot, message, bill)
        if pays_later:
            later_bytes = len(message.arg) + len(message.method)
            ingress_cycles = self._runtime.fees.ingress_cycles(later_bytes)
            if not bill.missing(ingress_cycles):
                bill.take("ingress", ingress_cycles)
        return effect

    def run_for_canister(self, slot: Slot | None, message: IngressMessage) -> Effect:
        """Execute a call that a canister made; nobody pays for ingress.

        Args:
            slot: The canister that it concerns; None where there is none.
            message: The call.
        """
        try:
            return self._called(slot, message)
        except FormatError as error:
            return Effect(answer=IngressReply(reject=admission.invalid_payload(str(error))))
        except RejectedError as rejected:
            return Effect(answer=IngressReply(reject=rejected.reject))

    def query(
        self, canister: Principal, *, method: str, caller: Principal, arg: bytes
    ) -> IngressReply:
        """Answer a query about a canister."""
        return views.query(
            self._runtime, self._records, canister, method=method, caller=caller, arg=arg
        )

    def _called(self, slot: Slot | None, message: IngressMessage) -> Effect:
        method = message.method
        if method == "raw_rand":
            return from_canisters.raw_rand(message)
        if method == "create_canister":
            return from_canisters.create(self._runtime, self._records.canisters, message)
        if method == provisional.CREATE:
            return self._created(message)
        if slot is None and methods.concerns_a_canister(method):
            methods.target(method, message.arg)
        reject = methods.inadmissible(
            method, message.effective, message.sender, slot, from_canister=True
        )
        if reject is not None or slot is None:
            return Effect(answer=IngressReply(reject=reject))
        return self._handled(slot, message, Bill(slot.canister, self._runtime.fees))

    def _created(self, message: IngressMessage) -> Effect:
        args = Arguments.decode(interface_types.PROVISIONAL_CREATE, message.arg)
        self._runtime.disk.check()
        return canister_lifecycle.provisional_create(
            self._runtime, self._records.canisters, message, args
        )

    def _handled(self, slot: Slot, message: IngressMessage, bill: Bill) -> Effect:
        method = methods.method_of(message)
        try:
            call = ManagementCall(
                runtime=self._runtime,
                traffic=self._traffic,
                records=self._records,
                message=message,
                args=Arguments.decode(method.argument, message.arg),
                slot=slot,
                bill=bill,
            )
            return method.handle(call)
        except RejectedError as rejected:
            return Effect(answer=IngressReply(reject=rejected.reject), bill=bill)
