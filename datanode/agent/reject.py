"""Rejections: what the Internet Computer's codes mean for whoever called.

A rejection is *certified* (the subnet's answer to the message: final) or not (the word of one
replica: the message may still be executed). Both become the same errors here; `reject_of` tells
which it was.
"""

from typing import Final

from datanode.errors import (
    CyclesError,
    DataNodeError,
    NetworkError,
    NodeFullError,
    NodeRejectedError,
    NodeStoppedError,
    NotFoundError,
    NotStorageNodeError,
    UnauthorizedError,
)
from datanode.text import printable

SYS_FATAL: Final = 1
SYS_TRANSIENT: Final = 2
NO_CANISTER: Final = "IC0301"

_ERRORS: Final[dict[str, tuple[type[DataNodeError], str]]] = {
    "IC0207": (CyclesError, "the canister is out of cycles, or frozen"),
    "IC0501": (CyclesError, "the canister is out of cycles"),
    "IC0532": (CyclesError, "the canister has too few cycles to grow its memory"),
    "IC0534": (NodeFullError, "the canister's limit of reserved cycles ends its growth"),
    "IC0507": (NodeFullError, "the canister is out of memory"),
    "IC0539": (NodeFullError, "the canister's heap is at its limit"),
    "IC0508": (NodeStoppedError, "the canister is stopped"),
    "IC0509": (NodeStoppedError, "the canister is stopping"),
    "IC0537": (
        NodeStoppedError,
        "the canister has no code: it was never installed, or was deleted when the cycles ran out",
    ),
    NO_CANISTER: (NotFoundError, "there is no such canister"),
    "IC0302": (NotStorageNodeError, "the canister has no such method"),
    "IC0536": (NotStorageNodeError, "the canister has no such method"),
    "IC0406": (UnauthorizedError, "the canister refused the caller"),
    "IC0512": (UnauthorizedError, "only a controller of the canister may do that"),
}
"""Error codes of the replica; source: rs/types/error_types of the IC."""

_HINTS: Final = {
    "IC0534": "A full subnet reserves cycles for growth. Raise the limit: `datanode node settings "
    "NODE --reserved-cycles-limit none`. Then run the same command again.",
    "IC0539": "Raise the limit with `datanode node settings NODE --wasm-memory-limit 3GiB`, then "
    "run the same command again.",
    "IC0537": "Look at the balance with `datanode node status`; make a new node with "
    "`datanode node create`.",
    NO_CANISTER: "Is it on another --network, or deleted? `datanode node list` shows the known "
    "nodes, `datanode node remove` forgets one.",
}
"""Where the error's own next step would lead astray."""


class RejectError(NodeRejectedError):
    """A message was rejected.

    Attributes:
        code: Reject code of the interface specification, 1 to 6.
        error_code: The replica's finer code (`IC0503`); empty where none was given.
        message: The text, made printable.
        certified: Whether the subnet says so, or a single replica.
        certificate: The proof; empty when not certified.
    """

    def __init__(
        self,
        code: int,
        error_code: str,
        message: str,
        *,
        certified: bool,
        certificate: bytes = b"",
    ) -> None:
        self.code = code
        self.error_code = printable(error_code, 16)
        self.message = printable(message)
        self.certified = certified
        self.certificate = certificate
        name = self.error_code or f"reject code {code}"
        super().__init__(
            f"the canister or its subnet rejected the message ({name}): {self.message}"
        )


def error_of(reject: RejectError) -> DataNodeError:
    """Choose the error that a caller can act on; its cause is the rejection, unless it is that."""
    error: DataNodeError
    if reject.error_code in _ERRORS:
        kind, words = _ERRORS[reject.error_code]
        error = kind(f"{words}: {reject.message}", hint=_HINTS.get(reject.error_code, ""))
    elif reject.code in (SYS_FATAL, SYS_TRANSIENT):
        error = NetworkError(f"the subnet cannot take the message now: {reject.message}")
    else:
        return reject
    error.__cause__ = reject
    return error


def reject_of(error: BaseException) -> RejectError | None:
    """Find the rejection behind an error; None if it has another reason."""
    for candidate in (error, error.__cause__):
        if isinstance(candidate, RejectError):
            return candidate
    return None


def is_certified(error: BaseException) -> bool:
    """Whether an error is a subnet's final, certified answer."""
    reject = reject_of(error)
    return reject is not None and reject.certified
