"""The prices of one subnet: its schedule's figures, scaled to its size as the replica scales them.

A subnet of n nodes takes n thirteenths of every figure, rounded down (n sevenths where its nodes
run under SEV). What is multiplied before the rounding differs from fee to fee, and the bill must be
exact, so each formula here rounds where the replica does:

    ingress       s(message) + bytes * s(byte)
    execution     prepaid - refund, prepaid = s(base + i(limit)), refund = s(i(limit - used))
                  i(n) = n * price of ten // 10
    call          s(call) + s(byte * request bytes) + s(byte * response bytes)
    rent          (s(storage of a day) + s(base of a day)) * seconds // day, compute likewise
    reservation   s(storage of the bytes above the threshold for half the time that they demand)
    outcall       (outcall + node * nodes + bytes * byte) * nodes, whatever the reference
    log fetch     (fetch + bytes * byte) * nodes, whatever the reference

with s(x) = x * nodes // reference.
"""

from dataclasses import dataclass, fields
from typing import Final, Self

from datanode.errors import FormatError, UsageError
from datanode.fees.figures import DEFAULT_SCHEDULE, Figure, figures
from datanode.units import DAY_S, GIB

REFERENCE_NODES: Final = 13
"""Nodes of the subnet that the published figures are for."""

_EXECUTION_UNIT_INSTRUCTIONS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Rent:
    """Charges of a canister for a period.

    Attributes:
        storage_cycles: For the memory that it holds.
        base_cycles: For holding any.
        compute_cycles: For its compute allocation.
    """

    storage_cycles: int
    base_cycles: int
    compute_cycles: int

    @property
    def cycles(self) -> int:
        """The sum."""
        return self.storage_cycles + self.base_cycles + self.compute_cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSchedule:
    """Prices of one subnet.

    Attributes:
        name: E.g. `docs`.
        nodes: How many nodes the subnet has; every price follows from it.
        sev: Whether its nodes run under SEV, whose prices are for fewer nodes.
        reference_nodes: Nodes of the subnet that the figures are for.
        reference_sev_nodes: The same for subnets under SEV.
        ingress_message: An ingress message, whatever its size.
        ingress_byte: A byte of its envelope.
        execution_message: Executing an update message, whatever it does.
        ten_instructions: Ten Wasm32 instructions.
        ten_instructions_wasm64: Ten Wasm64 instructions.
        call: A call to another canister, paid by the caller.
        call_byte: A byte of that call's request or response.
        storage_gib_second: A GiB that is held for a second.
        canister_second: A canister that holds memory for a second.
        compute_percent_second: A percent of a core that is reserved for a second.
        rent_period_s: How often rent is charged.
        creation: Creating a canister.
        reservation_threshold_gib: How full a subnet is when growing begins to reserve cycles.
        reservation_capacity_gib: How much a subnet holds.
        reservation_longest_s: For how long the last byte of a subnet reserves its storage.
        outcall_each: A node's part of an HTTPS request of a canister.
        outcall_node_each: What is added to that for each node of the subnet.
        outcall_request_byte_each: A node's part of a byte of the request.
        outcall_response_byte_each: A node's part of a byte that the response may have.
        log_fetch_each: A node's part of a canister's `fetch_canister_logs`.
        log_fetch_byte_each: A node's part of a byte of its response.
    """

    name: str
    nodes: int
    sev: bool = False
    reference_nodes: Figure
    reference_sev_nodes: Figure
    ingress_message: Figure
    ingress_byte: Figure
    execution_message: Figure
    ten_instructions: Figure
    ten_instructions_wasm64: Figure
    call: Figure
    call_byte: Figure
    storage_gib_second: Figure
    canister_second: Figure
    compute_percent_second: Figure
    rent_period_s: Figure
    creation: Figure
    reservation_threshold_gib: Figure
    reservation_capacity_gib: Figure
    reservation_longest_s: Figure
    outcall_each: Figure
    outcall_node_each: Figure
    outcall_request_byte_each: Figure
    outcall_response_byte_each: Figure
    log_fetch_each: Figure
    log_fetch_byte_each: Figure

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise UsageError(f"a subnet has at least one node, not {self.nodes}")

    @classmethod
    def load(
        cls, name: str = DEFAULT_SCHEDULE, *, nodes: int = REFERENCE_NODES, sev: bool = False
    ) -> Self:
        """Read a schedule by name, for a subnet of `nodes` nodes.

        Raises:
            UsageError: There is no schedule of that name, or no subnet of that size.
        """
        found = figures(name)
        wanted = {item.name for item in fields(cls)} - {"name", "nodes", "sev"}
        if found.keys() != wanted:
            odd = ", ".join(sorted(found.keys() ^ wanted))
            raise FormatError(f"fee schedule {name}: missing or unknown items: {odd}")
        return cls(name=name, nodes=nodes, sev=sev, **found)

    def cycles_of(self, figure: Figure) -> int:
        """Scale a figure in cycles to the subnet's size."""
        return self._scaled(figure.value)

    def _scaled(self, cycles: int) -> int:
        reference = self.reference_sev_nodes if self.sev else self.reference_nodes
        return cycles * self.nodes // reference.value

    def ingress_cycles(self, envelope_bytes: int) -> int:
        """Price an ingress message by the bytes of its envelope."""
        byte_cycles = self._scaled(self.ingress_byte.value)
        return self._scaled(self.ingress_message.value) + byte_cycles * envelope_bytes

    def instruction_cycles(self, instructions: int, *, wasm64: bool = False) -> int:
        """Price instructions alone, as those of the management canister are priced."""
        return self._scaled(self._instructions(instructions, wasm64=wasm64))

    def execution_cycles(self, instructions: int, *, wasm64: bool = False) -> int:
        """Price the execution of a message of so many instructions: what is paid in advance."""
        work = self._instructions(instructions, wasm64=wasm64)
        return self._scaled(self.execution_message.value + work)

    def used_cycles(self, instructions: int, limit: int, *, wasm64: bool = False) -> int:
        """Price an execution that was paid for up to a limit and refunded what it did not use."""
        refund = self.instruction_cycles(max(0, limit - instructions), wasm64=wasm64)
        return self.execution_cycles(limit, wasm64=wasm64) - refund

    def _instructions(self, instructions: int, *, wasm64: bool) -> int:
        figure = self.ten_instructions_wasm64 if wasm64 else self.ten_instructions
        return figure.value * instructions // _EXECUTION_UNIT_INSTRUCTIONS

    def call_cycles(self, request_bytes: int) -> int:
        """Price a call to another canister by the bytes of its request."""
        return self._scaled(self.call.value) + self.call_byte_cycles(request_bytes)

    def call_byte_cycles(self, payload_bytes: int) -> int:
        """Price the bytes of a call's response, which the caller pays too."""
        return self._scaled(self.call_byte.value * payload_bytes)

    def storage_cycles(self, held_bytes: int, seconds: int) -> int:
        """Price holding bytes for a time."""
        return self._scaled(held_bytes * self.storage_gib_second.value * seconds // GIB)

    def base_cycles(self, seconds: int) -> int:
        """Price the existence of one canister that holds memory for a time."""
        return self._scaled(self.canister_second.value * seconds)

    def compute_cycles(self, percent: int, seconds: int) -> int:
        """Price a compute allocation for a time."""
        return self._scaled(self.compute_percent_second.value * seconds * percent)

    def rent(
        self,
        held_bytes: int,
        seconds: int,
        *,
        compute_percent: int = 0,
    ) -> Rent:
        """Price a time of a canister: its share of what a day costs.

        Args:
            held_bytes: The memory that is paid for.
            seconds: The time.
            compute_percent: The compute allocation.
        """
        base_a_day = self.base_cycles(DAY_S) if held_bytes else 0
        memory = (self.storage_cycles(held_bytes, DAY_S) + base_a_day) * seconds // DAY_S
        base = base_a_day * seconds // DAY_S
        return Rent(
            storage_cycles=memory - base,
            base_cycles=base,
            compute_cycles=self.compute_cycles(compute_percent, DAY_S) * seconds // DAY_S,
        )

    def idle_cycles_per_day(self, held_bytes: int, *, compute_percent: int = 0) -> int:
        """Price a day of a canister that does nothing."""
        return self.rent(held_bytes, DAY_S, compute_percent=compute_percent).cycles

    def reservation_cycles(self, grown_bytes: int, *, subnet_bytes: int) -> int:
        """Tell how many cycles growth sets aside on a subnet that holds so many bytes already."""
        return self._reserved(subnet_bytes + grown_bytes) - self._reserved(subnet_bytes)

    def _reserved(self, subnet_bytes: int) -> int:
        capacity = self.reservation_capacity_gib.value * GIB
        threshold = self.reservation_threshold_gib.value * GIB
        above = max(0, min(subnet_bytes, capacity) - threshold)
        seconds = self.reservation_longest_s.value * above // (capacity - threshold)
        return self.storage_cycles(above, seconds // 2)

    @property
    def is_free(self) -> bool:
        """Whether canisters pay for nothing, as on a cloud engine."""
        return not (self.ingress_byte.value or self.ten_instructions.value)

    def log_fetch_cycles(self, response_bytes: int) -> int:
        """Price a canister's `fetch_canister_logs` by the bytes of its response."""
        each = self.log_fetch_each.value + self.log_fetch_byte_each.value * response_bytes
        return each * self.nodes

    @property
    def creation_cycles(self) -> int:
        """The price of creating a canister."""
        return self._scaled(self.creation.value)

    def outcall_cycles(self, request_bytes: int, response_bytes: int) -> int:
        """Price an HTTPS request of a canister by its bytes and by those it may bring back."""
        message = self.outcall_each.value + self.outcall_node_each.value * self.nodes
        request = self.outcall_request_byte_each.value * request_bytes
        response = self.outcall_response_byte_each.value * response_bytes
        return (message + request + response) * self.nodes
