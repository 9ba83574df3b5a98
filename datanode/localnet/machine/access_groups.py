"""Groups the accesses of a function that one look at the page map can serve.

Code often accesses several places off one address, with constant offsets: the fields of a record,
the vectors of an unrolled loop. Where control flows straight from one such access to the next, a
single look at the pages of the first and the last byte of all of them tells whether any access has
to be checked further. The look charges nothing, so it may look at more than is accessed in the end.

Accesses of a group between which nothing can trap, branch or look at the counter are a run: they
are checked together, in their order, in front of the first of them.

Values are numbered: operands that are the same value, directly or through a local, have the same
number. Numbers end where control can come from elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from datanode.localnet.machine import prices, stack_effects
from datanode.localnet.machine.memory_access import Access, access
from datanode.localnet.machine.operators import Operator, index_of, offset_of
from datanode.localnet.machine.stable import WASM_PAGE_BYTES

_LOCAL_GET, _LOCAL_SET, _LOCAL_TEE = 0x20, 0x21, 0x22
_MEETS: Final = frozenset(
    (0x00, 0x03, 0x05, 0x0B, 0x0C, 0x0E, 0x0F, 0x12, 0x13)
)  # unreachable loop else end br br_table return return_call return_call_indirect

_INTERRUPTS: Final = frozenset(
    (
        *(0x04, 0x0D, 0x10, 0x11, 0x25, 0x26, 0x40),  # if br_if call table.get/set memory.grow
        *(*range(0x6D, 0x71), *range(0x7F, 0x83)),  # div and rem
        *(*range(0xA8, 0xAC), *range(0xAE, 0xB2)),  # trunc
    )
)
_BULK_INTERRUPTS: Final[dict[int, range]] = {prices.BULK_PREFIX: range(8, 18)}


@dataclass(slots=True)
class Group:
    """Accesses off one address.

    Attributes:
        number: Which of its stretch of straight code it is.
        first: Least offset of a byte that is accessed.
        last: Greatest offset of a byte that is accessed.
        is_begun: Whether the code that looks at the map is written.
    """

    number: int
    first: int
    last: int
    is_begun: bool = False

    def takes(self, first: int, last: int) -> bool:
        """Add an access, if all then lie on two pages."""
        lowest, highest = min(first, self.first), max(last, self.last)
        if highest - lowest >= WASM_PAGE_BYTES:
            return False
        self.first, self.last = lowest, highest
        return True


@dataclass(slots=True)
class Run:
    """Accesses of a group that are checked together.

    Attributes:
        group: The group.
        accesses: Each with its offset, in their order.
        is_alone: Whether no other run shares a look at the map.
    """

    group: Group
    accesses: list[tuple[Access, int]]
    is_alone: bool = True


class _Values:
    """The numbered values of one stretch of straight code."""

    def __init__(self) -> None:
        self._next = 0
        self._stack: list[int] = []
        self._locals: dict[int, int] = {}
        self._runs: dict[int, Run] = {}
        self._groups_count = 0
        self._open: Run | None = None

    def fresh(self) -> int:
        self._next += 1
        return self._next

    def pop(self) -> int:
        return self._stack.pop() if self._stack else self.fresh()

    def push(self, value: int) -> None:
        self._stack.append(value)

    def get(self, local: int) -> None:
        if local not in self._locals:
            self._locals[local] = self.fresh()
        self.push(self._locals[local])

    def set(self, local: int) -> int:
        value = self._locals[local] = self.pop()
        return value

    def apply(self, pops: int, pushes: int) -> int:
        """Apply an operator; return its deepest operand."""
        value = 0
        for _ in range(pops):
            value = self.pop()
        for _ in range(pushes):
            self.push(self.fresh())
        return value

    def interrupt(self) -> None:
        """End the run under way."""
        self._open = None

    def add(self, address: int, accessed: Access, offset: int) -> Run | None:
        """Add an access; return the run that begins with it, or None when it goes on with one."""
        last = offset + accessed.length_bytes - 1
        before = self._runs.get(address)
        if before is None or not before.group.takes(offset, last):
            before = None
            group = Group(self._groups_count, offset, last)
            self._groups_count += 1
        else:
            group = before.group
            if before is self._open:
                before.accesses.append((accessed, offset))
                return None
            before.is_alone = False
        run = Run(group, [(accessed, offset)], is_alone=before is None)
        self._open = self._runs[address] = run
        return run


def runs(
    body: bytes,
    operators: Sequence[Operator],
    types: Mapping[int, tuple[int, int]],
    *,
    reads: bool,
) -> dict[int, Run | None]:
    """Find the runs of a function.

    Args:
        body: The function.
        operators: Its operators.
        types: How many parameters and results each function has, by index; and each type, by
            its index's complement.
        reads: Whether loads are checked, and not only stores.

    Returns:
        By where each access begins, the run that begins with it; None when an earlier check has
        covered it, or it needs none.
    """
    found: dict[int, Run | None] = {}
    values = _Values()
    for operator in operators:
        opcode = operator.opcode
        if opcode in _MEETS:
            values = _Values()
        elif opcode == _LOCAL_GET:
            values.get(index_of(body, operator))
        elif opcode == _LOCAL_SET:
            values.set(index_of(body, operator))
        elif opcode == _LOCAL_TEE:
            values.push(values.set(index_of(body, operator)))
        else:
            address = values.apply(*stack_effects.effect(body, operator, types))
            accessed = access(opcode, operator.sub)
            if accessed is None:
                if opcode in _INTERRUPTS or operator.sub in _BULK_INTERRUPTS.get(opcode, ()):
                    values.interrupt()
            elif reads or accessed.writes:
                found[operator.at] = values.add(address, accessed, offset_of(body, operator))
            else:
                found[operator.at] = None
                values.interrupt()
    return found
