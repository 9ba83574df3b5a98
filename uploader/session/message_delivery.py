"""Deliver one signed message: send its identical bytes until its outcome is certified.

4. Send. No certified answer: ask what became of it, then send the identical bytes again, unless
   a replica has taken them: on a slow line they would travel twice.

The number is that of `sending.py`, where the whole order is promised.
"""

import time
from collections.abc import Callable
from typing import Final, TypeAlias

from datanode.agent.signed_message import SignedMessage, Unsettled
from datanode.errors import DataNodeError, NetworkError, StoppedByUserError
from datanode.node.port import Refused, Settled, StorageNode

_OPEN: Final = (Unsettled.UNKNOWN, Unsettled.ACCEPTED)

Stopping: TypeAlias = Callable[[], bool]
"""Turns true when the user wants to stop."""

RESEND_EVERY: Final = 8
"""Questions about a message that a replica has taken before it is sent again; it may be lost."""

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
    """Send a message until its outcome is certified; nothing but its identical bytes is sent.

    Raises:
        DataNodeError: An answer without a certificate, or the network gave up: the outcome is
            not known, and the message stays open.
    """
    started, pause_s = monotonic(), 0.25
    while True:
        outcome, refusal = _attempt(node, message)  # 4
        for _ in range(RESEND_EVERY):
            if outcome not in _OPEN:
                return outcome
            sleep(pause_s)
            outcome = _recover(node, message, outcome)
            if outcome is Unsettled.UNKNOWN:
                break
            pause_s = min(pause_s * 2, 8.0)
        if outcome not in _OPEN:
            return outcome
        if refusal is not None:
            raise refusal
        if monotonic() - started > GIVE_UP_S:
            raise NetworkError("the network gave no certified answer for 15 minutes")
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


def _recover(
    node: StorageNode, message: SignedMessage, known: Settled | Refused | Unsettled
) -> Settled | Refused | Unsettled:
    """Ask what became of a message; a certificate may still be older than what a replica took."""
    try:
        found = node.recover(message.request_id, message.expiry_ns)
    except NetworkError:
        return known
    return known if found is Unsettled.UNKNOWN else found


def stopped() -> StoppedByUserError:
    """Return the error that ends a run whose user wants to stop."""
    return StoppedByUserError("stopped")


def raise_if_stopping(stopping: Stopping) -> None:
    """Raise if the user wants to stop.

    Raises:
        StoppedByUserError: That is so.
    """
    if stopping():
        raise stopped()
