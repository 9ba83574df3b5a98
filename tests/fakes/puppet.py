"""A canister that does what its arguments say: scripts of calls, callbacks, cycles and traps.

A script is a row of steps; each helper below makes one or more. The methods `run` (update), `look`
(query) and `ask` (composite query) execute the script in their argument; callbacks execute the
scripts that came with the call. `count` (query) replies with a number that scripts can raise.
"""

from enum import IntEnum
from functools import cache

import wasmtime

from datanode.principal import Principal
from tests.fakes.system_calls import imports


class See(IntEnum):
    """Values that `see` can read."""

    COUNT = 0
    BALANCE = 1
    AVAILABLE = 2
    REFUNDED = 3
    PERFORMED = 4
    DEADLINE = 5
    TIME = 6
    TIMER_BEFORE = 7
    STATUS = 8
    CALL_INSTRUCTIONS = 9
    LIQUID = 10
    REJECT_CODE = 11
    STABLE = 12
    ACCEPTED = 13


def _step(code: int, body: bytes = b"") -> bytes:
    return bytes([code]) + len(body).to_bytes(4, "little") + body


def _section(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


def call(
    callee: Principal,
    payload: bytes = b"",
    *,
    method: str = "run",
    cycles: int = 0,
    reply: bytes = b"",
    reject: bytes = b"",
    cleanup: bytes | None = None,
    timeout_s: int | None = None,
    function: int = 0,
) -> bytes:
    """Call a canister; `reply`, `reject` and `cleanup` are the scripts of the callbacks."""
    head = cycles.to_bytes(8, "little")
    head += (0xFFFFFFFF if timeout_s is None else timeout_s).to_bytes(4, "little")
    head += int(cleanup is not None).to_bytes(4, "little") + function.to_bytes(4, "little")
    parts = (callee.raw, method.encode(), reply, reject, cleanup or b"", payload)
    return _step(1, head + b"".join(_section(each) for each in parts))


def reply(data: bytes = b"") -> bytes:
    """Reply with what was appended, and this."""
    return append(data) + _step(2)


def append(data: bytes) -> bytes:
    return _step(3, data)


def see(what: See) -> bytes:
    """Append a number of eight bytes."""
    return _step(4, bytes([what]))


def forward() -> bytes:
    """Append the argument, or in a reply callback the reply."""
    return _step(5)


def forward_reject() -> bytes:
    """Append the text of the reject."""
    return _step(6)


def reject(text: str = "no") -> bytes:
    return _step(7, text.encode())


def trap(text: str = "boom") -> bytes:
    return _step(8, text.encode())


def accept(cycles: int) -> bytes:
    return _step(9, cycles.to_bytes(8, "little"))


def burn(cycles: int) -> bytes:
    return _step(10, cycles.to_bytes(8, "little"))


def add(number: int) -> bytes:
    """Raise the count, in a global, in the heap and in stable memory."""
    return _step(11, number.to_bytes(8, "little"))


def timer(at_ns: int, script: bytes) -> bytes:
    """Set the global timer, and what it does."""
    return _step(12, at_ns.to_bytes(8, "little") + _section(script))


def half_a_call(callee: Principal, cycles: int) -> bytes:
    """Begin a call and never make it."""
    return _step(14, cycles.to_bytes(8, "little") + _section(callee.raw))


def grow(pages: int) -> bytes:
    """Grow the heap."""
    return _step(15, pages.to_bytes(4, "little"))


def number(data: bytes, at: int = 0) -> int:
    """Read a number that `see` appended."""
    return int.from_bytes(data[8 * at : 8 * at + 8], "little")


_IMPORTS = (
    *("call_new", "call_on_cleanup", "call_data_append", "call_cycles_add128", "call_perform"),
    *("call_with_best_effort_response", "msg_reply", "msg_reply_data_append", "msg_reject", "trap"),
    *("msg_arg_data_size", "msg_arg_data_copy", "msg_reject_msg_size", "msg_reject_msg_copy"),
    *("msg_cycles_accept128", "msg_cycles_available128", "msg_cycles_refunded128"),
    *("canister_cycle_balance128", "canister_liquid_cycle_balance128", "cycles_burn128"),
    *("msg_deadline", "time", "global_timer_set", "canister_status", "performance_counter"),
    *("msg_reject_code", "stable64_grow", "stable64_read", "stable64_write", "stable64_size"),
)

_WAT = """
(memory 64)
(table 3 funcref)
(elem (i32.const 0) $callback $wrong)
(global $free (mut i32) (i32.const 1024))
(global $count (mut i64) (i64.const 0))
(global $performed (mut i32) (i32.const 0))
(global $timer (mut i64) (i64.const 0))
(global $tick (mut i32) (i32.const 0))
(func $wrong)
(func $claim (param $bytes i32) (result i32)
  (local $at i32)
  (local.set $at (global.get $free))
  (global.set $free (i32.add (local.get $at) (local.get $bytes)))
  (local.get $at))
(func $argument (result i32)
  (local $at i32) (local $size i32)
  (local.set $size (call $msg_arg_data_size))
  (local.set $at (call $claim (i32.add (local.get $size) (i32.const 4))))
  (i32.store (local.get $at) (local.get $size))
  (call $msg_arg_data_copy (i32.add (local.get $at) (i32.const 4)) (i32.const 0) (local.get $size))
  (local.get $at))
(func $after (param $section i32) (result i32)
  (i32.add (i32.add (local.get $section) (i32.const 4)) (i32.load (local.get $section))))
(func $data (param $section i32) (result i32) (i32.add (local.get $section) (i32.const 4)))
(func $call (param $body i32)
  (local $callee i32) (local $method i32) (local $reply i32) (local $reject i32)
  (local $cleanup i32) (local $payload i32)
  (local.set $callee (i32.add (local.get $body) (i32.const 20)))
  (local.set $method (call $after (local.get $callee)))
  (local.set $reply (call $after (local.get $method)))
  (local.set $reject (call $after (local.get $reply)))
  (local.set $cleanup (call $after (local.get $reject)))
  (local.set $payload (call $after (local.get $cleanup)))
  (call $call_new
    (call $data (local.get $callee)) (i32.load (local.get $callee))
    (call $data (local.get $method)) (i32.load (local.get $method))
    (i32.load offset=16 (local.get $body)) (local.get $reply)
    (i32.load offset=16 (local.get $body)) (local.get $reject))
  (call $call_data_append (call $data (local.get $payload)) (i32.load (local.get $payload)))
  (if (i32.load offset=12 (local.get $body))
    (then (call $call_on_cleanup (i32.const 0) (local.get $cleanup))))
  (if (i32.ne (i32.load offset=8 (local.get $body)) (i32.const -1))
    (then (call $call_with_best_effort_response (i32.load offset=8 (local.get $body)))))
  (if (i64.ne (i64.load (local.get $body)) (i64.const 0))
    (then (call $call_cycles_add128 (i64.const 0) (i64.load (local.get $body)))))
  (global.set $performed (call $call_perform)))
(func $see (param $what i32)
  (i64.store (i32.const 512) (i64.const 0))
  (block $done
    (if (i32.eq (local.get $what) (i32.const 0))
      (then (i64.store (i32.const 512) (global.get $count)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 1))
      (then (call $canister_cycle_balance128 (i32.const 512)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 2))
      (then (call $msg_cycles_available128 (i32.const 512)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 3))
      (then (call $msg_cycles_refunded128 (i32.const 512)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 4))
      (then (i32.store (i32.const 512) (global.get $performed)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 5))
      (then (i64.store (i32.const 512) (call $msg_deadline)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 6))
      (then (i64.store (i32.const 512) (call $time)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 7))
      (then (i64.store (i32.const 512) (global.get $timer)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 8))
      (then (i32.store (i32.const 512) (call $canister_status)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 9))
      (then (i64.store (i32.const 512) (call $performance_counter (i32.const 1))) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 10))
      (then (call $canister_liquid_cycle_balance128 (i32.const 512)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 11))
      (then (i32.store (i32.const 512) (call $msg_reject_code)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 12))
      (then (call $stable64_read (i64.const 512) (i64.const 0) (i64.const 8)) (br $done)))
    (if (i32.eq (local.get $what) (i32.const 13))
      (then (i64.store (i32.const 512) (i64.load (i32.const 544))) (br $done))))
  (call $msg_reply_data_append (i32.const 512) (i32.const 8)))
(func $execute (param $section i32)
  (local $at i32) (local $end i32) (local $size i32) (local $body i32) (local $new i32)
  (local $step i32)
  (local.set $at (call $data (local.get $section)))
  (local.set $end (call $after (local.get $section)))
  (block $out (loop $next
    (br_if $out (i32.ge_u (local.get $at) (local.get $end)))
    (local.set $step (i32.load8_u (local.get $at)))
    (local.set $size (i32.load offset=1 (local.get $at)))
    (local.set $body (i32.add (local.get $at) (i32.const 5)))
    (local.set $at (i32.add (local.get $body) (local.get $size)))
    (if (i32.eq (local.get $step) (i32.const 1)) (then (call $call (local.get $body))))
    (if (i32.eq (local.get $step) (i32.const 2)) (then (call $msg_reply)))
    (if (i32.eq (local.get $step) (i32.const 3))
      (then (call $msg_reply_data_append (local.get $body) (local.get $size))))
    (if (i32.eq (local.get $step) (i32.const 4))
      (then (call $see (i32.load8_u (local.get $body)))))
    (if (i32.eq (local.get $step) (i32.const 5)) (then
      (local.set $new (call $argument))
      (call $msg_reply_data_append (call $data (local.get $new)) (i32.load (local.get $new)))))
    (if (i32.eq (local.get $step) (i32.const 6)) (then
      (local.set $new (call $claim (call $msg_reject_msg_size)))
      (call $msg_reject_msg_copy (local.get $new) (i32.const 0) (call $msg_reject_msg_size))
      (call $msg_reply_data_append (local.get $new) (call $msg_reject_msg_size))))
    (if (i32.eq (local.get $step) (i32.const 7))
      (then (call $msg_reject (local.get $body) (local.get $size))))
    (if (i32.eq (local.get $step) (i32.const 8))
      (then (call $trap (local.get $body) (local.get $size))))
    (if (i32.eq (local.get $step) (i32.const 9)) (then
      (call $msg_cycles_accept128 (i64.const 0) (i64.load (local.get $body)) (i32.const 544))))
    (if (i32.eq (local.get $step) (i32.const 10)) (then
      (call $cycles_burn128 (i64.const 0) (i64.load (local.get $body)) (i32.const 576))))
    (if (i32.eq (local.get $step) (i32.const 11)) (then
      (global.set $count (i64.add (global.get $count) (i64.load (local.get $body))))
      (i64.store (i32.const 8) (global.get $count))
      (call $stable64_write (i64.const 0) (i64.const 8) (i64.const 8))))
    (if (i32.eq (local.get $step) (i32.const 12)) (then
      (global.set $timer (call $global_timer_set (i64.load (local.get $body))))
      (global.set $tick (i32.add (local.get $body) (i32.const 8)))))
    (if (i32.eq (local.get $step) (i32.const 14)) (then
      (local.set $new (i32.add (local.get $body) (i32.const 8)))
      (call $call_new (call $data (local.get $new)) (i32.load (local.get $new)) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $call_cycles_add128 (i64.const 0) (i64.load (local.get $body)))))
    (if (i32.eq (local.get $step) (i32.const 15))
      (then (drop (memory.grow (i32.load (local.get $body))))))
    (br $next))))
(func $callback (param $environment i32) (call $execute (local.get $environment)))
(func $run (call $execute (call $argument)))
(func (export "canister_init") (drop (call $stable64_grow (i64.const 1))))
(func (export "canister_post_upgrade")
  (if (i64.eqz (call $stable64_size)) (then (drop (call $stable64_grow (i64.const 1))))))
(export "canister_update run" (func $run))
(export "canister_query look" (func $run))
(export "canister_composite_query ask" (func $run))
(func (export "canister_query count") (call $see (i32.const 0)) (call $msg_reply))
(func (export "canister_on_low_wasm_memory")
  (global.set $count (i64.add (global.get $count) (i64.const 1000))))
(func (export "canister_global_timer")
  (if (global.get $tick) (then (call $execute (global.get $tick)))))
"""


@cache
def puppet_wasm() -> bytes:
    """Assemble the module."""
    return bytes(wasmtime.wat2wasm(f"(module {imports(*_IMPORTS)} {_WAT})"))
