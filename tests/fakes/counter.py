"""A canister written by hand in WebAssembly text: a counter in stable memory that others can judge.

get : () -> (nat64) query;
add : (nat64) -> (nat64);          // adds, certifies the new value's 8 bytes
certified : () -> (blob) query;    // the data certificate
crash : () -> ();                  // adds 1000, then traps
whoami : () -> (blob) query;       // the caller's bytes, raw
"""

from functools import cache

import wasmtime

CANDID = "service : { get : () -> (nat64) query; add : (nat64) -> (nat64); crash : () -> () }"

_WAT = r"""
(module
  (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_caller_size" (func $caller_size (result i32)))
  (import "ic0" "msg_caller_copy" (func $caller (param i32 i32 i32)))
  (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
  (import "ic0" "data_certificate_size" (func $certificate_size (result i32)))
  (import "ic0" "data_certificate_copy" (func $certificate (param i32 i32 i32)))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
  (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (memory 2)
  (data (i32.const 0) "DIDL\00\01\78")
  (data (i32.const 64) "boom")
  (data (i32.const 80) "added")
  ;; 16: the counter; 32: an argument of 15 bytes; 1024: scratch
  (func $load (call $read (i64.const 16) (i64.const 0) (i64.const 8)))
  (func $answer
    (i64.store (i32.const 7) (i64.load (i32.const 16)))
    (call $append (i32.const 0) (i32.const 15))
    (call $reply))
  (func $bump (param i64)
    (call $load)
    (i64.store (i32.const 16) (i64.add (i64.load (i32.const 16)) (local.get 0)))
    (call $write (i64.const 0) (i64.const 16) (i64.const 8)))
  (func (export "canister_init") (drop (call $grow (i64.const 1))))
  (func (export "canister_query get") (call $load) (call $answer))
  (func (export "canister_update add")
    (call $arg (i32.const 32) (i32.const 0) (i32.const 15))
    (call $bump (i64.load (i32.const 39)))
    (call $certify (i32.const 16) (i32.const 8))
    (call $print (i32.const 80) (i32.const 5))
    (call $answer))
  (func (export "canister_update crash")
    (call $bump (i64.const 1000))
    (call $trap (i32.const 64) (i32.const 4)))
  (func (export "canister_query whoami")
    (call $caller (i32.const 1024) (i32.const 0) (call $caller_size))
    (call $append (i32.const 1024) (call $caller_size))
    (call $reply))
  (func (export "canister_query certified")
    (call $certificate (i32.const 1024) (i32.const 0) (call $certificate_size))
    (call $append (i32.const 1024) (call $certificate_size))
    (call $reply)))
"""


@cache
def counter_wasm(visibility: str = "public") -> bytes:
    """Assemble the module, with public and private metadata; `visibility` is its interface's."""
    module = bytes(wasmtime.wat2wasm(_WAT))
    public = _section(f"icp:{visibility} candid:service", CANDID.encode())
    return module + public + _section("icp:private secret", b"for controllers")


def argument(number: int) -> bytes:
    """Encode `(number : nat64)`."""
    return b"DIDL\0\x01\x78" + number.to_bytes(8, "little")


def number(reply: bytes) -> int:
    """Decode `(number : nat64)`."""
    assert reply.startswith(b"DIDL\0\x01\x78")
    return int.from_bytes(reply[7:], "little")


def _section(name: str, content: bytes) -> bytes:
    body = bytes([len(name)]) + name.encode() + content
    assert len(body) < 1 << 14
    return bytes([0, len(body) & 0x7F | 0x80, len(body) >> 7]) + body
