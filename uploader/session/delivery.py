"""One signed message to a certified end: its identical bytes, again and again, nothing else.

3. Send. No certified answer: ask what became of it, then send the identical bytes again.

The number is that of `sending.py`, where the whole order is promised.
"""

import time
from collections.abc import Callable
from typing import Final

from datanode.errors import DataNodeError, NetworkError, StoppedByUserError
from datanode.node.port import Refused, Settled, SignedMessage, StorageNode, Unsettled

GIVE_UP_S: Final = 900.0
"""How long one message is tried without any certified answer before the run stops."""


def deliver(
    node: StorageNode,
    message: SignedMessage,
    *,
    sleep: Callable[[float], None] = time.sleep,
    retried: Callable[[], None] = lambda: None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Settled | Refused | Unsettled:
    """Bring one message to a certified end, sending nothing but its identical bytes.

    Raises:
        DataNodeError: An answer without a certificate, or the network gave up: the outcome is
            not known, and the message stays open.
    """
    started, pause_s = monotonic(), 0.25
    while True:
        outcome, refusal = _attempt(node, message)  # 3
        if outcome is Unsettled.UNKNOWN:
            sleep(pause_s)
            outcome = _recover(node, message)
        if outcome is not Unsettled.UNKNOWN:
            return outcome
        if refusal is not None:
            raise refusal
        if monotonic() - started > GIVE_UP_S:
            raise NetworkError(
                "the network gave no certified answer for 15 minutes",
                safe="The signed message is kept; the next run asks what became of it.",
            )
        retried()
        pause_s = min(pause_s * 2, 8.0)


def _attempt(
    node: StorageNode, message: SignedMessage
) -> tuple[Settled | Refused | Unsettled, DataNodeError | None]:
    """Send once; a refusal without a certificate counts only if nothing else is known."""
    if not message.body:
        return Unsettled.UNKNOWN, None  # the outbox was lost: it can only be asked about
    try:
        return node.send(message), None
    except NetworkError:
        return Unsettled.UNKNOWN, None
    except DataNodeError as error:
        return Unsettled.UNKNOWN, error


def _recover(node: StorageNode, message: SignedMessage) -> Settled | Refused | Unsettled:
    try:
        return node.recover(message.request_id, message.expiry_ns)
    except NetworkError:
        return Unsettled.UNKNOWN


def stopped() -> StoppedByUserError:
    """Return what a run ends with when its user wants to stop."""
    return StoppedByUserError(
        "stopped",
        safe="What was sent is stored and paid, or is asked about by the next run; "
        "the rest has cost nothing.",
    )
