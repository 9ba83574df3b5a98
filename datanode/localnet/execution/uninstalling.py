"""Close the calls of uninstalled code: reject open ones, drop late responses."""

from dataclasses import replace

from datanode.localnet.execution import call_replies
from datanode.localnet.execution.canister_stopping import Answering
from datanode.localnet.state.message import IngressReply
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.principal import Principal


def abandon(traffic: MessageTraffic, canister: Principal) -> Answering:
    """Reject every call that a canister has not answered; its callbacks will not run."""
    contexts = traffic.calls.contexts(canister)
    waiting = [each for each in contexts if not each.responded]

    def write() -> None:
        for each in contexts:
            traffic.calls.save(replace(each, responded=True, deleted=True, available_cycles=0))
        for each in waiting:
            call_replies.give(
                traffic,
                each.origin,
                IngressReply(reject=call_replies.uninstalled()),
                sender=canister,
                refund_cycles=each.available_cycles,
            )

    def announce() -> None:
        for each in waiting:
            call_replies.announce(traffic, each.origin)

    return Answering(writes=(write,), done=(announce,))
