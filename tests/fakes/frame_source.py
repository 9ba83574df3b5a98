"""A canister that answers `get_frames` and `model_hop` as it is told to, and keeps all cycles.

set(bytes) : update;        // how from now on: a byte for the manner, then what to say
get_frames(...), model_hop(...) : update;   // answer so
"""

from enum import IntEnum
from functools import cache

import wasmtime

from datanode.localnet.handle import CanisterHandle
from tests.fakes.system_calls import imports


class Manner(IntEnum):
    """How a source answers."""

    REPLY = 0
    REJECT = 1
    TRAP = 2
    NEVER = 3
    """Not before it is told another manner: it calls itself all the time."""


_IMPORTS = (
    *("msg_arg_data_size", "msg_arg_data_copy", "msg_reply_data_append", "msg_reply"),
    *("msg_reject", "trap", "msg_cycles_accept128", "canister_self_size", "canister_self_copy"),
    *("call_new", "call_perform"),
)

_WAT = """
(memory 64)
(table 1 funcref)
(elem (i32.const 0) $serve)
(data (i32.const 32) "wait")
(global $length (mut i32) (i32.const 1))
(func $again
  (call $canister_self_copy (i32.const 64) (i32.const 0) (call $canister_self_size))
  (call $call_new (i32.const 64) (call $canister_self_size) (i32.const 32) (i32.const 4)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
  (drop (call $call_perform)))
(func (export "canister_update wait") (call $msg_reply))
(func (export "canister_update set")
  (global.set $length (call $msg_arg_data_size))
  (call $msg_arg_data_copy (i32.const 1024) (i32.const 0) (global.get $length))
  (call $msg_reply))
(func (export "canister_update get_frames") (export "canister_update model_hop")
  (call $serve (i32.const 0)))
(func $serve (param i32) (local $manner i32) (local $size i32)
  (local.set $manner (i32.load8_u (i32.const 1024)))
  (local.set $size (i32.sub (global.get $length) (i32.const 1)))
  (call $msg_cycles_accept128 (i64.const -1) (i64.const -1) (i32.const 0))
  (if (i32.eq (local.get $manner) (i32.const 0)) (then
    (call $msg_reply_data_append (i32.const 1025) (local.get $size))
    (call $msg_reply)))
  (if (i32.eq (local.get $manner) (i32.const 1))
    (then (call $msg_reject (i32.const 1025) (local.get $size))))
  (if (i32.eq (local.get $manner) (i32.const 2))
    (then (call $trap (i32.const 1025) (local.get $size))))
  (if (i32.eq (local.get $manner) (i32.const 3)) (then (call $again))))
"""


@cache
def frame_source_wasm() -> bytes:
    """Assemble the module."""
    return bytes(wasmtime.wat2wasm(f"(module {imports(*_IMPORTS)} {_WAT})"))


def answer(source: CanisterHandle, manner: Manner, what: bytes = b"") -> None:
    """Have a source answer so from now on."""
    source.update("set", bytes([manner]) + what)


def calls_count(source: CanisterHandle) -> int:
    """Return how often it has executed a call."""
    executed = (entry.method for entry in source.ledger() if entry.instructions)
    return sum(method in {"get_frames", "model_hop"} for method in executed)
