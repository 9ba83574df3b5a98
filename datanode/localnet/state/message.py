"""An ingress message and its outcome."""

from dataclasses import dataclass
from typing import Final

from datanode.localnet.machine.rejects import Reject
from datanode.principal import Principal
from datanode.units import MINUTE_S, SECOND_NS

FORGET_AFTER_NS: Final = 10 * MINUTE_S * SECOND_NS
"""How long an answer is kept after its message has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressMessage:
    """A call that passed every check of its envelope.

    Attributes:
        request_id: Hash of its content.
        sender: Who signed it.
        canister: Whom it calls; the management canister too.
        effective: Whom it concerns: the canister whose cycles pay for it.
        method: Which method.
        arg: Its argument.
        envelope_bytes: Size as received.
        expires_ns: Until when the same bytes may arrive again.
        callback: If a canister calls, its callback; then it has no envelope and no request id.
        cycles: What came along.
    """

    request_id: bytes
    sender: Principal
    canister: Principal
    effective: Principal
    method: str
    arg: bytes
    envelope_bytes: int
    expires_ns: int
    callback: int | None = None
    cycles: int = 0


@dataclass(frozen=True, slots=True)
class IngressReply:
    """How a message ended: with a reply, or with a reject."""

    reply: bytes | None = None
    reject: Reject | None = None

    @property
    def status(self) -> str:
        """The word that the state tree has for it."""
        return "replied" if self.reject is None else "rejected"


class NotAdmittedError(Exception):
    """A request that is not even looked at; becomes an HTTP status with a line of text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class RejectedError(Exception):
    """A message that the management canister or a built-in canister rejects; it still pays."""

    def __init__(self, reject: Reject) -> None:
        super().__init__(reject.message)
        self.reject = reject
