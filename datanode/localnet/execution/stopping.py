"""A canister that is being stopped: it is stopped when the last call that it has open is closed."""

from dataclasses import dataclass, replace
from typing import Final

from datanode.agent import candid
from datanode.localnet.execution import answers
from datanode.localnet.execution.effect import Effect, Step
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.state.bill import Bill
from datanode.localnet.state.canister import Status
from datanode.localnet.state.message import Answer
from datanode.localnet.state.network import Network
from datanode.localnet.state.stops import Stop
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


def finish(network: Network, bill: Bill, *, closing: int = 0) -> Answering:
    """Stop a canister if it waits for that and its last context is being closed."""
    canister = bill.canister
    if canister.status is not Status.STOPPING:
        return Answering()
    if not network.calls.are_none_of(canister.id, but=closing):
        return Answering()
    bill.canister = replace(canister, status=Status.STOPPED)
    return answered(network, network.stops.of(canister.id), Answer(reply=EMPTY_REPLY))


def cancelled(canister: Principal) -> Reject:
    """Word that a canister was started again before it had stopped."""
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0511",
        message=f"Canister {canister}'s stop request was cancelled.",
    )


def answered(network: Network, stops: list[Stop], answer: Answer) -> Answering:
    """Answer those who asked to stop a canister, and forget that they asked."""

    def write() -> None:
        for each in stops:
            answers.give(
                network,
                each.origin,
                answer,
                sender=MANAGEMENT_CANISTER,
                refund_cycles=each.cycles,
            )
            network.stops.remove(each)

    def announce() -> None:
        for each in stops:
            answers.announce(network, each.origin)

    return Answering(writes=(write,), done=(announce,))
