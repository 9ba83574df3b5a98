"""A message that is signed and can be sent, and why it may have no certified outcome."""

from dataclasses import dataclass
from enum import StrEnum

from datanode.principal import Principal


class Unsettled(StrEnum):
    """Why a message has no certified outcome."""

    UNKNOWN = "unknown"
    """It may or may not be executed: the identical bytes may be sent again."""
    ACCEPTED = "accepted"
    """A replica has taken it; its outcome is asked for, and the bytes need not be sent again."""
    EXPIRED = "expired"
    """Proven: it was not executed, and no replica takes it: it is too late, or far too early."""
    FORGOTTEN = "forgotten"
    """Too long ago for the subnet to remember; only the canister can tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMessage:
    """A signed message: the bytes that may be sent any number of times and run once.

    Attributes:
        request_id: Names it; 32 bytes.
        canister: The effective canister: where it is sent.
        sender: Who signed it.
        expiry_ns: Subnet time after which it can no longer run.
        body: The envelope.
    """

    request_id: bytes
    canister: Principal
    sender: Principal
    expiry_ns: int
    body: bytes
