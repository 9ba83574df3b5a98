"""Gives answers to whoever made a call: to the sender of an ingress message, or to a canister."""

from typing import Final

from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.state.fault import Asked, Point, Verb
from datanode.localnet.state.message import Answer
from datanode.localnet.state.network import Network
from datanode.localnet.state.open_calls import Origin
from datanode.localnet.state.queue import Queued
from datanode.principal import Principal
from datanode.units import KIB

MAX_REJECT_BYTES: Final = 8 * KIB
"""Longest text of a reject between canisters. Source: replica, 2026."""

_AS_IT_IS: Final = ("IC0406", "IC0301", "IC0508", "IC0509", "")
_NO_REPLY: Final = "IC0506"


def give(
    network: Network, origin: Origin, answer: Answer, *, sender: Principal, refund_cycles: int = 0
) -> None:
    """Write an answer, as part of a transaction; `announce` follows it.

    Args:
        network: The network.
        origin: Who made the call.
        answer: The answer.
        sender: Who answers.
        refund_cycles: What was not accepted.
    """
    if origin.request_id is not None:
        network.requests.answer(origin.request_id, answer, network.clock.now_ns())
    elif origin.callback is not None:
        if network.faults.strike(Point.RESPOND, asked_by(origin, sender)):
            answer = Answer(reject=timed_out())
        code, payload = (0, answer.reply or b"")
        if answer.reject is not None:
            code, payload = answer.reject.code, told(answer.reject)
        network.queue.push(
            Queued(
                sender=sender,
                receiver=origin.caller,
                callback=origin.callback,
                is_response=True,
                payload=payload,
                cycles=refund_cycles,
                reject_code=code,
            )
        )


def announce(network: Network, origin: Origin) -> None:
    """Wake up whoever waits for an answer, once it is committed."""
    if origin.request_id is not None:
        network.requests.announce(origin.request_id)
    elif origin.callback is not None:
        network.queue.announce((origin.caller,))


def refuse(
    network: Network, origin: Origin, reject: Reject, *, sender: Principal, cycles: int
) -> Effect:
    """Refuse a call of a canister: nothing runs, and the cycles go back."""
    answer = Answer(reject=reject)

    def write() -> None:
        give(network, origin, answer, sender=sender, refund_cycles=cycles)

    return Effect(
        answer=answer,
        writes=(write,),
        done=(lambda: announce(network, origin),),
    )


def told(reject: Reject) -> bytes:
    """Word a reject for a canister, which gets no error code beside the text."""
    text = reject.message
    if reject.error_code == _NO_REPLY:
        text = "No response"
    elif reject.error_code not in _AS_IT_IS:
        text = f"{reject.error_code}: {text}"
    return text.encode()[:MAX_REJECT_BYTES].decode("utf-8", "ignore").encode()


def uninstalled() -> Reject:
    """Word that the code that should have answered is gone."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message="Canister has been uninstalled.",
    )


def refused_on_cue() -> Reject:
    """Word that a fault on cue keeps a call from its callee."""
    return Reject(code=RejectCode.SYS_TRANSIENT, error_code="", message="A fault on cue.")


def asked_by(origin: Origin, callee: Principal) -> Asked:
    """Say what a canister asks of another one, for faults on cue."""
    return Asked(Verb.CALL, callee, origin.method, is_bounded=origin.deadline_ns > 0)


def timed_out() -> Reject:
    """Word that a caller has stopped waiting."""
    return Reject(code=RejectCode.SYS_UNKNOWN, error_code="", message="Call has timed out.")
