"""Rewrites the code section of a module so that it meters itself; see `instrument`."""

from collections.abc import Mapping, Sequence
from typing import Final

from datanode.localnet.machine import ic0, prices
from datanode.localnet.machine.access_groups import Run, runs
from datanode.localnet.machine.memory_access import SCALAR_BYTES
from datanode.localnet.machine.operators import (
    Operator,
    decode,
    index_of,
    skip,
    touches_memory,
)
from datanode.localnet.machine.page_checks import Locals, PageChecks
from datanode.localnet.machine.wasm_module import read_unsigned, signed, unsigned

_END: Final = 0x0B
_BLOCK_EDGES: Final = frozenset(
    (0x00, 0x03, 0x04, 0x05, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x12, 0x13)
)  # unreachable loop if else end br br_if br_table return return_call return_call_indirect
_LOOP: Final = 0x03
_SIZED_BY_TABLE: Final = frozenset((12, 14, 17))  # table.init table.copy table.fill
_SIZED_BY_MEMORY: Final = frozenset((8, 10, 11))  # memory.init memory.copy memory.fill
_ALWAYS_32: Final = frozenset((8, 12, 14, 17))
_PER_INSTANCE: Final = frozenset((8, 9, 12, 13, 14, 15, 17))  # they change tables or segments
_UNSUPPORTED: Final = {12: "table.init", 14: "table.copy", 15: "table.grow", 17: "table.fill"}
"""What the replica refuses, by sub-opcode; `table.set` too. Source: its validation.rs, mid-2026."""

_TABLE_SET: Final = 0x26
_MEMORY_GROW: Final = 0x40
_NAMES_FUNCTION: Final = frozenset((0x10, 0x12, 0xD2))  # call return_call ref.func
_REWRITTEN: Final = frozenset(
    (
        *(*_NAMES_FUNCTION, _MEMORY_GROW, _TABLE_SET, prices.BULK_PREFIX, prices.SIMD_PREFIX),
        *SCALAR_BYTES,
    )
)
_OPERATORS_A_POINT: Final = 4
_OPERATORS_A_CHECK: Final = 6
_OPERATORS_TO_GROW: Final = 16


