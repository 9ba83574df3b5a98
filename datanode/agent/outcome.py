"""What became of a message, read from certificates."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from datanode.agent.certificate import Certificate
from datanode.agent.hash_tree import ABSENT, HashTree
from datanode.agent.reject import RejectError
from datanode.agent.request_id import parse_leb128
from datanode.errors import CertificateError
from datanode.limits import INGRESS_TTL_NS
from datanode.principal import Principal

STATUS: Final = b"request_status"
"""Where the state tree keeps the outcomes of messages."""


class Pending(StrEnum):
    """Why a message has no certified outcome."""

    UNKNOWN = "unknown"
    """It may or may not be executed: the identical bytes may be sent again."""
    EXPIRED = "expired"
    """Proven: it was not executed and never will be."""
    FORGOTTEN = "forgotten"
    """Too long ago for the subnet to remember; only the canister can tell."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A certified reply.

    Attributes:
        data: The reply, Candid.
        certificate: The proof, CBOR.
    """

    data: bytes
    certificate: bytes


@dataclass(frozen=True, slots=True)
class SignedCall:
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


Outcome: TypeAlias = Reply | RejectError | Pending


def outcome_of(proof: Certificate, raw: bytes, request: bytes, expiry_ns: int) -> Outcome:
    """Read a verified certificate's statement about a message.

    Its age does not matter: a reply does not change, and absence counts at the time it states.

    Args:
        proof: The certificate, verified.
        raw: Its bytes, kept as the receipt.
        request: The message's request id.
        expiry_ns: The message's ingress expiry.

    Raises:
        CertificateError: The certificate contradicts itself.
    """
    tree = proof.tree
    status = tree.lookup([STATUS, request, b"status"])
    if status == b"replied":
        return Reply(_leaf(tree, request, b"reply"), raw)
    if status == b"rejected":
        error_code = tree.lookup([STATUS, request, b"error_code"])
        return RejectError(
            parse_leb128(_leaf(tree, request, b"reject_code")),
            error_code.decode(errors="replace") if isinstance(error_code, bytes) else "",
            _leaf(tree, request, b"reject_message").decode(errors="replace"),
            certified=True,
            certificate=raw,
        )
    if status == b"done":
        return Pending.FORGOTTEN
    if status is ABSENT and proof.time_ns > expiry_ns:
        forgotten = proof.time_ns > expiry_ns + INGRESS_TTL_NS
        return Pending.FORGOTTEN if forgotten else Pending.EXPIRED
    return Pending.UNKNOWN


def is_absent(tree: HashTree, request: bytes) -> bool:
    """Whether a tree proves that the subnet has not taken a message up."""
    return tree.lookup([STATUS, request, b"status"]) is ABSENT


def _leaf(tree: HashTree, request: bytes, name: bytes) -> bytes:
    value = tree.lookup([STATUS, request, name])
    if not isinstance(value, bytes):
        raise CertificateError(f"the certificate of a message lacks its {name.decode()}")
    return value
