"""Deliver replies to the caller: the sender of an ingress message, or a canister."""

from typing import Final

from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.state.fault import Asked, FaultPoint, FaultVerb
from datanode.localnet.state.message import IngressReply
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.open_calls import CallOrigin
from datanode.localnet.state.queue import QueuedMessage
from datanode.principal import Principal
from datanode.units import KIB

MAX_REJECT_BYTES: Final = 8 * KIB
"""Longest text of a reject between canisters. Source: replica, 2026."""

_AS_IT_IS: Final = ("IC0406", "IC0301", "IC0508", "IC0509", "")
_NO_REPLY: Final = "IC0506"


def give(
    traffic: MessageTraffic,
    origin: CallOrigin,
    answer: IngressReply,
    *,
    sender: Principal,
    refund_cycles: int = 0,
) -> None:
    """Write an answer, as part of a transaction; `announce` follows it.

    Args:
        traffic: Messages in flight.
        origin: Who made the call.
        answer: The answer.
        sender: Who answers.
        refund_cycles: What was not accepted.
    """
    if origin.request_id is not None:
        traffic.requests.answer(origin.request_id, answer, traffic.clock.now_ns())
    elif origin.callback is not None:
        if traffic.faults.strike(FaultPoint.RESPOND, asked_by(origin, sender)):
            answer = IngressReply(reject=timed_out())
        code, payload = (0, answer.reply or b"")
        if answer.reject is not None:
            code, payload = answer.reject.code, told(answer.reject)
        traffic.queue.push(
            QueuedMessage(
                sender=sender,
                receiver=origin.caller,
                callback=origin.callback,
                is_response=True,
                payload=payload,
                cycles=refund_cycles,
                reject_code=code,
            )
        )


def announce(traffic: MessageTraffic, origin: CallOrigin) -> None:
    """Wake up whoever waits for an answer, once it is committed."""
    if origin.request_id is not None:
        traffic.requests.announce(origin.request_id)
    elif origin.callback is not None:
        traffic.queue.announce((origin.caller,))


def refuse(
    traffic: MessageTraffic, origin: CallOrigin, reject: Reject, *, sender: Principal, cycles: int
) -> Effect:
    """Refuse a call of a canister: nothing runs, and the cycles go back."""
    answer = IngressReply(reject=reject)

    def write() -> None:
        give(traffic, origin, answer, sender=sender, refund_cycles=cycles)

    return Effect(
        answer=answer,
        writes=(write,),
        done=(lambda: announce(traffic, origin),),
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
    """Reject a call whose code was uninstalled before it replied."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message="Canister has been uninstalled.",
    )


def refused_on_cue() -> Reject:
    """Reject a call because of an injected fault."""
    return Reject(code=RejectCode.SYS_TRANSIENT, error_code="", message="A fault on cue.")


def asked_by(origin: CallOrigin, callee: Principal) -> Asked:
    """Say what a canister asks of another one, for faults on cue."""
    return Asked(FaultVerb.CALL, callee, origin.method, is_bounded=origin.deadline_ns > 0)


def timed_out() -> Reject:
    """Reject a call whose deadline has passed."""
    return Reject(code=RejectCode.SYS_UNKNOWN, error_code="", message="Call has timed out.")
