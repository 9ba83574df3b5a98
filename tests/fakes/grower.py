"""A canister in WebAssembly text that grows: by as many pages as the argument's first byte says.

stable(pages), heap(pages) : update;   // grow, then reply with 16 bytes: the liquid balance
both(pages) : update;                  // grows the heap and the stable memory
again() : update;                      // grows the stable memory in a message that then traps
"""

from functools import cache

import wasmtime

_WAT = r"""
(module
  (import "ic0" "msg_arg_data_copy" (func $arg (param {p} {p} {p})))
  (import "ic0" "msg_reply_data_append" (func $append (param {p} {p})))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "canister_liquid_cycle_balance128" (func $liquid (param {p})))
  (memory {wide} 1)
  (func $pages (result i64)
    (call $arg ({p}.const 0) ({p}.const 0) ({p}.const 2))
    (i64.load16_u ({p}.const 0)))
  (func $answer
    (call $liquid ({p}.const 8))
    (call $append ({p}.const 8) ({p}.const 16))
    (call $reply))
  (func (export "canister_update stable") (drop (call $grow (call $pages))) (call $answer))
  (func (export "canister_update heap") (drop (memory.grow {narrow})) (call $answer))
  (func (export "canister_update both")
    (drop (call $grow (call $pages))) (drop (memory.grow {narrow})) (call $answer))
  (func (export "canister_update again") (drop (call $grow (i64.const 1))) unreachable)
  (func (export "canister_update spin") (loop $again (br $again)))
  (func (export "canister_update silent"))
  (func (export "canister_query look") (drop (call $grow (call $pages))) (call $answer)))
"""


@cache
def grower_wasm(*, wide: bool = False) -> bytes:
    """Assemble the module, with a 32-bit or a 64-bit memory."""
    text = _WAT.replace("{p}", "i64" if wide else "i32").replace("{wide}", "i64" if wide else "")
    narrow = "(call $pages)" if wide else "(i32.wrap_i64 (call $pages))"
    return bytes(wasmtime.wat2wasm(text.replace("{narrow}", narrow)))


def pages(count: int) -> bytes:
    """Encode an argument."""
    return count.to_bytes(2, "little")