class CodeMeter:
    """Rewrites function bodies.

    Args:
        charge: Index of the function that takes a price.
        stand_ins: Index of the function that stands in for each imported one.
        grow: Index of the function that grows the memory.
        asking: Code that asks the host whether the memory may grow.
        checks: Writes the checks of pages.
        types: How many parameters and results each function has, by index; and each type, by its
            index's complement.
        has_memory: Whether the module has a memory.

    Attributes:
        operators: Operators of the functions so far, the page checks aside.
        per_instance: Whether the module changes tables or segments.
        unsupported: Where an operator is that the IC does not allow; nothing where none is.
    """

    def __init__(
        self,
        *,
        charge: int,
        stand_ins: Mapping[int, int],
        grow: int,
        asking: bytes,
        checks: PageChecks,
        types: Mapping[int, tuple[int, int]],
        has_memory: bool,
    ) -> None:
        self._types = types
        index = unsigned(checks.counter)
        self._checks = checks
        self._stand_ins = stand_ins
        self.operators = 0
        self.unsupported = ""
        self._index = 0
        self.per_instance = False
        self._wide = checks.wide
        self._grow = b"\x10" + unsigned(grow)
        self._asking = asking
        self._has_memory = has_memory
        self._load = b"\x23" + index
        self._take = b"\x7d\x24" + index  # i64.sub global.set
        self._check = self._load + b"\x42\x00\x53\x04\x40\x00\x0b"
        call = b"\x10" + unsigned(charge)
        self._charge32 = b"\xad" + call + b"\xa7"  # i64.extend_i32_u call i32.wrap_i64
        self._charge64 = call

    def code(self, body: bytes, imported: Sequence[str]) -> bytes:
        """Rewrite a code section; append what charges, the stand-ins, what grows and marks.

        Args:
            body: The section.
            imported: Names of the imported functions.
        """
        count, at = read_unsigned(body, 0)
        marking = self._checks.functions() if self._has_memory else ()
        out = [unsigned(count + 2 + len(imported) + len(marking))]
        for index in range(count):
            length, start = read_unsigned(body, at)
            at = start + length
            self._index = index
            function = self._function(body[start:at], self._types[len(imported) + index][0])
            out += [unsigned(len(function)), function]
        helper = self._helper()
        out += [unsigned(len(helper)), helper]
        self.operators += 12
        for index, call in enumerate(imported):
            function = self._stand_in(index, call)
            out += [unsigned(len(function)), function]
        for function in (self._growing(), *marking):
            out += [unsigned(len(function)), function]
        return b"".join(out)

    def _growing(self) -> bytes:
        """Grow the memory; where that went well and the canister may not hold it, stop."""
        if not self._has_memory:
            return b"\0\0\x0b"  # unreachable, and nothing calls it
        self.operators += _OPERATORS_TO_GROW
        before, more = b"\x20\x01", b"\x20\0"
        kind, failed = (b"\x7e", b"\x42\x7f\x52") if self._wide else (b"\x7f", b"\x41\x7f\x47")
        widen = b"" if self._wide else b"\xad"  # i64.extend_i32_u
        code = b"\x01\x01" + kind + more + b"\x40\0\x22\x01" + failed  # grow, tee, != -1
        ask = before + widen + more + widen + self._asking + b"\x04\x40\0\x0b"
        return code + b"\x04\x40" + ask + b"\x0b" + before + b"\x0b"

    def _helper(self) -> bytes:
        """Take an amount from the counter, which stops at its least value; return the amount."""
        amount, left = b"\x20\0", b"\x20\x01"
        lower = self._load + amount + b"\x7d\x22\x01" + self._load  # sub, local.tee 1
        store = b"\x55\x04\x7e" + b"\x42" + signed(-(1 << 63)) + b"\x05" + left + b"\x0b"
        store += self._take[1:]  # gt_s if (result i64) least else left end, global.set
        store += self._check + self._checks.above_slice(amount)
        return b"\x01\x01\x7e" + lower + store + amount + bytes([_END])

    def _stand_in(self, index: int, call: str) -> bytes:
        """Pay for a system call, and make it."""
        params, _, _, sizes = ic0.CALLS[call]
        code = [b"\0\x42", signed(prices.fixed(call))]
        for size in sizes:
            code += [b"\x20", unsigned(size)]
            if params[size] == "i" or (params[size] == "I" and not self._wide):
                code.append(b"\xad")  # i64.extend_i32_u
            if prices.per_byte(call) > 1:
                code += [b"\x42", signed(prices.per_byte(call)), b"\x7e"]  # i64.mul
            code.append(b"\x7c")  # i64.add
        code += [self._charge64, b"\x1a"]  # drop
        code += [b"\x20" + unsigned(each) for each in range(len(params))]
        return b"".join([*code, b"\x10", unsigned(index), bytes([_END])])

    def _point(self, price: int, *, reentrant: bool) -> bytes:
        out = b""
        if price or reentrant:
            out = self._load + b"\x42" + signed(price) + self._take
            self.operators += _OPERATORS_A_POINT
        if reentrant:
            out += self._check
            self.operators += _OPERATORS_A_CHECK
        return out

    def _function(self, body: bytes, parameters: int) -> bytes:
        declarations, first = read_unsigned(body, 0)
        locals_count, at = parameters, first
        for _ in range(declarations):
            count, at = read_unsigned(body, at)
            locals_count += count
            at = skip(body, at)
        scratch = Locals(locals_count)
        declared = body[first:at]
        out: list[bytes] = []
        pending: list[bytes] = []
        segment = at
        price = prices.INSTRUCTIONS_A_FUNCTION_ENTRY
        reentrant = True
        edges, wide = _BLOCK_EDGES, self._wide
        operators = decode(body, at)
        together = runs(body, operators, self._types, reads=self._checks.reads)
        for operator in operators:
            opcode, sub, at, following, cost = operator
            price += cost
            if wide and touches_memory(opcode, sub):
                price += 1
            if opcode in _REWRITTEN:
                instead = self._instead(body, operator, scratch, together.get(at))
                if instead is not None:
                    pending += [body[segment:at], instead]
                    segment = following
            if opcode in edges:
                out.append(self._point(price, reentrant=reentrant))
                out += pending
                out.append(body[segment:following])
                pending, segment, price, reentrant = [], following, 0, opcode == _LOOP
        self.operators += len(operators)
        more, added = scratch.declared()
        return b"".join([unsigned(declarations + more), declared, added, *out])

    def _instead(
        self, body: bytes, operator: Operator, scratch: Locals, run: Run | None
    ) -> bytes | None:
        """Return what takes an operator's place; None where it stays."""
        opcode = operator.opcode
        code = body[operator.at : operator.end]
        if opcode == prices.BULK_PREFIX:
            return self._bulk(operator.sub, code, scratch)
        if opcode == _TABLE_SET:
            self.per_instance = True
            self._refuse("table.set")
            return None
        if opcode == _MEMORY_GROW:
            return self._grow
        if opcode in _NAMES_FUNCTION:
            target = self._stand_ins.get(index_of(body, operator))
            return None if target is None else code[:1] + unsigned(target)
        return None if run is None else self._checks.checked(run, scratch) + code

    def _bulk(self, sub: int, code: bytes, scratch: Locals) -> bytes:
        if sub in _PER_INSTANCE:
            self.per_instance = True
        if sub in _UNSUPPORTED:
            self._refuse(_UNSUPPORTED[sub])
        if sub in _SIZED_BY_MEMORY:
            return self._size_charge(sub) + self._checks.bulk(sub, code, scratch)
        return self._size_charge(sub) + code if sub in _SIZED_BY_TABLE else code

    def _refuse(self, instruction: str) -> None:
        self.unsupported = self.unsupported or (
            f"at index {self._index} with unsupported instruction {instruction}"
        )

    def _size_charge(self, sub: int) -> bytes:
        wide = self._wide and sub not in _ALWAYS_32
        self.operators += 1 if wide else 3
        return self._charge64 if wide else self._charge32
