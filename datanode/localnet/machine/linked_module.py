"""A compiled module whose imports call back into this program.

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
from datanode.localnet.machine.rejects import Failure
from datanode.localnet.machine.system_calls import SystemCalls

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


class LinkedModule:
    """A compiled module with its system calls bound to one canister's state.

    Attributes:
        compiled: The module.
        state: What the system calls act on; it is set before each message.
        error: What a system call raised, for the instance to pick up.
    """

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self._calls = SystemCalls()
        self.state = self._calls.state
        self.error: BaseException | None = None
        self._linker = wasmtime.Linker(engine())
        self._asked = _Callback(self._grown)
        self._kept: list[object] = []
        for each in compiled.module.imports:
            if each.name is not None and isinstance(each.type, wasmtime.FuncType):
                self._bind(each.name, each.type)

    def instantiate(self, store: wasmtime.Store) -> wasmtime.Instance:
        """Make an instance, whose memory asks before it grows.

        Raises:
            Failure: The engine cannot instantiate the module: an element segment leaves its table,
                a table is too large.
        """
        try:
            instance = self._linker.instantiate(store, self.compiled.module)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            why = " ".join(str(error).split())
            raise Failure.instantiation(f"Failed to instantiate module: {why}") from error
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
            self.state.message.grow_heap(raw[0], raw[_WORDS_A_VALUE])
        except BaseException as error:  # noqa: BLE001 - it cannot cross the engine
            self.error = error
            raw[0] = 1
        else:
            raw[0] = 0
        return 0

    def release(self) -> None:
        """Let go of the instance, whose memory is then given back."""
        self.state.release()

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
        state, act = self.state, self._calls.find(name)

        def run(_data: int, _caller: int, raw: "ctypes.Array[ctypes.c_uint64]", _n: int) -> int:
            try:
                if name not in state.allowed:
                    state.refuse(name)
                result = act(*[raw[slot] & mask for slot, mask in slots])
                if result is not None:
                    raw[0] = result
            except BaseException as error:  # noqa: BLE001 - it cannot cross the engine
                self.error = error
                return _new_trap()
            return 0

        return run


def _text(text: str) -> tuple[object, int]:
    data = text.encode()
    return ctypes.create_string_buffer(data, len(data)), len(data)


def _new_trap() -> int:
    trap = ffi.wasmtime_trap_new(ctypes.create_string_buffer(b"host"), 4)
    return ctypes.cast(trap, ctypes.c_void_p).value or 0
