"""Outgoing calls of a message and the call context it belongs to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from datanode.localnet.machine import prices


@dataclass(frozen=True, slots=True)
class CallbackClosure:
    """A function of the module's table, and what it is given.

    Attributes:
        function: Its index in table 0.
        environment: Its only argument.
    """

    function: int
    environment: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTerms:
    """Charges of a canister for making a call.

    Attributes:
        fee_cycles: Prices a call by the bytes of its method's name and payload.
        transmission_cycles: Set aside for the largest possible response.
        callback_cycles: Set aside for a callback that uses every instruction it may.
        creation_cycles: What creating a canister costs.
        outcall_cycles: Prices an HTTPS request by its bytes and by those it may bring back.
        carries_cycles: Whether calls may carry cycles; not on a cloud engine, whose canisters have
            none.
    """

    fee_cycles: Callable[[int], int] = lambda _call_bytes: 0
    transmission_cycles: int = 0
    callback_cycles: int = 0
    creation_cycles: int = 0
    outcall_cycles: Callable[[int, int], int] = lambda _request_bytes, _response_bytes: 0
    carries_cycles: bool = True

    @property
    def reserve_cycles(self) -> int:
        """Return the cycles reserved until the response is handled."""
        return self.transmission_cycles + self.callback_cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingCall:
    """The call that a message belongs to, and for a callback the response.

    Attributes:
        available_cycles: Cycles of the call that are not accepted yet.
        refunded_cycles: What the response brought back.
        reject_code: The response's reject code; 0 for a reply.
        reject_message: The response's reject text.
        deadline_ns: Until when the caller waits; 0 means as long as it takes.
        responded: Whether the call was answered by an earlier message.
        instructions: What earlier messages of the same call executed.
    """

    available_cycles: int = 0
    refunded_cycles: int = 0
    reject_code: int = 0
    reject_message: bytes = b""
    deadline_ns: int = 0
    responded: bool = False
    instructions: int = 0


@dataclass(slots=True, kw_only=True)
class OutgoingCall:
    """A call under construction, or made.

    Attributes:
        callee: Principal of the canister that is called.
        method: Its method.
        payload: The argument.
        reply: Runs when the callee replies.
        reject: Runs when it rejects.
        cleanup: Runs when the one that ran has trapped.
        cycles: What goes along.
        timeout_s: For how long the caller waits; None means as long as it takes.
        fee_cycles: What the call costs, once it is made.
        transmission_cycles: What is set aside for the response.
        callback_cycles: What is set aside for the callback.
    """

    callee: bytes
    method: str
    reply: CallbackClosure
    reject: CallbackClosure
    cleanup: CallbackClosure | None = None
    payload: bytearray
    cycles: int = 0
    timeout_s: int | None = None
    fee_cycles: int = 0
    transmission_cycles: int = 0
    callback_cycles: int = 0

    @property
    def call_bytes(self) -> int:
        """Return the bytes of the call that are charged."""
        return len(self.method.encode()) + len(self.payload)


def no_calls_outstanding(_callee: bytes) -> int:
    """Tell for any callee that no calls wait for its response."""
    return 0


Outstanding: TypeAlias = Callable[[bytes], int]

CALLBACK_LIMIT: Final = prices.INSTRUCTION_LIMIT_UPDATE * (100 - prices.CLEANUP_PERCENT) // 100
"""Instructions of a callback; what is kept back is the cleanup's."""
