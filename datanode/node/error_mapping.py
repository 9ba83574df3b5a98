"""Maps each case of `Error` in `storage.did` to an error class."""

from datetime import UTC, datetime
from typing import Final

from datanode.agent.candid import Value, decode
from datanode.errors import (
    ConflictError,
    CyclesError,
    DataNodeError,
    FormatError,
    IncompleteSealError,
    LeaseHeldError,
    LeaseLostError,
    NodeFullError,
    NodeRejectedError,
    NotFoundError,
    QuotaError,
    UnauthorizedError,
)
from datanode.node.candid_interface import CandidMethod
from datanode.node.values import Row, case, narrow
from datanode.principal import Principal
from datanode.units import SECOND_NS, format_bytes, format_cycles

CONFLICT: Final = "the node cannot do that now"


def open_reply(method: CandidMethod, reply: bytes, *, conflict: str = CONFLICT) -> Value:
    """Decode a reply and raise what it refuses.

    Args:
        method: The method that was called.
        reply: Its reply.
        conflict: What a conflict means to the caller; the node's reason follows it.

    Raises:
        FormatError: It is not a reply of this method.
        DataNodeError: The node says no.
    """
    (value,) = decode((method.reply,), reply)
    if not method.fallible:
        return value
    verdict, inner = case(value)
    if verdict == "Err":
        raise refusal(inner, conflict=conflict)
    return inner


def refusal(error: Value, *, conflict: str = CONFLICT) -> DataNodeError:
    """Turn a decoded `Error` into the error to raise; every case of the interface is known."""
    name, details = case(error)
    match name:
        case "unauthorized":
            return UnauthorizedError("this identity has no role on the node that allows the call")
        case "lease_lost":
            return LeaseLostError(
                "the lease was taken over or ended",
                safe="Frames that were stored are kept for at least 14 days.",
            )
        case "not_found" | "conflict" | "bad_manifest" | "bad_request":
            return _worded(name, narrow(details, str), conflict)
    return _measured(name, Row.of(details))


def _worded(name: str, text: str, conflict: str) -> DataNodeError:
    match name:
        case "not_found":
            return NotFoundError(f"not on the node, or not for this identity: {text}")
        case "conflict":
            return ConflictError(f"{conflict}: {text}")
        case "bad_manifest":
            return FormatError(f"the node refuses the manifest: {text}")
    return NodeRejectedError(f"the node refuses the call: {text}")


def _measured(name: str, row: Row) -> DataNodeError:
    match name:
        case "too_large":
            limit, got = row.number("limit"), row.number("got")
            return NodeRejectedError(f"the node takes at most {limit} in a call, not {got}")
        case "quota":
            limit, used = row.number("limit_bytes"), row.number("used_bytes")
            return QuotaError(
                f"the grant allows {format_bytes(limit)}, {format_bytes(used)} are used"
            )
        case "incomplete":
            missing = tuple(narrow(digest, bytes) for digest in row.items("missing"))
            return IncompleteSealError(missing, row.number("missing_total"))
        case "lease_held":
            until = datetime.fromtimestamp(row.number("expires_ns") // SECOND_NS, UTC)
            holder = row.optional("holder", Principal) or "another identity"
            return LeaseHeldError(
                f"{holder} is uploading this model; its lease ends at {until:%Y-%m-%d %H:%M:%S} UTC"
            )
        case "out_of_memory":
            asked = format_bytes(row.number("asked_bytes"))
            return NodeFullError(
                f"the node cannot grow its memory by {asked}",
                safe="Frames that were stored are kept.",
            )
        case "low_cycles":
            balance = row.optional("balance", int)
            has = "" if balance is None else f"and has {format_cycles(balance)} "
            needed = format_cycles(row.number("needed"))
            return CyclesError(
                f"the node needs {needed} {has}above its freezing reserve",
                safe="Nothing of this call was stored or lost.",
            )
    raise TypeError(f"{name} is a case that the interface does not have")
