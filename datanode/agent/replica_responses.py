"""Uncertified responses of endpoints: CBOR, parsed but not verified."""

from dataclasses import dataclass
from typing import Final

from datanode.agent.fields import CborFields
from datanode.agent.reject import RejectError
from datanode.cbor import Cbor, Encodable, decode
from datanode.errors import FormatError
from datanode.principal import Principal

MAX_SIGNATURES: Final = 64
"""Ours: a node signs for itself; several are allowed, no subnet has more nodes."""
_SIGNATURE_BYTES: Final = 64


@dataclass(frozen=True, slots=True)
class NodeSignature:
    """A node's signature under the answer to a query."""

    node: Principal
    timestamp_ns: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """The answer to a query: what the nodes signed, and their signatures."""

    signed: dict[str, Encodable]
    signatures: tuple[NodeSignature, ...]
    result: bytes | RejectError


def parse_call_answer(body: bytes) -> bytes | RejectError:
    """Read the answer to a synchronous call: a certificate, or one replica's rejection.

    Raises:
        FormatError: Neither.
    """
    fields = CborFields(decode(body), "answer")
    if fields.text("status") == "replied":
        return fields.data("certificate")
    return parse_reject(fields)


def parse_reject(fields: CborFields) -> RejectError:
    """Take the fields of a rejection that no certificate vouches for."""
    return RejectError(
        fields.number("reject_code"),
        fields.text("error_code") if "error_code" in fields else "",
        fields.text("reject_message"),
        certified=False,
    )


def parse_certificate(body: bytes) -> bytes:
    """Read the answer to a read_state.

    Raises:
        FormatError: It is not one.
    """
    return CborFields(decode(body), "answer").data("certificate")


def parse_query_answer(body: bytes) -> QueryAnswer:
    """Read the answer to a query; nothing of it is verified yet.

    Raises:
        FormatError: It is not one.
    """
    fields = CborFields(decode(body), "answer")
    signatures = tuple(_node_signature(item) for item in fields.list("signatures", MAX_SIGNATURES))
    status = fields.text("status")
    if status == "replied":
        arg = CborFields(fields.take("reply"), "reply").data("arg")
        return QueryAnswer({"status": status, "reply": {"arg": arg}}, signatures, arg)
    if status != "rejected":
        raise FormatError("an answer that is neither replied nor rejected")
    signed: dict[str, Encodable] = {
        "status": status,
        "reject_code": fields.number("reject_code"),
        "reject_message": fields.text("reject_message"),
    }
    if "error_code" in fields:
        signed["error_code"] = fields.text("error_code")
    return QueryAnswer(signed, signatures, parse_reject(CborFields(decode(body), "answer")))


def _node_signature(value: Cbor) -> NodeSignature:
    fields = CborFields(value, "node signature")
    return NodeSignature(
        fields.principal("identity"),
        fields.number("timestamp"),
        fields.data("signature", _SIGNATURE_BYTES),
    )
