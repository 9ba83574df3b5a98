"""One message while it runs: its input, limits and outcome."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Protocol

from datanode.localnet.machine import outgoing, prices, rejects
from datanode.localnet.machine.log_room import LINE_BYTES, MAX_LOG_BYTES, LogRoom
from datanode.localnet.machine.outgoing import CallTerms, IncomingCall, OutgoingCall, Outstanding
from datanode.localnet.machine.page_map import MemoryPrices
from datanode.localnet.machine.rejects import Failure, Reject
from datanode.localnet.machine.stable import WASM_PAGE_BYTES
from datanode.metering import Metering


class GrowthPolicy(Protocol):
    """Cost of memory growth; see `state.growth`."""

    reserved_cycles: int

    @property
    def threshold_cycles(self) -> int:
        """Return the cycles that must stay in the balance."""

    def grow(self, more_bytes: int, balance_cycles: int, *, is_checked: bool) -> None:
        """Let memory grow, or raise `Failure`."""

    def reset(self) -> None:
        """Forget what has grown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Environment that a message runs in: network, canister and caller.

    Attributes:
        caller: Principal of the caller.
        canister: Principal of the canister.
        time_ns: Nanoseconds since 1970.
        balance_cycles: The canister's balance.
        controllers: Principals of the canister's controllers.
        canister_version: The canister's version.
        data_certificate: Certificate for a query; None in replicated execution.
        liquid_cycles: What of the balance is above the freezing threshold; None means all.
        root_key: The network's root key in DER form.
        subnet: Principal of the subnet.
        nodes: How many nodes the subnet has.
        status: 1 running, 2 stopping, 3 stopped.
        incoming: The call that the message belongs to.
        terms: What calls cost.
        outstanding: Tells how many calls to a callee wait for its response.
        timer_ns: When the global timer is due; 0 when it is not set.
        variables: Names and values of the environment variables.
        growth: What growing memory costs; None where it is not asked.
        heap_limit_bytes: Largest heap; 0 is no limit.
        may_grow: Asked at each growth of stable memory, if a fault on cue may forbid it.
    """

    caller: bytes
    canister: bytes
    time_ns: int
    balance_cycles: int
    controllers: frozenset[bytes]
    canister_version: int
    data_certificate: bytes | None = None
    liquid_cycles: int | None = None
    root_key: bytes = b""
    subnet: bytes = b""
    nodes: int = 1
    status: int = 1
    incoming: IncomingCall = field(default_factory=IncomingCall)
    terms: CallTerms = field(default_factory=CallTerms)
    outstanding: Outstanding = outgoing.no_calls_outstanding
    timer_ns: int = 0
    variables: tuple[tuple[str, str], ...] = ()
    growth: GrowthPolicy | None = None
    heap_limit_bytes: int = 0
    may_grow: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """Result of a message.

    Attributes:
        reply: The reply's bytes; None when there is none.
        reject: Why there is no reply; None for an installation that went well.
        instructions: Instructions to be paid for.
        certified_data: What the message certified; None when it did not.
        logs: Lines of `debug_print`, and the trap's if there was one.
        accepted: Whether `canister_inspect_message` let the message in.
        trapped: Whether it failed, rather than rejecting.
        calls: The calls that it made.
        accepted_cycles: What it took of the cycles of the call that it answers.
        burnt_cycles: What it burnt.
        timer_ns: What it set the global timer to; None when it did not.
        reserved_cycles: What it set aside for the memory that it grew by.
    """

    reply: bytes | None
    reject: Reject | None
    instructions: int
    certified_data: bytes | None
    logs: tuple[str, ...]
    accepted: bool
    trapped: bool = False
    calls: tuple[OutgoingCall, ...] = ()
    accepted_cycles: int = 0
    burnt_cycles: int = 0
    timer_ns: int | None = None
    reserved_cycles: int = 0


class MessageKind(Enum):
    """How a message runs: name in error texts, instruction limit, whether replicated."""

    START = ("start", prices.INSTRUCTION_LIMIT_INSTALL, True)
    INIT = ("init", prices.INSTRUCTION_LIMIT_INSTALL, True)
    PRE_UPGRADE = ("pre upgrade", prices.INSTRUCTION_LIMIT_INSTALL, True)
    UPDATE = ("update", prices.INSTRUCTION_LIMIT_UPDATE, True)
    REPLICATED_QUERY = ("replicated query", prices.INSTRUCTION_LIMIT_UPDATE, True)
    QUERY = ("non replicated query", prices.INSTRUCTION_LIMIT_QUERY, False)
    INSPECT = ("inspect message", prices.INSTRUCTION_LIMIT_INSPECT, True)
    REPLY = ("reply callback", outgoing.CALLBACK_LIMIT, True)
    REJECT = ("reject callback", outgoing.CALLBACK_LIMIT, True)
    CLEANUP = ("cleanup", prices.INSTRUCTION_LIMIT_UPDATE, True)
    TASK = ("system task", prices.INSTRUCTION_LIMIT_UPDATE, True)
    COMPOSITE = ("composite query", prices.INSTRUCTION_LIMIT_QUERY, False)
    COMPOSITE_REPLY = ("composite reply callback", prices.INSTRUCTION_LIMIT_QUERY, False)
    COMPOSITE_REJECT = ("composite reject callback", prices.INSTRUCTION_LIMIT_QUERY, False)
    COMPOSITE_CLEANUP = ("composite cleanup", prices.INSTRUCTION_LIMIT_QUERY, False)

    def __init__(self, words: str, limit: int, replicated: bool) -> None:  # noqa: FBT001
        self.words = words
        self.limit = limit
        self.replicated = replicated

    @property
    def keeps(self) -> bool:
        """Whether the changes of such a message stay, and the pages that it changed are paid."""
        return self.replicated and self not in (MessageKind.REPLICATED_QUERY, MessageKind.INSPECT)

    @property
    def pays_writes(self) -> bool:
        """Whether first writes are paid: `modification_tracking` of the replica, mid-2026."""
        return self not in (MessageKind.QUERY, MessageKind.REPLICATED_QUERY, MessageKind.INSPECT)

    @property
    def is_sliced(self) -> bool:
        """Whether such a message runs in slices, to which a single operation is bounded."""
        return self.replicated and self is not MessageKind.INSPECT

    def memory_prices(self, metering: Metering) -> MemoryPrices:
        """Return what such a message pays for pages of the heap."""
        return MemoryPrices(
            access=metering.first_access_instructions.value,
            write=metering.first_write_instructions.value if self.pays_writes else 0,
            slice_limit=metering.slice_instructions.value if self.is_sliced else self.limit,
        )

    @property
    def stable_bytes(self) -> int:
        """How much stable memory such a message may read, and write."""
        if self in (MessageKind.START, MessageKind.INIT, MessageKind.PRE_UPGRADE):
            return prices.STABLE_BYTES_INSTALL
        if self is MessageKind.REPLICATED_QUERY or not self.replicated:
            return prices.STABLE_BYTES_QUERY
        return prices.STABLE_BYTES_MESSAGE


_LIMITED: Final = (MessageKind.START, MessageKind.INIT, MessageKind.UPDATE)
"""Messages in which the heap has a limit: `effective_wasm_memory_limit` of the replica, 2026."""


@dataclass(slots=True, kw_only=True)
class MessageInput:
    """A message under way.

    Attributes:
        replied: Whether `msg_reply` or `msg_reject` was called.
        rejection: Text of `msg_reject`.
        instructions: Instructions used so far, as of the last look.
        log_bytes: What the lines of `logs` hold, each with what it costs a log.
        building: The call under construction.
        calls: The calls that are made.
        called: How many of them go to whom.
        called_bytes: What they hold.
        gained_cycles: How much more the canister has than before the message; below zero, less.
        accepted_cycles: What it took of the incoming cycles.
        burnt_cycles: What it burnt.
        timer_ns: What it set the global timer to.
    """

    kind: MessageKind
    environment: Environment
    arg: bytes = b""
    method: str = ""
    instructions: int = 0
    reply: list[bytes] = field(default_factory=list)
    reply_bytes: int = 0
    replied: bool = False
    rejection: bytes | None = None
    certified_data: bytes | None = None
    logs: list[str] = field(default_factory=list)
    log_bytes: int = 0
    log_room: LogRoom = field(default_factory=LogRoom)
    accepted: bool = False
    building: OutgoingCall | None = None
    calls: list[OutgoingCall] = field(default_factory=list)
    called: Counter[bytes] = field(default_factory=Counter)
    called_bytes: int = 0
    gained_cycles: int = 0
    accepted_cycles: int = 0
    burnt_cycles: int = 0
    timer_ns: int | None = None

    @property
    def answers(self) -> bool:
        """Whether a message of this kind must reply."""
        kinds = (
            MessageKind.UPDATE,
            MessageKind.REPLICATED_QUERY,
            MessageKind.QUERY,
            MessageKind.COMPOSITE,
        )
        return self.kind in kinds and not self.calls

    @property
    def balance_cycles(self) -> int:
        """Return the current balance, cycles."""
        return self.environment.balance_cycles + self.gained_cycles - self.reserved_cycles

    @property
    def reserved_cycles(self) -> int:
        """Return the cycles reserved for memory growth."""
        growth = self.environment.growth
        return 0 if growth is None else growth.reserved_cycles

    def check_heap(self, size_bytes: int) -> None:
        """Check the size of the heap.

        Raises:
            Failure: The canister's settings do not allow it; callbacks and tasks may have it, so
                that what a canister began it can end.
        """
        limit = self.environment.heap_limit_bytes
        if limit and size_bytes > limit and self.kind in _LIMITED:
            raise Failure.heap_limit(size_bytes, limit)

    def grow_heap(self, before_pages: int, more_pages: int) -> None:
        """Let the heap grow.

        Raises:
            Failure: The canister's settings or its cycles do not allow it.
        """
        self.check_heap((before_pages + more_pages) * WASM_PAGE_BYTES)
        self.grow(more_pages * WASM_PAGE_BYTES)

    def grow(self, more_bytes: int) -> None:
        """Let memory grow.

        Raises:
            Failure: The canister has not the cycles for it.
        """
        growth = self.environment.growth
        if growth is not None and more_bytes and self.kind.keeps:
            is_checked = self.kind in (MessageKind.UPDATE, MessageKind.TASK)
            growth.grow(more_bytes, self.balance_cycles, is_checked=is_checked)

    @property
    def liquid_cycles(self) -> int:
        """Return the cycles above the freezing threshold."""
        env = self.environment
        if env.growth is not None:
            return max(0, self.balance_cycles - env.growth.threshold_cycles)
        if env.liquid_cycles is None:
            return max(0, self.balance_cycles)
        return max(0, env.liquid_cycles + self.gained_cycles)

    def log(self, line: str) -> None:
        """Keep a line; of more than any log can hold the oldest are forgotten now and then."""
        self.logs.append(line)
        self.log_bytes += LINE_BYTES + len(line)
        if self.log_bytes > 2 * MAX_LOG_BYTES:
            forgotten = 0
            while self.log_bytes > MAX_LOG_BYTES:
                self.log_bytes -= LINE_BYTES + len(self.logs[forgotten])
                forgotten += 1
            del self.logs[:forgotten]

    def drop_call(self) -> None:
        """Give up the call under construction; its cycles come back."""
        if self.building is not None:
            self.gained_cycles += self.building.cycles
            self.building = None


def outcome(message: MessageInput, failure: Failure | None) -> Execution:
    """Sum up a message that has ended, by a failure or by returning."""
    canister = message.environment.canister
    message.drop_call()
    reject: Reject | None = None
    if failure is not None:
        reject = failure.reject(canister)
        if message.instructions:
            message.logs.append(f"[TRAP]: {failure.what}")
    elif message.kind is MessageKind.INSPECT and not message.accepted:
        reject = rejects.not_accepted(canister)
    elif message.rejection is not None:
        reject = rejects.rejected(message.rejection)
    elif message.answers and not message.replied:
        reject = rejects.did_not_reply(canister)
    return Execution(
        reply=b"".join(message.reply) if message.replied and reject is None else None,
        reject=reject,
        instructions=message.instructions,
        certified_data=None if failure is not None else message.certified_data,
        logs=tuple(message.logs),
        accepted=message.accepted and failure is None,
        trapped=failure is not None,
        calls=() if failure is not None else tuple(message.calls),
        accepted_cycles=0 if failure is not None else message.accepted_cycles,
        burnt_cycles=0 if failure is not None else message.burnt_cycles,
        timer_ns=None if failure is not None else message.timer_ns,
        reserved_cycles=0 if failure is not None else message.reserved_cycles,
    )
