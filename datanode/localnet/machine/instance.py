"""An instance of a canister's module in the engine: its memory, its counters, its functions."""

import ctypes
from typing import Final

import wasmtime
from wasmtime import _ffi as ffi

from datanode.localnet.machine import instrument
from datanode.localnet.machine.engine import engine
from datanode.localnet.machine.linked_module import LinkedModule
from datanode.localnet.machine.module_limits import MAX_TABLE_ELEMENTS
from datanode.localnet.machine.outgoing import CallbackClosure
from datanode.localnet.machine.page_map import MemoryPrices, PageMap
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.machine.stable import WASM_PAGE_BYTES
from datanode.localnet.machine.wasm_module import WasmError

GLOBAL_BYTES: Final = 17
"""A saved global: the kind of its value, and 16 bytes of it."""

_MASK32: Final = (1 << 32) - 1
_SET_BEFORE: Final = (
    instrument.ACCESS_PRICE,
    instrument.WRITE_PRICE,
    instrument.SLICE_LIMIT,
    instrument.OVERRUN,
)
"""Globals that the host sets before a message."""

_WORDS: Final = {
    wasmtime.TrapCode.STACK_OVERFLOW: "stack overflow",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "heap out of bounds",
    wasmtime.TrapCode.TABLE_OUT_OF_BOUNDS: "table out of bounds",
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: "integer division by 0",
    wasmtime.TrapCode.UNREACHABLE: "unreachable",
}


def _signed(value: int, *, wide: bool) -> int:
    top = 1 << (63 if wide else 31)
    return value - 2 * top if value >= top else value


