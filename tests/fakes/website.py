"""A canister that answers browsers with whatever bytes it was told to, well-formed or not.

set : byte N, then bytes; not Candid   // slot N (0 to 9) is answered from now on
http_request                           // slot 0; with `bytes=N-` in a header slot N
http_request_update                    // slot 9
part : (token : nat8)                  // slot of that number
"""

from collections.abc import Mapping, Sequence
from functools import cache

import wasmtime

from datanode.agent import candid
from datanode.agent.candid import Blob, Bool, Nat16, Opt, Record, Text, Value, Vec
from datanode.agent.request_id import leb128
from datanode.principal import Principal

_WAT = r"""
(module
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory 400)
  (func $slot (param $n i32) (result i32) (i32.mul (local.get $n) (i32.const 2500000)))
  (func $answer (param $n i32)
    (call $append (i32.add (call $slot (local.get $n)) (i32.const 4))
                  (i32.load (call $slot (local.get $n))))
    (call $reply))
  (func (export "canister_update set") (local $at i32)
    (call $arg (i32.const 25000000) (i32.const 0) (i32.const 1))
    (local.set $at (call $slot (i32.load8_u (i32.const 25000000))))
    (i32.store (local.get $at) (i32.sub (call $size) (i32.const 1)))
    (call $arg (i32.add (local.get $at) (i32.const 4)) (i32.const 1)
               (i32.sub (call $size) (i32.const 1)))
    (call $reply))
  (func (export "canister_query part")
    (call $arg (i32.const 25000000) (i32.sub (call $size) (i32.const 1)) (i32.const 1))
    (call $answer (i32.load8_u (i32.const 25000000))))
  (func (export "canister_query http_request") (local $at i32) (local $end i32)
    (call $arg (i32.const 25000000) (i32.const 0) (call $size))
    (local.set $at (i32.const 25000000))
    (local.set $end (i32.add (local.get $at) (call $size)))
    (loop $next
      (if (i64.eq (i64.and (i64.load (local.get $at)) (i64.const 0xffffffffffff))
                  (i64.const 0x3d7365747962))
        (then (call $answer (i32.sub (i32.load8_u offset=6 (local.get $at)) (i32.const 48)))
              (return)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))
    (call $answer (i32.const 0)))
  (func (export "canister_update http_request_update") (call $answer (i32.const 9))))
"""

_PAIR = Record({"_0_": Text, "_1_": Text})
_PLAIN = Record({"status_code": Nat16, "headers": Vec(_PAIR), "body": Blob, "upgrade": Opt(Bool)})
_FUNC, _RECORD, _VARIANT, _OPT, _VEC = b"\x6a", b"\x6c", b"\x6b", b"\x6e", b"\x6d"


@cache
def website_wasm() -> bytes:
    """Assemble the module."""
    return bytes(wasmtime.wat2wasm(_WAT))


def answer(
    body: bytes = b"",
    *,
    status: int = 200,
    headers: Sequence[tuple[str, str]] = (),
    upgrade: bool | None = None,
) -> bytes:
    """Encode an HTTP answer that is whole."""
    pairs: list[Value] = [{"_0_": name, "_1_": value} for name, value in headers]
    fields: Mapping[str, Value] = {
        "status_code": status,
        "headers": pairs,
        "body": body,
        "upgrade": upgrade,
    }
    return candid.encode((_PLAIN,), (fields,))


def streamed(body: bytes, canister: Principal, method: str, token: int) -> bytes:
    """Encode an HTTP answer whose body goes on with the callback and the token given.

    Written by hand, because the project reads references to methods and never writes them.
    """
    name = {each: candid.field_id(each) for each in ("status_code", "headers", "body")}
    strategy = candid.field_id("streaming_strategy")
    fields = sorted(
        [
            (name["status_code"], b"\x7a", (200).to_bytes(2, "little")),
            (name["headers"], b"\x01", b"\0"),
            (name["body"], b"\x02", leb128(len(body)) + body),
            (strategy, b"\x03", b"\1\0" + bytes([token]) + _reference(canister, method)),
        ]
    )
    callback, kind = candid.field_id("callback"), candid.field_id("token")
    assert kind < callback
    table = [
        _RECORD + b"\2\0\x71\1\x71",
        _VEC + b"\0",
        _VEC + b"\x7b",
        _OPT + b"\4",
        _VARIANT + b"\1" + leb128(candid.field_id("Callback")) + b"\5",
        _RECORD + b"\2" + leb128(kind) + b"\x7b" + leb128(callback) + b"\6",
        _FUNC + b"\0\0\1\1",
        _RECORD + b"\4" + b"".join(leb128(number) + part for number, part, _ in fields),
    ]
    values = b"".join(value for _, _, value in fields)
    return b"DIDL" + leb128(len(table)) + b"".join(table) + b"\1\7" + values


def part(body: bytes, token: int | None) -> bytes:
    """Encode a callback's answer."""
    kind = Record({"body": Blob, "token": Opt(candid.Nat8)})
    return candid.encode((kind,), ({"body": body, "token": token},))


def _reference(canister: Principal, method: str) -> bytes:
    raw, name = canister.raw, method.encode()
    return b"\1\1" + leb128(len(raw)) + raw + leb128(len(name)) + name
