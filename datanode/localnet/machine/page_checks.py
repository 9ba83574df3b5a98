"""Writes the checks that find the Wasm pages which a message accesses and writes.

A second memory, the page map, holds one byte for each Wasm page of 64 KiB of the heap: 0 when the
message has not accessed the page, 1 when it has, 3 when it has also written to it. In front of each
load and store, code looks the pages of its first and last byte up; where a byte is missing, a
function marks the pages and takes their price from the counter. Bulk operations mark their pages
after they have run, so that one that traps costs what it costs on the IC, its size alone.

An access out of bounds marks nothing, also where its first bytes are in bounds.

The prices are globals, which the host sets before a message: queries pay for accesses only. A
module that pays for changes only is given the checks of its stores only.
"""

from dataclasses import dataclass
from typing import Final

from datanode.localnet.machine.access_groups import Run
from datanode.localnet.machine.memory_access import Access
from datanode.localnet.machine.wasm_module import signed, unsigned

MAP_PAGES: Final = 3
"""Wasm pages of the map: a byte for each page of a heap of 6 GiB, and of what a 32-bit address and
a 32-bit offset reach together."""

ACCESSED, WRITTEN = 1, 3
_WRITTEN_BIT: Final = 2
_PAGE_BITS: Final = 16
_I32, _I64 = 0x7F, 0x7E

_MEMORY_INIT, _MEMORY_COPY, _MEMORY_FILL = 8, 10, 11


def constant(value: int) -> bytes:
    """Push an i64 that is written unsigned."""
    value &= (1 << 64) - 1
    return b"\x42" + signed(value - (1 << 64) if value >> 63 else value)


