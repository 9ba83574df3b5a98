"""Calls that uninstalled code leaves behind: answered for it, and closed as responses come in."""

from dataclasses import replace

from datanode.localnet.execution import answers
from datanode.localnet.execution.stopping import Answering
from datanode.localnet.state.message import Answer
from datanode.localnet.state.network import Network
from datanode.principal import Principal


def abandon(network: Network, canister: Principal) -> Answering:
    """Reject every call that a canister has not answered; its callbacks will not run."""
    contexts = network.calls.contexts(canister)
    waiting = [each for each in contexts if not each.responded]

    def write() -> None:
        for each in contexts:
            network.calls.save(replace(each, responded=True, deleted=True, available_cycles=0))
        for each in waiting:
            answers.give(
                network,
                each.origin,
                Answer(reject=answers.uninstalled()),
                sender=canister,
                refund_cycles=each.available_cycles,
            )

    def announce() -> None:
        for each in waiting:
            answers.announce(network, each.origin)

    return Answering(writes=(write,), done=(announce,))
