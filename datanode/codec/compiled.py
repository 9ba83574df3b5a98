"""The decoder of the canisters on this machine: `canisters/host_decode`, run by wasmtime.

It decodes to the same bytes as NumPy, 1.5 to 1.8 times as fast (`python -m
tests.bench.bench_codec`), and without Python's lock. A process pays 0.1 s to compile it, so NumPy
decodes the first `NUMPY_BYTES`; also everything where wasmtime is not installed (the extra
`localnet` brings it), and every frame that this decoder refuses, so that all errors are NumPy's.
"""

import atexit
import gzip
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from datanode.errors import UsageError
from datanode.limits import FRAME_HEADER_BYTES, MAX_CHUNK_BYTES
from datanode.packaged_wasm import read_packaged_wasm

if TYPE_CHECKING:
    import wasmtime

NUMPY_BYTES: Final = 48 << 20
"""Bytes of payloads that NumPy decodes in a process before the decoder is compiled: some 0.1 s of
work, as long as compiling takes."""

_MAX_MEMORY_BYTES: Final = 64 << 20
"""Memory of an instance; it takes 9 MB for the largest chunk."""


@dataclass(frozen=True, slots=True)
class DecoderModule:
    """The compiled module, for any number of instances."""

    engine: "wasmtime.Engine"
    module: "wasmtime.Module"

    @classmethod
    def compile(cls) -> Self:
        """Compile the module that the package carries.

        Raises:
            UsageError: This installation carries none.
        """
        import wasmtime  # noqa: PLC0415 - for those alone who decode much

        engine = wasmtime.Engine()
        packed = read_packaged_wasm("host_decode", "decoder of frames")
        return cls(engine, wasmtime.Module(engine, gzip.decompress(packed)))


class CompiledDecoder:
    """An instance of the decoder, for one thread at a time."""

    def __init__(self, compiled: DecoderModule) -> None:
        import wasmtime  # noqa: PLC0415 - see above

        self._store = wasmtime.Store(compiled.engine)
        self._store.set_limits(memory_size=_MAX_MEMORY_BYTES)
        exports: Any = wasmtime.Instance(self._store, compiled.module, []).exports(self._store)
        self._memory: wasmtime.Memory = exports["memory"]
        self._decode = exports["decode"]
        self._raw_bytes = exports["raw_bytes"]
        self._frame: int = exports["frame"](self._store)

    def decode(self, header: bytes, payload: bytes | memoryview) -> bytes | None:
        """Decode a frame; none if it is refused.

        Args:
            header: The frame's first `FRAME_HEADER_BYTES`.
            payload: The other ones, at most MAX_CHUNK_BYTES.
        """
        if len(header) != FRAME_HEADER_BYTES or len(payload) > MAX_CHUNK_BYTES:
            raise ValueError("this is no frame")
        length = len(header) + len(payload)
        room = memoryview(self._memory.get_buffer_ptr(self._store, length, self._frame)).cast("B")
        room[: len(header)] = header
        room[len(header) :] = payload
        at: int = self._decode(self._store, length)
        if not at:
            return None
        return bytes(self._memory.read(self._store, at, at + self._raw_bytes(self._store)))


class Turns:
    """Decides who decodes: at first NumPy, then an instance for each calling thread."""

    def __init__(self, numpy_bytes: int = NUMPY_BYTES) -> None:
        """Begin with NumPy.

        Args:
            numpy_bytes: Bytes of payloads until the decoder is compiled.
        """
        self._numpy_bytes = numpy_bytes
        self._lock = threading.Lock()
        self._module: DecoderModule | None = None
        self._is_possible = True
        self._of_thread = threading.local()

    def decode(self, header: bytes, payload: bytes | memoryview) -> bytes | None:
        """As `CompiledDecoder.decode`; none also if it is NumPy's turn."""
        module = self._module or self._compiled(len(payload))
        if module is None:
            return None
        import wasmtime  # noqa: PLC0415 - see above

        try:
            if not hasattr(self._of_thread, "decoder"):
                self._of_thread.decoder = CompiledDecoder(module)
            decoder: CompiledDecoder = self._of_thread.decoder
            return decoder.decode(header, payload)
        except (wasmtime.Trap, wasmtime.WasmtimeError):
            self._of_thread = threading.local()  # what a trap leaves is not used again
            return None

    def close(self) -> None:
        """Free the module, and leave the rest to NumPy."""
        self._is_possible, self._module, self._of_thread = False, None, threading.local()

    def _compiled(self, payload_bytes: int) -> DecoderModule | None:
        """Compile when it is time; in one thread, while the others go on with NumPy."""
        if not self._is_possible or not self._lock.acquire(blocking=False):
            return None
        try:
            self._numpy_bytes -= payload_bytes
            if self._module is None and self._numpy_bytes < 0:
                self._module = DecoderModule.compile()
        except (ImportError, OSError, RuntimeError, UsageError):
            self._is_possible = False  # no wasmtime, one that does not load here, or no module
        finally:
            self._lock.release()
        return self._module


_TURNS: Final = Turns()
atexit.register(_TURNS.close)  # wasmtime frees nothing once the interpreter shuts down


def decode(header: bytes, payload: bytes | memoryview) -> bytes | None:
    """As `Turns.decode`, with the turns of this process."""
    return _TURNS.decode(header, payload)
