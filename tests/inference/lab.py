"""Run the llama crate as WebAssembly without an IC, metered by the network's own meter.

`canisters/llama_lab` is its other side; `make wasm` builds the module.
"""

import functools
import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import wasmtime
from numpy.typing import NDArray

from datanode.localnet.machine import engine, instrument

MODULE: Final = Path(__file__).parent / "wasm/llama_lab.wasm.gz"
DTYPES: Final = {"BF16": 0, "F16": 1, "F32": 2}
_UNLIMITED: Final = 1 << 62


@functools.cache
def module(*, metered: bool = False) -> wasmtime.Module:
    """Compile the committed module, with the network's meter in it or without."""
    code = gzip.decompress(MODULE.read_bytes())
    if metered:
        code = instrument.instrument(code, reads=True).module
    return wasmtime.Module(engine.engine(), code)


class Lab:
    """One instance of the lab.

    Attributes:
        instructions: Instructions that the last call took.
    """

    def __init__(self, *, metered: bool = False, page_price: int = 0) -> None:
        """Start with an empty memory.

        Args:
            metered: Whether instructions are counted; it takes time.
            page_price: Instructions for a page's first access and for its first write, each.
        """
        self._store = wasmtime.Store(engine.engine())
        instance = wasmtime.Instance(self._store, module(metered=metered), [])
        self._exports = instance.exports(self._store)
        self._metered = metered
        self.instructions = 0
        if metered:
            self._allow_growth()
            for name in (instrument.ACCESS_PRICE, instrument.WRITE_PRICE):
                self._global(name).set_value(self._store, wasmtime.Val.i64(page_price))
            limit = wasmtime.Val.i64(_UNLIMITED)
            self._global(instrument.SLICE_LIMIT).set_value(self._store, limit)

    def call(self, name: str, *arguments: int) -> int:
        """Call an export and count its instructions."""
        if self._metered:
            limit = wasmtime.Val.i64(_UNLIMITED)
            self._global(instrument.COUNTER).set_value(self._store, limit)
            self._forget_pages()
        result: int = self._function(name)(self._store, *arguments)
        if self._metered:
            left = int(self._global(instrument.COUNTER).value(self._store))
            self.instructions = _UNLIMITED - left
        return result

    def run(self, name: str, *arguments: int | bytes) -> bytes:
        """Call an export with bytes passed as address and length; return its output."""
        failed = self._call_with(name, arguments)
        output = self._output("output")
        if failed:
            raise ValueError(output.decode())
        return output

    def floats(self, name: str, *arguments: int | bytes) -> NDArray[np.float32]:
        """Call an export that computes f32 and return them."""
        if self._call_with(name, arguments):
            raise ValueError(self._output("output").decode())
        return np.frombuffer(self._output("floats"), "<f4")

    def _output(self, name: str) -> bytes:
        instructions = self.instructions
        start, length = self.call(name), self.call(f"{name}_bytes")
        self.instructions = instructions
        return bytes(self._memory().read(self._store, start, start + length))

    def _call_with(self, name: str, arguments: Sequence[int | bytes]) -> int:
        numbers, held = [], []
        for argument in arguments:
            if isinstance(argument, int):
                numbers.append(argument)
                continue
            start = self.call("allocate", len(argument))
            self._memory().write(self._store, argument, start)
            held.append((start, len(argument)))
            numbers += held[-1]
        failed = self.call(name, *numbers)
        for start, length in held:
            self._function("release")(self._store, start, length)
        return failed

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Encode texts without zero characters."""
        joined = "".join(text + "\0" for text in texts).encode()
        words = np.frombuffer(self.run("encode", joined), "<u4").tolist()
        found, at = [], 0
        for _ in texts:
            found.append(words[at + 1 : at + 1 + words[at]])
            at += 1 + words[at]
        return found

    def decode(self, frame: bytes) -> bytes:
        """Decode a frame to the raw bytes of its chunk."""
        if self._call_with("decode_frame", (frame,)):
            raise ValueError(self._output("output").decode())
        return self._output("raw")

    def load(
        self,
        config: bytes,
        tensors: Iterable[tuple[str, bytes, str]],
        *,
        exact: bool,
        part: tuple[int, int, bool, bool],
    ) -> None:
        """Load tensors: name, bytes, dtype. `part` is first block, end block, embed, head."""
        self.run("configure", config, int(exact), *map(int, part))
        for name, words, dtype in tensors:
            self.run("place", name.encode(), 0, words, DTYPES[dtype])
        self.run("finish")

    def _function(self, name: str) -> wasmtime.Func:
        function = self._exports[name]
        assert isinstance(function, wasmtime.Func)
        return function

    def _global(self, name: str) -> wasmtime.Global:
        found = self._exports[name]
        assert isinstance(found, wasmtime.Global)
        return found

    def _memory(self) -> wasmtime.Memory:
        found = self._exports[instrument.MEMORY if self._metered else "memory"]
        assert isinstance(found, wasmtime.Memory)
        return found

    def _forget_pages(self) -> None:
        pages = self._exports[instrument.PAGES]
        assert isinstance(pages, wasmtime.Memory)
        pages.write(self._store, bytes(pages.data_len(self._store)), 0)

    def _allow_growth(self) -> None:
        i64, i32 = wasmtime.ValType.i64(), wasmtime.ValType.i32()
        kind = wasmtime.FuncType([i64, i64], [i32])
        table = self._exports[instrument.GROWTH]
        assert isinstance(table, wasmtime.Table)
        table.set(self._store, 0, wasmtime.Func(self._store, kind, lambda _a, _b: 0))
