"""How much of its speed a SIMD kernel keeps when the pages of its memory are checked.

Two kernels, as a compiler writes them: a matrix of 16-bit integers times a vector, whose loads have
constant offsets off one address, and a sum whose every load has an address of its own. Each is
metered; the comparison is the same module whose loads and stores are not checked.
"""

import time
from typing import Final

import wasmtime

from datanode.localnet.machine import engine, instrument
from datanode.localnet.machine.page_checks import PageChecks

_ROWS: Final = 2_000
_VECTORS: Final = 64
_ROUNDS: Final = 7
_ROW_BYTES: Final = 16 * _VECTORS
_UNLIMITED: Final = 1 << 60


def _matrix() -> str:
    held = range(16)
    loads = "".join(f"(local.set $x{i} (v128.load offset={16 * i} (local.get $x)))" for i in held)
    sums = "(v128.load (local.get $y))"
    for i in held:
        weights = f"(v128.load offset={16 * i} (local.get $p))"
        product = f"(i32x4.dot_i16x8_s {weights} (local.get $x{i}))"
        sums = f"(i32x4.add {sums} {product})"
    declared = " ".join(f"(local $x{i} v128)" for i in held)
    return f"""(func (export "matrix") (local $p i32) (local $x i32) (local $y i32) {declared}
      (local.set $x (i32.const 64)) {loads} (local.set $p (i32.const 131072))
      (local.set $y (i32.const 4096))
      (loop $L (v128.store (local.get $y) {sums})
        (local.set $p (i32.add (local.get $p) (i32.const {_ROW_BYTES})))
        (br_if $L (i32.lt_u (local.tee $y (i32.add (local.get $y) (i32.const 16)))
          (i32.const {4096 + 16 * _ROWS})))))"""


def _scattered() -> str:
    turns = _ROWS * 16
    place = "(i32.add (i32.const 131072) (i32.and (local.get $h) (i32.const 0xffff0)))"
    return f"""(func (export "scattered") (local $n i32) (local $h i32) (local $s v128)
      (local.set $n (i32.const {turns}))
      (loop $L
        (local.set $h (i32.add (i32.mul (local.get $h) (i32.const 1664525)) (i32.const 1013904223)))
        (local.set $s (i32x4.add (local.get $s) (v128.load {place})))
        (br_if $L (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (v128.store (i32.const 0) (local.get $s)))"""


def measure() -> dict[str, object]:
    """Return the speed of each kernel with checks, as a share of its speed without them."""
    text = f"(module (memory 64) {_matrix()} {_scattered()})"
    module = bytes(wasmtime.wat2wasm(text))
    checked = instrument.instrument(module, reads=True).module
    written = PageChecks.checked
    try:
        PageChecks.checked = lambda *_: b""  # type: ignore[method-assign]
        plain = instrument.instrument(module, reads=False).module
    finally:
        PageChecks.checked = written  # type: ignore[method-assign]
    out: dict[str, object] = {}
    for name in ("matrix", "scattered"):
        slow, fast = _taken(checked, name), _taken(plain, name)
        out[name] = {
            "checked_ms": round(1_000 * slow, 3),
            "unchecked_ms": round(1_000 * fast, 3),
            "share": round(fast / slow, 2),
        }
    return out


def _taken(module: bytes, name: str) -> float:
    store = wasmtime.Store(engine.engine())
    exports = wasmtime.Instance(store, wasmtime.Module(engine.engine(), module), []).exports(store)
    run, counter = exports[name], exports[instrument.COUNTER]
    assert isinstance(run, wasmtime.Func)
    assert isinstance(counter, wasmtime.Global)
    taken = []
    for _ in range(_ROUNDS):
        counter.set_value(store, wasmtime.Val.i64(_UNLIMITED))
        started = time.process_time()
        for _ in range(_ROUNDS):
            run(store)
        taken.append((time.process_time() - started) / _ROUNDS)
    return min(taken)