class Locals:
    """The locals that one function is given in addition to its own.

    Args:
        first: Index of the first of them.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._types: list[int] = []
        self._named: dict[tuple[str, int], int] = {}

    def take(self, name: str, kind: int) -> bytes:
        """Return the index of the local of a name and type."""
        at = self._named.get((name, kind))
        if at is None:
            at = self._named[name, kind] = self._first + len(self._types)
            self._types.append(kind)
        return unsigned(at)

    def declared(self) -> tuple[int, bytes]:
        """Return how many groups declare them, and these groups."""
        return len(self._types), b"".join(b"\x01" + bytes([kind]) for kind in self._types)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageChecks:
    """Writes checks for one module.

    Attributes:
        counter: Index of the counter.
        access_price: Index of the global that holds the price of a first access.
        write_price: Index of the global that holds the price of a first write.
        slice_limit: Index of the global that holds the most that one operation may use.
        overrun: Index of the global that is set to what an operation used above that.
        on_access: Index of the function that marks pages as accessed.
        on_write: Index of the function that marks pages as written.
        on_bulk: Index of the function that checks what a bulk operation has used.
        wide: Whether addresses have 64 bits.
        reads: Whether loads are checked.
    """

    counter: int
    access_price: int
    write_price: int
    slice_limit: int
    overrun: int
    on_access: int
    on_write: int
    on_bulk: int
    wide: bool
    reads: bool

    @property
    def address_type(self) -> int:
        """Value type of an address."""
        return _I64 if self.wide else _I32

    def checked(self, run: Run, scratch: Locals) -> bytes:
        """Return what to put in front of the first access of a run.

        Args:
            run: The run.
            scratch: Locals of the function.
        """
        address = scratch.take("address", self.address_type)
        before = after = b""
        over = run.accesses[0][0].over
        if over is not None:
            value = scratch.take("value", over)
            before, after = b"\x21" + value, b"\x20" + value
        known = self._known(run, address, scratch)
        if any(each.writes for each, _ in run.accesses):
            known += b"\x41" + signed(_WRITTEN_BIT) + b"\x71"
        missing = known + b"\x45\x04\x40" + self._marked(run, address) + b"\x0b"  # eqz if end
        return before + b"\x22" + address + missing + after

    def _known(self, run: Run, address: bytes, scratch: Locals) -> bytes:
        """Push what the map says of a run."""
        group = run.group
        looked_up = self._looked_up(address, group.first, group.last)
        if run.is_alone:
            return looked_up
        flag = scratch.take(f"group {group.number}", _I32)
        if group.is_begun:
            return b"\x20" + flag
        group.is_begun = True
        return looked_up + b"\x22" + flag

    def _marked(self, run: Run, address: bytes) -> bytes:
        """Mark the pages of a run, up to the first access that leaves the heap."""
        *others, last = (self._mark(each, address, offset) for each, offset in run.accesses)
        if not others:
            return last + b"\x1a"
        return b"\x02\x40" + b"".join(mark + b"\x0d\0" for mark in others) + last + b"\x1a\x0b"

    def _looked_up(self, address: bytes, first: int, last: int) -> bytes:
        """Push what the map's bytes for two offsets that are near to each other have in common."""
        found = self._lookup(address, first)
        return found if first == last else found + self._lookup(address, last) + b"\x71"  # i32.and

    def _lookup(self, address: bytes, offset: int) -> bytes:
        """Push the map's byte for an address."""
        if not offset and not self.wide:
            page = b"\x20" + address + b"\x41\x10\x76"  # i32.const 16, i32.shr_u
        else:
            page = self._extended(address) + constant(offset) + b"\x7c"
            page += b"\x42\x10\x88\xa7"  # i64.const 16, i64.shr_u, i32.wrap_i64
        return page + b"\x2d\x40\x01\x00"  # i32.load8_u of memory 1

    def _mark(self, found: Access, address: bytes, offset: int) -> bytes:
        marks = self.on_write if found.writes else self.on_access
        operands = self._extended(address) + constant(offset)
        return operands + b"\x42" + signed(found.length_bytes) + b"\x10" + unsigned(marks)

    def _extended(self, local: bytes) -> bytes:
        return b"\x20" + local + (b"" if self.wide else b"\xad")

    def bulk(self, sub: int, operator: bytes, scratch: Locals) -> bytes:
        """Return a bulk operation on the heap, its size paid for, with what follows it."""
        size_type = _I32 if sub == _MEMORY_INIT else self.address_type
        source_type = self.address_type if sub == _MEMORY_COPY else _I32
        to = scratch.take("to", self.address_type)
        source = scratch.take("source", source_type)
        size = scratch.take("size", size_type)
        before = scratch.take("before", _I64)
        out = b"\x21" + size + b"\x21" + source + b"\x22" + to + b"\x20" + source + b"\x20" + size
        out += operator + self._get(self.counter) + b"\x21" + before
        wide_size = b"\x20" + size + (b"\xad" if size_type == _I32 else b"")
        if sub == _MEMORY_COPY and self.reads:
            out += self._extended(source) + b"\x42\0" + wide_size
            out += b"\x10" + unsigned(self.on_access) + b"\x1a"
        out += self._extended(to) + b"\x42\0" + wide_size
        out += b"\x10" + unsigned(self.on_write) + b"\x1a"
        return out + wide_size + b"\x20" + before + b"\x10" + unsigned(self.on_bulk)

    def functions(self) -> tuple[bytes, bytes, bytes]:
        """Return the bodies of `on_access`, `on_write` and `on_bulk`."""
        return (
            self._marker(self._marked_accessed()),
            self._marker(self._marked_written()),
            (b"\0" + self.above_slice(b"\x20\0\x20\x01\x7c" + self._get(self.counter) + b"\x7d"))
            + b"\x0b",
        )

    def above_slice(self, used: bytes) -> bytes:
        """Return code that stops when what one operation has used, an expression, is too much."""
        check = used + self._get(self.slice_limit) + b"\x56\x04\x40"  # i64.gt_u if
        return check + used + self._set(self.overrun) + b"\0\x0b"  # unreachable end

    def _marked_accessed(self) -> bytes:
        """Mark page 3, if the map's byte for it is zero."""
        take = self._get(self.counter) + self._get(self.access_price) + b"\x7d"
        take += self._set(self.counter)
        return self._byte() + b"\x45\x04\x40" + self._set_byte(ACCESSED) + take + b"\x0b"

    def _marked_written(self) -> bytes:
        """Mark page 3, if its byte does not say so; an access comes before the write."""
        take = self._get(self.counter) + self._get(self.write_price) + b"\x7d"
        take += self._set(self.counter)
        missing = self._byte() + b"\x41\x02\x71\x45\x04\x40"  # and 2, eqz, if
        return missing + self._marked_accessed() + self._set_byte(WRITTEN) + take + b"\x0b"

    def _marker(self, marked: bytes) -> bytes:
        """Return a function of an address, an offset and a length, which marks their pages.

        It returns 1 where they leave the heap, and 0 otherwise.

        Locals: 0 address, 1 offset, 2 length, 3 first byte, then page, 4 last byte, then page.
        """
        bound = b"\x3f\0" + (b"" if self.wide else b"\xad") + b"\x42\x10\x86"  # memory.size << 16
        leave = b"\x04\x40\x41\x01\x0f\x0b"  # if i32.const 1 return end
        out = b"\x01\x02\x7e" + b"\x20\x02\x50" + leave  # length eqz
        out += b"\x20\0\x20\x01\x7c\x22\x03\x20\0\x54" + leave  # address + offset < address
        out += b"\x20\x03\x20\x02\x7c\x42\x7f\x7c\x22\x04\x20\x03\x54" + leave  # last < first
        out += b"\x20\x04" + bound + b"\x5a" + leave  # last >= bound
        out += b"\x20\x03\x42\x10\x88\x21\x03\x20\x04\x42\x10\x88\x21\x04"  # to pages
        step = b"\x20\x03\x42\x01\x7c\x22\x03\x20\x04\x58\x0d\0"  # add 1, tee, le_u, br_if 0
        out += b"\x03\x40" + marked + step + b"\x0b"
        out += self._get(self.counter) + b"\x42\0\x53\x04\x40\0\x0b"  # below zero: unreachable
        return out + b"\x41\0\x0b"

    def _byte(self) -> bytes:
        return b"\x20\x03\xa7\x2d\x40\x01\0"

    def _set_byte(self, value: int) -> bytes:
        return b"\x20\x03\xa7\x41" + signed(value) + b"\x3a\x40\x01\0"

    def _get(self, index: int) -> bytes:
        return b"\x23" + unsigned(index)

    def _set(self, index: int) -> bytes:
        return b"\x24" + unsigned(index)
