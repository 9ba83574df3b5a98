"""An instance of a canister's module in the engine, and the door through which it calls out.

The calls go through the engine's unchecked interface: a call costs about 2 us, where the checked
one of wasmtime's Python package costs 10, and an error in a call stays with the message that made
it, where the package keeps the last error of any thread in one variable.
"""

import ctypes
from collections.abc import Callable
from typing import Final

import wasmtime
from wasmtime import _ffi as ffi

from datanode.localnet.machine import ic0, instrument
from datanode.localnet.machine.engine import Compiled, engine
from datanode.localnet.machine.outgoing import Closure
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.machine.stable import WASM_PAGE_BYTES
from datanode.localnet.machine.stable_calls import StableCalls

GLOBAL_BYTES: Final = 17
"""A saved global: the kind of its value, and 16 bytes of it."""

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.c_size_t,
)
_NO_FINALIZER: Final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()
_WORDS_A_VALUE: Final = 2
_ASKING: Final = wasmtime.FuncType([wasmtime.ValType.i64()] * 2, [wasmtime.ValType.i32()])
_MASK32: Final = (1 << 32) - 1
_MASK64: Final = (1 << 64) - 1
_WORDS: Final = {
    wasmtime.TrapCode.STACK_OVERFLOW: "stack overflow",
    wasmtime.TrapCode.MEMORY_OUT_OF_BOUNDS: "heap out of bounds",
    wasmtime.TrapCode.TABLE_OUT_OF_BOUNDS: "table out of bounds",
    wasmtime.TrapCode.INTEGER_DIVISION_BY_ZERO: "integer division by 0",
    wasmtime.TrapCode.UNREACHABLE: "unreachable",
}


class Linked:
    """A compiled module with its system calls bound to one canister's `StableCalls`.

    Attributes:
        compiled: The module.
        calls: The system calls; they act for the instance that is set in them.
        error: What a system call raised, for the instance to pick up.
    """

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.calls = StableCalls()
        self.error: BaseException | None = None
        self._linker = wasmtime.Linker(engine())
        self._asked = _Callback(self._grown)
        self._kept: list[object] = []
        for each in compiled.module.imports:
            if each.name is not None and isinstance(each.type, wasmtime.FuncType):
                self._bind(each.name, each.type)

    def instantiate(self, store: wasmtime.Store) -> wasmtime.Instance:
        """Make an instance, whose memory asks before it grows."""
        instance = self._linker.instantiate(store, self.compiled.module)
        ask = ffi.wasmtime_func_t()
        ffi.wasmtime_func_new_unchecked(
            store._context(),  # noqa: SLF001 - for the unchecked interface
            _ASKING.ptr(),
            ctypes.cast(self._asked, ffi.wasmtime_func_unchecked_callback_t),
            None,
            _NO_FINALIZER,
            ctypes.byref(ask),
        )
        table = instance.exports(store)[instrument.GROWTH]
        if not isinstance(table, wasmtime.Table):
            raise TypeError(f"{instrument.GROWTH} is not a table")
        table.set(store, 0, wasmtime.Func._from_raw(ask))  # noqa: SLF001 - it has no other way
        return instance

    def _grown(
        self, _data: int, _caller: int, raw: "ctypes.Array[ctypes.c_uint64]", _n: int
    ) -> int:
        """Say whether a linear memory that has grown may stay so: 0 is yes."""
        try:
            self.calls.message.grow_heap(raw[0], raw[_WORDS_A_VALUE])
        except BaseException as error:  # noqa: BLE001 - it cannot cross the engine
            self.error = error
            raw[0] = 1
        else:
            raw[0] = 0
        return 0

    def release(self) -> None:
        """Let go of the instance, whose memory is then given back."""
        self.calls = StableCalls()

    def _bind(self, name: str, kind: wasmtime.FuncType) -> None:
        callback = _Callback(self._wrap(name))
        self._kept.append(callback)
        error = ffi.wasmtime_linker_define_func_unchecked(
            self._linker.ptr(),
            *_text(ic0.MODULE),
            *_text(name),
            kind.ptr(),
            ctypes.cast(callback, ffi.wasmtime_func_unchecked_callback_t),
            None,
            _NO_FINALIZER,
        )
        if bool(error):
            raise wasmtime.WasmtimeError._from_ptr(error)  # noqa: SLF001 - the package's only way

    def _wrap(self, name: str) -> Callable[..., int]:
        params = ic0.CALLS[name].params
        wide = self.compiled.facts.wide
        narrow = "i" if wide else "iI"
        masks = [_MASK32 if each in narrow else _MASK64 for each in params]
        slots = [(index * _WORDS_A_VALUE, mask) for index, mask in enumerate(masks)]
        calls = self.calls
        act: Callable[..., int | None] = getattr(calls, name)

        def run(_data: int, _caller: int, raw: "ctypes.Array[ctypes.c_uint64]", _n: int) -> int:
            try:
                if name not in calls.allowed:
                    calls.refuse(name)
                result = act(*[raw[slot] & mask for slot, mask in slots])
                if result is not None:
                    raw[0] = result
            except BaseException as error:  # noqa: BLE001 - it cannot cross the engine
                self.error = error
                return _new_trap()
            return 0

        return run