class Instance:
    """One instance; it serves messages until its memory has grown in one that is undone.

    Attributes:
        limit: Instruction limit of the message under way.
    """

    def __init__(self, linked: LinkedModule) -> None:
        self._linked = linked
        self._store = wasmtime.Store(engine())
        self._store.set_limits(table_elements=MAX_TABLE_ELEMENTS)
        instance = linked.instantiate(self._store)
        self._exports = instance.exports(self._store)
        self.limit = 0
        self._counter = self._global(instrument.COUNTER)
        self._value = ffi.wasmtime_val_t()
        self._value.kind = ffi.WASMTIME_I64
        self._at = ctypes.byref(self._value)
        self._globals = [
            self._global(each.name)
            for each in linked.compiled.module.exports
            if each.name.startswith(instrument.GLOBAL_PREFIX)
        ]
        self._meters = [self._global(each) for each in _SET_BEFORE]
        self._prices: tuple[int, ...] = ()
        self._overrun = self._global(instrument.OVERRUN)
        memory = self._exports[instrument.MEMORY] if instrument.MEMORY in self._names() else None
        self._memory = memory if isinstance(memory, wasmtime.Memory) else None
        self._view = memoryview(bytearray())
        self.refresh()
        self.pages_used = PageMap(self._map())

    def _map(self) -> memoryview:
        """Return the map of pages; it never moves nor grows."""
        if instrument.PAGES not in self._names():
            return memoryview(bytearray())
        found = self._exports[instrument.PAGES]
        if not isinstance(found, wasmtime.Memory):
            raise TypeError(f"{instrument.PAGES} is not a memory")
        base = ctypes.addressof(found.data_ptr(self._store).contents)
        length = found.data_len(self._store)
        return memoryview((ctypes.c_ubyte * length).from_address(base)).cast("B")

    def _names(self) -> set[str]:
        return {each.name for each in self._linked.compiled.module.exports}

    def _global(self, name: str) -> object:
        found = self._exports[name]
        if not isinstance(found, wasmtime.Global):
            raise TypeError(f"{name} is not a global")
        return ctypes.byref(found._global)  # noqa: SLF001 - for the unchecked interface

    @property
    def pages(self) -> int:
        """Size of the linear memory, in Wasm pages."""
        return len(self._view) // WASM_PAGE_BYTES

    @property
    def memory(self) -> memoryview:
        """The linear memory."""
        return self._view

    def refresh(self) -> None:
        """Look again how large the linear memory is."""
        if self._memory is not None:
            length = self._memory.data_len(self._store)
            if length != len(self._view):
                base = ctypes.addressof(self._memory.data_ptr(self._store).contents)
                self._view = memoryview((ctypes.c_ubyte * length).from_address(base)).cast("B")

    def grow_to(self, pages: int) -> None:
        """Grow the linear memory to a size."""
        if self._memory is not None and pages > self.pages:
            self._memory.grow(self._store, pages - self.pages)
            self.refresh()

    def take_over(self, heap: memoryview) -> None:
        """Fill the linear memory with the heap of another module, and zeros behind it.

        Raises:
            Failure: It cannot grow as large.
        """
        try:
            self.grow_to(len(heap) // WASM_PAGE_BYTES)
        except wasmtime.WasmtimeError:
            raise Failure.wasm(
                WasmError("its memory is too small for the heap that is kept")
            ) from None
        if len(self._view) < len(heap):
            raise Failure.wasm(WasmError("it has no memory for the heap that is kept"))
        self._view[: len(heap)] = heap
        self._view[len(heap) :] = bytes(len(self._view) - len(heap))

    def reading(self, at: int, length: int) -> memoryview:
        """Return a range of the linear memory whose pages are marked as accessed, and paid.

        Raises:
            Failure: The range is not inside it, or there are too few instructions left.
        """
        found = self._range(at, length)
        accessed = self.pages_used.access(at, length)
        if accessed:
            self.charge(accessed * self._prices[0])
        return found

    def writing(self, at: int, length: int) -> memoryview:
        """Return a range of the linear memory whose pages are marked as written, and paid.

        Raises:
            Failure: The range is not inside it, or there are too few instructions left.
        """
        found = self._range(at, length)
        accessed, written = self.pages_used.write(at, length)
        if written:
            self.charge(accessed * self._prices[0] + written * self._prices[1])
        return found

    def _range(self, at: int, length: int) -> memoryview:
        end = at + length
        if end > len(self._view):
            self.refresh()
            if end > len(self._view):
                raise Failure.trap("heap out of bounds")
        return self._view[at:end]

    def left(self) -> int:
        """Return the instructions that are left; below zero when too many were used."""
        return self._get(self._counter)

    def _get(self, handle: object) -> int:
        ffi.wasmtime_global_get(self._store._context(), handle, self._at)  # noqa: SLF001
        return int(self._value.of.i64)

    def _set(self, handle: object, value: int) -> None:
        self._value.of.i64 = value
        ffi.wasmtime_global_set(self._store._context(), handle, self._at)  # noqa: SLF001

    def used(self) -> int:
        """Return the instructions that the message has used."""
        return self.limit - max(self.left(), 0)

    def charge(self, instructions: int) -> None:
        """Take instructions from the counter.

        Raises:
            Failure: There are not so many left.
        """
        left = self.left() - instructions
        self._set(self._counter, left)
        if left < 0:
            raise Failure.out_of_instructions(self.limit)

    def save_globals(self) -> bytes:
        """Return the values of all mutable globals."""
        return b"".join(self._read(each) for each in self._globals)

    def read_global(self, export: str) -> bytes:
        """Return the value of a global that the module exports."""
        return self._read(self._global(export))

    def _read(self, handle: object) -> bytes:
        value = ffi.wasmtime_val_t()
        ffi.wasmtime_global_get(self._store._context(), handle, ctypes.byref(value))  # noqa: SLF001
        return bytes(value)[:1] + bytes(value.of)[: GLOBAL_BYTES - 1]

    def restore_globals(self, saved: bytes) -> None:
        """Set the values of all mutable globals."""
        context = self._store._context()  # noqa: SLF001
        for index, each in enumerate(self._globals):
            value = ffi.wasmtime_val_t()
            at = index * GLOBAL_BYTES
            ctypes.memmove(ctypes.byref(value), saved[at : at + 1], 1)
            ctypes.memmove(
                ctypes.byref(value.of), saved[at + 1 : at + GLOBAL_BYTES], GLOBAL_BYTES - 1
            )
            ffi.wasmtime_global_set(context, each, ctypes.byref(value))

    def begin(self, prices: MemoryPrices) -> None:
        """Begin a message, which has not used a page yet.

        Args:
            prices: What it pays for the pages that it uses.
        """
        self.pages_used.clear(self.pages)
        wanted = (prices.access, prices.write, prices.slice_limit, 0)
        if wanted != self._prices:
            for handle, value in zip(self._meters, wanted, strict=True):
                self._set(handle, value)
            self._prices = wanted

    def run(self, entry: str | CallbackClosure, limit: int, used: int = 0) -> None:
        """Run an exported function of no parameters and results, or a callback.

        Args:
            entry: Its name, or where it is in the table.
            limit: Instruction limit of the message.
            used: What earlier parts of the message used.

        Raises:
            Failure: It trapped, in the IC's words.
            OSError: A file of the canister could not be written.
        """
        function, arguments = self._function(entry)
        self.limit = limit
        self._set(self._counter, limit - used)
        self._linked.error = None
        try:
            function(self._store, *arguments)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as stop:
            raise self._explain(stop) from None
        finally:
            self.refresh()

    def _function(self, entry: str | CallbackClosure) -> tuple[wasmtime.Func, tuple[int, ...]]:
        if isinstance(entry, str):
            function, arguments = self._exports[entry], ()
            if not isinstance(function, wasmtime.Func):
                raise TypeError(f"{entry} is not a function")
            return function, arguments
        table = self._exports[instrument.TABLE] if instrument.TABLE in self._names() else None
        if not isinstance(table, wasmtime.Table):
            raise Failure.contract("table not found")
        wide = self._linked.compiled.facts.wide
        found = table.get(self._store, entry.function) if entry.function <= _MASK32 else None
        if not isinstance(found, wasmtime.Func):
            raise Failure.no_function(entry.function)
        kind = found.type(self._store)
        expected = wasmtime.ValType.i64() if wide else wasmtime.ValType.i32()
        if kind.params != [expected] or kind.results:
            raise Failure.contract("function invocation does not match its signature")
        return found, (_signed(entry.environment, wide=wide),)

    def _explain(self, stop: Exception) -> BaseException:
        error, self._linked.error = self._linked.error, None
        if error is not None:
            return error
        code = stop.trap_code if isinstance(stop, wasmtime.Trap) else None
        if code is wasmtime.TrapCode.UNREACHABLE and self.left() < 0:
            return Failure.out_of_instructions(self.limit)
        if code is wasmtime.TrapCode.UNREACHABLE and self._get(self._overrun):
            overrun = self._get(self._overrun)
            self._set(self._overrun, 0)
            return Failure.slice_overrun(overrun, self._prices[2])
        return Failure.trap(_WORDS.get(code, "unknown") if code is not None else "unknown")
