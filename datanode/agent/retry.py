"""The one retry policy: it asks the error class, nothing else.

Only what may be repeated goes through it: queries, reads of the state, fetching a key. A message
is never retried here, because sending it again is not the same as sending another one. An answer
that proves nothing is asked for again a few times: one replica may lie or sign badly, and the next
question may reach another.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from tenacity import RetryCallState, Retrying, stop_after_attempt
from tenacity.wait import wait_random_exponential

from datanode.agent.transport import TransportError
from datanode.errors import CertificateError, DataNodeError

ATTEMPTS: Final = 6
"""Ours: about 15 s of patience, the time-outs not counted."""
SUSPECT_ATTEMPTS: Final = 3
"""How often an answer that proves nothing is asked for in all. Ours."""
MAX_WAIT_S: Final = 8.0

T = TypeVar("T")

_backoff = wait_random_exponential(multiplier=0.5, max=MAX_WAIT_S)


def retrying(
    action: Callable[[], T],
    *,
    sleep: Callable[[float], None] = time.sleep,
    attempts: int = ATTEMPTS,
) -> T:
    """Run an action again while its error is retryable; the last error leaves as it came."""
    policy = Retrying(
        retry=_is_worth_another,
        stop=stop_after_attempt(attempts),
        wait=_wait_s,
        sleep=sleep,
        reraise=True,
    )
    return policy(action)


def _is_worth_another(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, CertificateError):
        return state.attempt_number < SUSPECT_ATTEMPTS
    return isinstance(error, DataNodeError) and error.retryable


def _wait_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TransportError) and error.retry_after_s is not None:
        return error.retry_after_s
    return _backoff(state)