def _signed(value: int, *, wide: bool) -> int:
    top = 1 << (63 if wide else 31)
    return value - 2 * top if value >= top else value


def _text(text: str) -> tuple[object, int]:
    data = text.encode()
    return ctypes.create_string_buffer(data, len(data)), len(data)


def _new_trap() -> int:
    trap = ffi.wasmtime_trap_new(ctypes.create_string_buffer(b"host"), 4)
    return ctypes.cast(trap, ctypes.c_void_p).value or 0


class Instance:
    """One instance; it serves messages until its memory has grown in one that is undone.

    Attributes:
        limit: Instruction limit of the message under way.
    """

    def __init__(self, linked: Linked) -> None:
        self._linked = linked
        self._store = wasmtime.Store(engine())
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
        memory = self._exports[instrument.MEMORY] if instrument.MEMORY in self._names() else None
        self._memory = memory if isinstance(memory, wasmtime.Memory) else None
        self._view = memoryview(bytearray())
        self.refresh()

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
            raise Failure.wasm("its memory is too small for the heap that is kept") from None
        if len(self._view) < len(heap):
            raise Failure.wasm("it has no memory for the heap that is kept")
        self._view[: len(heap)] = heap
        self._view[len(heap) :] = bytes(len(self._view) - len(heap))

    def view(self, at: int, length: int) -> memoryview:
        """Return a writable view of a range of the linear memory.

        Raises:
            Failure: The range is not inside it.
        """
        end = at + length
        if end > len(self._view):
            self.refresh()
            if end > len(self._view):
                raise Failure.trap("heap out of bounds")
        return self._view[at:end]

    def left(self) -> int:
        """Return the instructions that are left; below zero when too many were used."""
        ffi.wasmtime_global_get(self._store._context(), self._counter, self._at)  # noqa: SLF001
        return int(self._value.of.i64)

    def used(self) -> int:
        """Return the instructions that the message has used."""
        return self.limit - max(self.left(), 0)

    def _set_left(self, count: int) -> None:
        self._value.of.i64 = count
        ffi.wasmtime_global_set(self._store._context(), self._counter, self._at)  # noqa: SLF001

    def charge(self, instructions: int) -> None:
        """Take instructions from the counter.

        Raises:
            Failure: There are not so many left.
        """
        left = self.left() - instructions
        self._set_left(left)
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

    def run(self, entry: str | Closure, limit: int, used: int = 0) -> None:
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
        self._set_left(limit - used)
        self._linked.error = None
        try:
            function(self._store, *arguments)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as stop:
            raise self._explain(stop) from None
        finally:
            self.refresh()

    def _function(self, entry: str | Closure) -> tuple[wasmtime.Func, tuple[int, ...]]:
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
        return Failure.trap(_WORDS.get(code, "unknown") if code is not None else "unknown")
