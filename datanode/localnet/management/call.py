"""A call of the management canister while it is handled."""

from dataclasses import dataclass, replace

from datanode.localnet.execution.canister_stopping import EMPTY_REPLY
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canister_time import CanisterTime
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.history import Cause
from datanode.localnet.state.message import IngressMessage, IngressReply, RejectedError
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet_runtime import SubnetRuntime


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementCall:
    """Arguments of a handler; the slot's lock is held.

    Attributes:
        runtime: Prices, time and disk.
        traffic: Messages in flight.
        records: State of the canisters.
        message: The message.
        args: Its argument.
        slot: The canister that it concerns and that pays.
        bill: That canister's account, ingress fee taken.
    """

    runtime: SubnetRuntime
    traffic: MessageTraffic
    records: CanisterRecords
    message: IngressMessage
    args: Arguments
    slot: Slot
    bill: Bill

    @property
    def cause(self) -> Cause:
        """Return the origin of the call, for the canister's history."""
        return cause(self.runtime.canister_time, self.message, self.args)

    def done(self, reply: bytes = EMPTY_REPLY, *, changed: bool = False) -> Effect:
        """Return the effect of a call that went well.

        Args:
            reply: The reply.
            changed: Whether the canister's version grows.
        """
        if changed:
            canister = self.bill.canister
            self.bill.canister = replace(canister, version=canister.version + 1)
        return Effect(answer=IngressReply(reply=reply), bill=self.bill)


def cause(canister_time: CanisterTime, message: IngressMessage, args: Arguments) -> Cause:
    """Say who makes a call: a user, or a canister with the version that it says it has."""
    now_ns = canister_time.now_ns()
    if message.callback is None:
        return Cause.user(message.sender, now_ns)
    version = args.optional_number("sender_canister_version")
    return Cause.canister(message.sender, version, now_ns)


def reject(error_code: str, text: str) -> RejectedError:
    """Make the reject of a call that cannot be done; the first digit of the code is its kind."""
    kind = RejectCode(int(error_code.removeprefix("IC0")[0]))
    return RejectedError(Reject(code=kind, error_code=error_code, message=text))
