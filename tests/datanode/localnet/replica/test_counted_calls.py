"""A call and its callback, counted by hand: each message, and the call as a whole."""

from datanode.agent.identity import Identity
from datanode.localnet.state import ledger
from tests.datanode.localnet.wasm_canisters import build
from tests.fakes.gateway import Gateway

CALLS = (
    *("canister_self_copy", "call_new", "call_perform", "msg_reply", "msg_reply_data_append"),
    "performance_counter",
)
WASM = build(
    """
    (memory 1) (data (i32.const 16) "noop") (table 1 funcref) (elem (i32.const 0) $back)
    (func (export "canister_update go")
      (call $canister_self_copy (i32.const 0) (i32.const 0) (i32.const 10))
      (call $call_new (i32.const 0) (i32.const 10) (i32.const 16) (i32.const 4)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (drop (call $call_perform)))
    (func (export "canister_update noop") (call $msg_reply))
    (func $back (param i32)
      (i64.store (i32.const 32) (call $performance_counter (i32.const 0)))
      (i64.store (i32.const 40) (call $performance_counter (i32.const 1)))
      (call $msg_reply_data_append (i32.const 32) (i32.const 16))
      (call $msg_reply))
    """,
    *CALLS,
)
ENTRY, CALL, DROP, COUNTER = 1, 5, 1, 200
PAGE = 80_000 + 80_000
"""The heap's one page, first accessed and first written."""

COPY = 3 + CALL + 500 + 10
NEW = 8 + CALL + 1_500 + 10 + 4
PERFORM = CALL + 5_000 + DROP
GO = ENTRY + COPY + NEW + PERFORM + PAGE
NOOP = ENTRY + CALL + 500
BLOCK = ENTRY + 2 * (2 + CALL + 1) + (2 + CALL) + CALL
BACK = BLOCK + 2 * COUNTER + (500 + 50 * 16) + 500 + PAGE


def test_each_message_of_a_call_and_the_call_as_a_whole_are_counted(
    net: Gateway, alice: Identity
) -> None:
    canister = net.create(alice)
    net.install(alice, canister, wasm=WASM)
    reply = net.call(alice, canister, "go")
    in_callback, in_call = (int.from_bytes(reply[at : at + 8], "little") for at in (0, 8))
    assert in_callback == BLOCK + COUNTER
    assert in_call == GO + BLOCK + 2 * COUNTER + PAGE
    entries = ledger.page(net.network.records.database)[-3:]
    assert [entry.instructions for entry in entries] == [GO, NOOP, BACK]
