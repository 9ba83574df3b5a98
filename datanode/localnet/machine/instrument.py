"""Puts the IC's instruction counter into a module.

The result differs from the module in this, and behaves like it otherwise:

* an exported mutable i64 global holds the instructions that are left. Every basic block takes the
  price of its operators from it when it is entered; functions and loops then look whether it is
  below zero and stop with `unreachable`. That is where the IC looks, so both stop at the same
  operator.
* before a bulk operation a helper takes its size operand from the counter.
* in front of each imported system call stands a function that takes the call's price.
* `memory.grow` is a call of a function that grows the memory and asks the host, by a function in a
  table of its own, whether the canister may hold it; if not it stops with `unreachable`.
* every mutable global is exported, so that it can be saved and restored, and so are the memory and
  the table that callbacks are in.
* the start section becomes an export: it runs once, at installation, and is paid for.
* custom sections are gone.

Input is a module that the engine has validated: the code is walked without checking it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from datanode.localnet.machine import ic0, prices, wasm_module
from datanode.localnet.machine.redirect import redirect
from datanode.localnet.machine.wasm_module import WasmError, name, read_unsigned, signed, unsigned

VERSION: Final = 4
"""Part of the cache key: raise it when the output changes."""

COUNTER: Final = "canister counter_instructions"
MEMORY: Final = "datanode memory"
TABLE: Final = "datanode table"
GROWTH: Final = "datanode growth"
START: Final = "canister_start"
GLOBAL_PREFIX: Final = "datanode global "
RESERVED: Final = (COUNTER, MEMORY, TABLE, GROWTH, START)

_I64: Final = 0x7E
_MUTABLE: Final = 1
_END: Final = 0x0B
_BLOCK_EDGES: Final = frozenset(
    (0x00, 0x03, 0x04, 0x05, 0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x12, 0x13)
)  # unreachable loop if else end br br_if br_table return return_call return_call_indirect
_LOOP: Final = 0x03
_LEB: Final = frozenset(
    (0x0C, 0x0D, 0x10, 0x12, *range(0x20, 0x27), 0x3F, 0x40, 0x41, 0x42, 0xD0, 0xD2)
)
_TWO_LEB: Final = frozenset((0x11, 0x13, *range(0x28, 0x3F)))
_BLOCK_TYPE: Final = frozenset((0x02, 0x03, 0x04))
_BR_TABLE, _SELECT_TYPED, _F32_CONST, _F64_CONST = 0x0E, 0x1C, 0x43, 0x44
_FIRST_MEMORY_ACCESS, _LAST_MEMORY_ACCESS = 0x28, 0x3E
_SIZED_BY_TABLE: Final = frozenset((12, 14, 17))  # table.init table.copy table.fill
_SIZED_BY_MEMORY: Final = frozenset((8, 10, 11))  # memory.init memory.copy memory.fill
_ALWAYS_32: Final = frozenset((8, 12, 14, 17))
_TWO_LEB_BULK: Final = frozenset((8, 10, 12, 14))
_LAST_TRUNC: Final = 7
_PER_INSTANCE: Final = frozenset((8, 9, 12, 13, 14, 15, 17))  # they change tables or segments
_TABLE_SET: Final = 0x26
_MEMORY_GROW: Final = 0x40
_TYPES: Final = (
    b"\x60\x01\x7e\x01\x7e",  # i64 -> i64: takes a price, or grows a 64-bit memory
    b"\x60\x01\x7f\x01\x7f",  # i32 -> i32: grows a 32-bit memory
    b"\x60\x02\x7e\x7e\x01\x7f",  # i64 i64 -> i32: asks whether it may
)
_ONE_FUNCTION: Final = b"\x70\x01\x01\x01"
_REPLACED: Final = frozenset((0x10, 0x12, 0xD2, 0x40))  # call return_call ref.func memory.grow
_OPERATORS_A_POINT: Final = 4
_OPERATORS_A_CHECK: Final = 6
_OPERATORS_TO_GROW: Final = 16


@dataclass(frozen=True, slots=True)
class Instrumented:
    """A module with a counter.

    Attributes:
        module: The new module's bytes.
        operators: Its operator count, which the IC charges for at installation.
        per_instance: Whether it changes tables or segments, which do not outlive a message.
    """

    module: bytes
    operators: int
    per_instance: bool


def instrument(module: bytes) -> Instrumented:
    """Put the counter into a validated module.

    Raises:
        WasmError: The module uses what cannot be metered or persisted.
    """
    parts = {section: body for section, body in wasm_module.sections(module) if section}
    imported = wasm_module.imports(parts.get(wasm_module.IMPORT, b"\0"))
    exported = wasm_module.exports(parts.get(wasm_module.EXPORT, b"\0"))
    for reserved in exported:
        if reserved in RESERVED or reserved.startswith(GLOBAL_PREFIX):
            raise WasmError(f"the module exports the reserved symbol '{reserved}'")
    wide = wasm_module.is_memory64(parts.get(wasm_module.MEMORY))
    has_memory = parts.get(wasm_module.MEMORY, b"\0")[0] > 0
    additions = []

    mutable, counter = _add_counter(parts)
    types, at = read_unsigned(parts.get(wasm_module.TYPE, b"\0"), 0)
    parts[wasm_module.TYPE] = b"".join(
        [unsigned(types + len(_TYPES)), parts.get(wasm_module.TYPE, b"\0")[at:], *_TYPES]
    )
    defined, at = read_unsigned(parts.get(wasm_module.FUNCTION, b"\0"), 0)
    charge = len(imported) + defined
    stand_ins = {index: charge + 1 + index for index in range(len(imported))}
    grow = charge + 1 + len(imported)
    parts[wasm_module.FUNCTION] = b"".join(
        [
            unsigned(defined + 2 + len(imported)),
            parts.get(wasm_module.FUNCTION, b"\0")[at:],
            unsigned(types),
            *(unsigned(each.type_index) for each in imported),
            unsigned(types if wide or not has_memory else types + 1),
        ]
    )
    redirect(parts, stand_ins)
    tables, at = read_unsigned(parts.get(wasm_module.TABLE, b"\0"), 0)
    parts[wasm_module.TABLE] = b"".join(
        [unsigned(tables + 1), parts.get(wasm_module.TABLE, b"\0")[at:], _ONE_FUNCTION]
    )
    asking = b"\x41\0\x11" + unsigned(types + 2) + unsigned(tables)  # i32.const call_indirect
    meter = _Meter(counter, charge, stand_ins, grow, asking, wide=wide, has_memory=has_memory)
    parts[wasm_module.CODE] = meter.code(
        parts.get(wasm_module.CODE, b"\0"), [each.name for each in imported]
    )

    additions.append(name(COUNTER) + bytes([wasm_module.KIND_GLOBAL]) + unsigned(counter))
    additions += [
        name(f"{GLOBAL_PREFIX}{index}") + bytes([wasm_module.KIND_GLOBAL]) + unsigned(index)
        for index in mutable
    ]
    if has_memory:
        additions.append(name(MEMORY) + bytes([wasm_module.KIND_MEMORY]) + b"\0")
    additions.append(name(GROWTH) + bytes([wasm_module.KIND_TABLE]) + unsigned(tables))
    if tables:
        additions.append(name(TABLE) + bytes([wasm_module.KIND_TABLE]) + b"\0")
    start = parts.pop(wasm_module.START, None)
    if start is not None:
        index = read_unsigned(start, 0)[0]
        index = stand_ins.get(index, index)
        additions.append(name(START) + bytes([wasm_module.KIND_FUNCTION]) + unsigned(index))
    count, at = read_unsigned(parts.get(wasm_module.EXPORT, b"\0"), 0)
    parts[wasm_module.EXPORT] = b"".join(
        [
            unsigned(count + len(additions)),
            parts.get(wasm_module.EXPORT, b"\0")[at:],
            *additions,
        ]
    )
    return Instrumented(
        wasm_module.join(parts), meter.operators + 2 * (counter + 1), meter.per_instance
    )


def _add_counter(parts: dict[int, bytes]) -> tuple[list[int], int]:
    """Append the counter to the globals; return the mutable ones' indices and the counter's."""
    body = parts.get(wasm_module.GLOBAL, b"\0")
    count, first = read_unsigned(body, 0)
    at = first
    mutable = []
    for index in range(count):
        value_type, is_mutable = body[at], body[at + 1]
        if is_mutable:
            if wasm_module.is_reference(value_type):
                raise WasmError("the module has a mutable global that holds a reference")
            mutable.append(index)
        at += 2
        while body[at] != _END:
            at = _after(body, at)[0]
        at += 1
    parts[wasm_module.GLOBAL] = (
        unsigned(count + 1) + body[first:] + bytes([_I64, _MUTABLE, 0x42, 0, _END])
    )
    return mutable, count


def _skip(data: bytes, at: int, count: int = 1) -> int:
    for _ in range(count):
        while data[at] >= 0x80:  # noqa: PLR2004 - the continuation bit of LEB128
            at += 1
        at += 1
    return at


def _after(data: bytes, at: int) -> tuple[int, int, int]:  # noqa: C901, PLR0911 - a table
    """Return the offset after the operator at `at`, its price in Wasm32, and its sub-opcode."""
    opcode = data[at]
    at += 1
    price = prices.OPCODE[opcode]
    if opcode in _LEB:
        return _skip(data, at), price, -1
    if opcode in _TWO_LEB:
        return _skip(data, at, 2), price, -1
    if opcode in _BLOCK_TYPE:
        return _skip(data, at), price, -1
    if opcode == prices.SIMD_PREFIX:
        return _after_simd(data, at)
    if opcode == prices.BULK_PREFIX:
        sub, at = read_unsigned(data, at)
        if sub > _LAST_TRUNC:
            at = _skip(data, at, 2 if sub in _TWO_LEB_BULK else 1)
        return at, prices.BULK[sub], sub
    if opcode == _BR_TABLE:
        count, at = read_unsigned(data, at)
        return _skip(data, at, count + 1), price, -1
    if opcode == _F32_CONST:
        return at + 4, price, -1
    if opcode == _F64_CONST:
        return at + 8, price, -1
    if opcode == _SELECT_TYPED:
        count, at = read_unsigned(data, at)
        return _skip(data, at, count), price, -1
    return at, price, -1


def _after_simd(data: bytes, at: int) -> tuple[int, int, int]:
    sub, at = read_unsigned(data, at)
    if sub >= len(prices.SIMD):
        raise WasmError("the module uses relaxed SIMD, which the IC does not allow")
    if sub <= 11 or 84 <= sub <= 93:  # noqa: PLR2004 - loads and stores: alignment, offset
        at = _skip(data, at, 2)
        if sub < 92:  # noqa: PLR2004 - those of one lane name the lane
            at += sub >= 84  # noqa: PLR2004
    elif sub in (12, 13):
        at += 16
    elif 21 <= sub <= 34:  # noqa: PLR2004 - extract and replace lane
        at += 1
    return at, prices.SIMD[sub], sub


class _Meter:
    """Rewrites function bodies."""

    def __init__(
        self,
        counter: int,
        charge: int,
        stand_ins: Mapping[int, int],
        grow: int,
        asking: bytes,
        *,
        wide: bool,
        has_memory: bool,
    ) -> None:
        index = unsigned(counter)
        self._stand_ins = stand_ins
        self.operators = 0
        self.per_instance = False
        self._wide = wide
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
        """Rewrite a code section; append what charges, the stand-ins, and what grows."""
        count, at = read_unsigned(body, 0)
        out = [unsigned(count + 2 + len(imported))]
        for _ in range(count):
            length, start = read_unsigned(body, at)
            at = start + length
            function = self._function(body[start:at])
            out += [unsigned(len(function)), function]
        helper = self._helper()
        out += [unsigned(len(helper)), helper]
        self.operators += 12
        for index, call in enumerate(imported):
            function = self._stand_in(index, call)
            out += [unsigned(len(function)), function]
        growing = self._growing()
        return b"".join([*out, unsigned(len(growing)), growing])

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
        return b"\x01\x01\x7e" + lower + store + self._check + amount + bytes([_END])

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

    def _function(self, body: bytes) -> bytes:
        groups, at = read_unsigned(body, 0)
        for _ in range(groups):
            at = _skip(body, at, 2)
        out = [body[:at]]
        pending: list[bytes] = []
        segment = at
        price = prices.INSTRUCTIONS_A_FUNCTION_ENTRY
        reentrant = True
        end = len(body)
        edges, wide, after = _BLOCK_EDGES, self._wide, _after
        operators = 0
        while at < end:
            opcode = body[at]
            following, cost, sub = after(body, at)
            operators += 1
            price += cost
            if wide and _touches_memory(opcode, sub):
                price += 1
            if opcode == prices.BULK_PREFIX:
                charge = self._size_charge(sub)
                if charge:
                    pending += [body[segment:at], charge]
                    segment = at
            elif opcode == _TABLE_SET:
                self.per_instance = True
            elif opcode in _REPLACED:
                instead = self._instead(opcode, body, at)
                if instead:
                    pending += [body[segment:at], instead]
                    segment = following
            at = following
            if opcode in edges:
                out.append(self._point(price, reentrant=reentrant))
                out += pending
                out.append(body[segment:at])
                pending, segment, price, reentrant = [], at, 0, opcode == _LOOP
        self.operators += operators
        return b"".join(out)

    def _instead(self, opcode: int, body: bytes, at: int) -> bytes:
        """Return what takes an operator's place; nothing where it stays."""
        if opcode == _MEMORY_GROW:
            return self._grow
        target = self._stand_ins.get(read_unsigned(body, at + 1)[0])
        return b"" if target is None else bytes([opcode]) + unsigned(target)

    def _size_charge(self, sub: int) -> bytes:
        if sub in _PER_INSTANCE:
            self.per_instance = True
        if sub not in _SIZED_BY_TABLE and sub not in _SIZED_BY_MEMORY:
            return b""
        wide = self._wide and sub not in _ALWAYS_32
        self.operators += 1 if wide else 3
        return self._charge64 if wide else self._charge32


def _touches_memory(opcode: int, sub: int) -> bool:
    if opcode == prices.SIMD_PREFIX:
        return sub <= 11 or 84 <= sub <= 93  # noqa: PLR2004 - loads and stores
    return _FIRST_MEMORY_ACCESS <= opcode <= _LAST_MEMORY_ACCESS
