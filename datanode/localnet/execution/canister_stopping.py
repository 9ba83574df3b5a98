"""Stop a canister once its last open call is closed."""

from dataclasses import dataclass, replace
from typing import Final

from datanode.agent import candid
from datanode.localnet.execution import call_replies
from datanode.localnet.execution.effect import Effect, Step
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister_record import CanisterState
from datanode.localnet.state.message import IngressReply
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.stops import PendingStop
from datanode.principal import MANAGEMENT_CANISTER, Principal

EMPTY_REPLY: Final = candid.encode((), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Answering:
    """Writes of a message's transaction, and what follows it."""

    writes: tuple[Step, ...] = ()
    done: tuple[Step, ...] = ()

    def joined(self, effect: Effect) -> Effect:
        """Make them part of a message's effect."""
        return replace(
            effect, writes=(*effect.writes, *self.writes), done=(*effect.done, *self.done)
        )


def finish(traffic: MessageTraffic, bill: Bill, *, closing: int = 0) -> Answering:
    """Stop a canister if it waits for that and its last context is being closed."""
    canister = bill.canister
    if canister.status is not CanisterState.STOPPING:
        return Answering()
    if not traffic.calls.are_none_of(canister.id, but=closing):
        return Answering()
    bill.canister = replace(canister, status=CanisterState.STOPPED)
    return answered(traffic, traffic.stops.of(canister.id), IngressReply(reply=EMPTY_REPLY))


def cancelled(canister: Principal) -> Reject:
    """Reject a stop request of a canister that was started again."""
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0511",
        message=f"Canister {canister}'s stop request was cancelled.",
    )


def answered(traffic: MessageTraffic, stops: list[PendingStop], answer: IngressReply) -> Answering:
    """Answer those who asked to stop a canister, and forget that they asked."""

    def write() -> None:
        for each in stops:
            call_replies.give(
                traffic,
                each.origin,
                answer,
                sender=MANAGEMENT_CANISTER,
                refund_cycles=each.cycles,
            )
            traffic.stops.remove(each)

    def announce() -> None:
        for each in stops:
            call_replies.announce(traffic, each.origin)

    return Answering(writes=(write,), done=(announce,))
