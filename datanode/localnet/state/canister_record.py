"""Record of a canister besides its memory: settings, status, cycles.

A `Canister` is frozen: a message makes a new one, which replaces the old one once it is committed.
So whatever fails half way leaves the old one standing.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Final, Self

from datanode.agent.candid import Value
from datanode.fees import FeeSchedule, Rent
from datanode.localnet.state.history import Cause, History
from datanode.principal import Principal
from datanode.units import DAY_S, GIB, TC

DEFAULT_FREEZING_THRESHOLD_S: Final = 30 * DAY_S
DEFAULT_RESERVED_CYCLES_LIMIT: Final = 5 * TC
DEFAULT_WASM_MEMORY_LIMIT_BYTES: Final = 3 * GIB
MAX_HEAP_BYTES: Final = 4 * GIB
DEFAULT_LOG_MEMORY_LIMIT_BYTES: Final = 4096
"""What a canister gets that asks for nothing else. Source: interface specification, 2026-05."""


class LowMemoryHook(StrEnum):
    """Whether the hook for low memory has to run: once each time that memory gets low."""

    IDLE = "condition_not_satisfied"
    READY = "ready"
    DONE = "executed"


class CanisterState(StrEnum):
    """Whether a canister takes messages."""

    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterSettings:
    """Settings of a canister.

    Attributes:
        controllers: Who may manage the canister; at most ten.
        freezing_threshold_s: For how long the balance must cover the rent.
        compute_allocation: Percent of a core.
        memory_allocation_bytes: Memory that is paid whether used or not.
        reserved_cycles_limit: Most cycles that growing may set aside.
        wasm_memory_limit_bytes: Largest heap; 0 is no limit.
        wasm_memory_threshold_bytes: Heap that is left when the low-memory hook runs.
        log_memory_limit_bytes: How much of the log is kept.
        log_viewers: `controllers`, `public`, or `allowed_viewers` and their principals, separated
            by spaces.
        snapshot_viewers: The same, for snapshots.
        status_viewers: The same, for the status.
        minimum_call_cycles: What calls of other canisters must bring.
        environment: Names and values that the canister can read.
    """

    controllers: tuple[Principal, ...]
    freezing_threshold_s: int = DEFAULT_FREEZING_THRESHOLD_S
    compute_allocation: int = 0
    memory_allocation_bytes: int = 0
    reserved_cycles_limit: int = DEFAULT_RESERVED_CYCLES_LIMIT
    wasm_memory_limit_bytes: int = DEFAULT_WASM_MEMORY_LIMIT_BYTES
    wasm_memory_threshold_bytes: int = 0
    log_memory_limit_bytes: int = DEFAULT_LOG_MEMORY_LIMIT_BYTES
    log_viewers: str = "controllers"
    snapshot_viewers: str = "controllers"
    status_viewers: str = "controllers"
    minimum_call_cycles: int = 0
    environment: tuple[tuple[str, str], ...] = ()

    def lets_see(self, viewers: str, who: Principal) -> bool:
        """Whether a principal may see what one of the lists of viewers protects."""
        kind, *allowed = viewers.split()
        return kind == "public" or who in self.controllers or who.text in allowed

    def to_json(self) -> str:
        """Write the settings as text."""
        fields = asdict(self)
        fields["controllers"] = [each.text for each in self.controllers]
        return json.dumps(fields, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        fields["controllers"] = tuple(Principal.parse(each) for each in fields["controllers"])
        fields["environment"] = tuple((name, value) for name, value in fields["environment"])
        return cls(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Canister:
    """A canister as it was last committed.

    Attributes:
        id: Its principal.
        settings: What its controllers set.
        status: Whether it takes messages.
        balance_cycles: What it has.
        reserved_cycles: What is set aside for storage besides.
        module_hash: SHA-256 of its module as given; None without code.
        certified_data: At most 32 bytes.
        version: Grows with every change of code, settings, status or memory.
        sequence: Number of its last committed message; the machine's undo log carries the same.
        heap_bytes: Size of its heap.
        stable_bytes: Size of its stable memory.
        module_bytes: Size of its module as given.
        chunk_bytes: Size of its chunk store.
        charged_ns: Until when its rent is paid.
        global_bytes: What its globals count.
        section_bytes: Size of its metadata sections.
        log_bytes: Size of its log.
        log_count: How many lines it ever logged.
        snapshot_bytes: Size of its snapshots.
        snapshot_count: How many snapshots it ever had.
        history: What was done to its code and its controllers.
        timer_ns: When its global timer is due, in canister time; 0 when it is not set.
        low_memory_hook: Whether the hook for low memory has to run.
    """

    id: Principal
    settings: CanisterSettings
    status: CanisterState = CanisterState.RUNNING
    balance_cycles: int
    reserved_cycles: int = 0
    module_hash: bytes | None = None
    certified_data: bytes = b""
    version: int = 0
    sequence: int = 0
    heap_bytes: int = 0
    stable_bytes: int = 0
    module_bytes: int = 0
    chunk_bytes: int = 0
    charged_ns: int
    timer_ns: int = 0
    low_memory_hook: LowMemoryHook = LowMemoryHook.IDLE
    global_bytes: int = 0
    section_bytes: int = 0
    log_bytes: int = 0
    log_count: int = 0
    snapshot_bytes: int = 0
    snapshot_count: int = 0
    history: History = field(default_factory=History)

    def is_controlled_by(self, who: Principal) -> bool:
        """Whether a principal is one of its controllers."""
        return who in self.settings.controllers

    def without_code(self, sequence: int) -> Self:
        """Return the canister as it is once it is uninstalled by a message of that number."""
        return replace(
            self,
            sequence=sequence,
            version=self.version + 1,
            module_hash=None,
            certified_data=b"",
            heap_bytes=0,
            stable_bytes=0,
            module_bytes=0,
            chunk_bytes=0,
            timer_ns=0,
            global_bytes=0,
            section_bytes=0,
            log_bytes=0,
        )

    def changed(self, cause: Cause, case: str, details: Value) -> Self:
        """Return the canister with a change in its history, made by what became its version."""
        history = self.history.with_change(cause, self.version, (case, details))
        return replace(self, history=history)

    def watched(self) -> Self:
        """Return the canister with its hook made ready if its heap has come near its limit."""
        left_bytes = (self.settings.wasm_memory_limit_bytes or MAX_HEAP_BYTES) - self.heap_bytes
        if left_bytes >= self.settings.wasm_memory_threshold_bytes:
            hook = LowMemoryHook.IDLE
        else:
            hook = (
                LowMemoryHook.READY
                if self.low_memory_hook is LowMemoryHook.IDLE
                else self.low_memory_hook
            )
        return replace(self, low_memory_hook=hook)

    @property
    def memory_bytes(self) -> int:
        """Return all memory that the canister holds, bytes."""
        stores = self.chunk_bytes + self.log_bytes + self.snapshot_bytes
        return self.execution_bytes + self.history.size_bytes + stores

    @property
    def execution_bytes(self) -> int:
        """Return the memory of code and memories, bytes."""
        memories = self.heap_bytes + self.stable_bytes + self.global_bytes
        return memories + self.module_bytes + self.section_bytes

    def charged_bytes(self) -> int:
        """Return the memory that is paid for: what is held, or the allocation if larger."""
        return max(self.memory_bytes, self.settings.memory_allocation_bytes)

    def rent(self, fees: FeeSchedule, seconds: int) -> Rent:
        """Price a time without messages."""
        return fees.rent(
            self.charged_bytes(),
            seconds,
            compute_percent=self.settings.compute_allocation,
        )

    def idle_cycles_per_day(self, fees: FeeSchedule) -> int:
        """Price a day without messages."""
        return self.rent(fees, DAY_S).cycles

    def frozen_below_cycles(self, fees: FeeSchedule) -> int:
        """Return the balance that must stay: the rent of the freezing threshold's time.

        What is set aside for storage counts as paid.
        """
        threshold = self.idle_cycles_per_day(fees) * self.settings.freezing_threshold_s // DAY_S
        return max(0, threshold - self.reserved_cycles)
