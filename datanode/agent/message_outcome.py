"""Outcome of a message, read from certificates."""

from dataclasses import dataclass
from typing import Final, TypeAlias

from datanode.agent.certificate import Certificate
from datanode.agent.hash_tree import ABSENT, HashTree
from datanode.agent.reject import RejectError
from datanode.agent.request_id import parse_leb128
from datanode.agent.signed_message import Unsettled
from datanode.errors import CertificateError
from datanode.limits import CERTIFICATE_MAX_AGE_NS, INGRESS_TTL_NS
from datanode.units import MINUTE_S, SECOND_NS

STATUS: Final = b"request_status"
"""Where the state tree keeps the outcomes of messages."""


_TOO_FAR_NS: Final = INGRESS_TTL_NS + CERTIFICATE_MAX_AGE_NS + MINUTE_S * SECOND_NS
"""No replica has accepted a message whose expiry is so far ahead of a certified absence. Ours."""


_IN_PROGRESS: Final = frozenset({b"received", b"processing"})


OPEN: Final = (Unsettled.UNKNOWN, Unsettled.ACCEPTED)
"""The outcome is still to come."""


@dataclass(frozen=True, slots=True)
class CertifiedReply:
    """A certified reply.

    Attributes:
        data: The reply, Candid.
        certificate: The proof, CBOR.
    """

    data: bytes
    certificate: bytes


Outcome: TypeAlias = CertifiedReply | RejectError | Unsettled


def outcome_of(
    proof: Certificate, raw: bytes, request: bytes, expiry_ns: int, *, is_recent: bool = False
) -> Outcome:
    """Read a verified certificate's statement about a message.

    Its age does not matter: a reply does not change, and absence counts at the time it states. Only
    a message whose expiry lies too far ahead needs a recent certificate: no replica can have taken
    it up by then, however long the certificate is delayed within its allowed age.

    Args:
        proof: The certificate, verified.
        raw: Its bytes, kept as the receipt.
        request: The message's request id.
        expiry_ns: The message's ingress expiry.
        is_recent: The certificate is no replay of an old one.

    Raises:
        CertificateError: The certificate contradicts itself.
    """
    tree = proof.tree
    status = tree.lookup([STATUS, request, b"status"])
    if status == b"replied":
        return CertifiedReply(_leaf(tree, request, b"reply"), raw)
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
        return Unsettled.FORGOTTEN
    if status is ABSENT and is_recent and expiry_ns - proof.time_ns > _TOO_FAR_NS:
        return Unsettled.EXPIRED
    if status is ABSENT and proof.time_ns > expiry_ns:
        forgotten = proof.time_ns > expiry_ns + INGRESS_TTL_NS
        return Unsettled.FORGOTTEN if forgotten else Unsettled.EXPIRED
    return Unsettled.ACCEPTED if status in _IN_PROGRESS else Unsettled.UNKNOWN


def is_absent(tree: HashTree, request: bytes) -> bool:
    """Whether a tree proves that the subnet has not taken a message up."""
    return tree.lookup([STATUS, request, b"status"]) is ABSENT


def _leaf(tree: HashTree, request: bytes, name: bytes) -> bytes:
    value = tree.lookup([STATUS, request, name])
    if not isinstance(value, bytes):
        raise CertificateError(f"the certificate of a message lacks its {name.decode()}")
    return value
