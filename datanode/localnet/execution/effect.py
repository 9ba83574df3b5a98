"""The effect of a message on the network, before it is committed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from datanode.localnet.state.bill import Bill
from datanode.localnet.state.message import IngressReply

Step: TypeAlias = Callable[[], object]
"""A write of a transaction, or something that follows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """The outcome of a message, before it is committed.

    Attributes:
        answer: What the sender is told; None when it has to wait, or is told by another message.
        bill: The canister that pays, as it is afterwards; None where none does.
        instructions: What was executed.
        logs: What the canister printed.
        writes: Further writes of the same transaction.
        done: What follows in memory, once it is committed.
        undone: What follows instead, where it could not be committed.
        status: How the ledger calls the outcome, where the answer does not say it.
        kept_cycles: What was taken of the cycles of a call that a canister made.
    """

    answer: IngressReply | None
    bill: Bill | None = None
    instructions: int = 0
    logs: tuple[str, ...] = ()
    writes: tuple[Step, ...] = ()
    done: tuple[Step, ...] = ()
    undone: tuple[Step, ...] = ()
    status: str = ""
    kept_cycles: int = 0
