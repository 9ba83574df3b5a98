"""No way around paying for a system call: through tables, exports, references or tail calls."""

from pathlib import Path

import pytest

from tests.datanode.localnet.wasm_canisters import ENVIRONMENT, build, machine

REPLY = 500


@pytest.mark.parametrize(
    ("text", "body", "expected"),
    [
        ("", "(return_call $msg_reply)", 3),
        ("(table 1 funcref) (elem (i32.const 0) $msg_reply)", "(call_indirect (i32.const 0))", 11),
        (
            "(table 1 funcref) (elem (i32.const 0) funcref (ref.func $msg_reply))",
            "(call_indirect (i32.const 0))",
            11,
        ),
        (
            (
                "(table $a 1 funcref) (table $t 1 funcref)"
                "(elem (table $t) (i32.const 0) func $msg_reply)"
            ),
            "(call_indirect $t (i32.const 0))",
            11,
        ),
        (
            (
                "(table $a 1 funcref) (table $t 1 funcref)"
                "(elem (table $t) (i32.const 0) funcref (item (ref.null func)))"
                "(elem (table $t) (i32.const 0) funcref (item (ref.func $msg_reply)))"
            ),
            "(call_indirect $t (i32.const 0))",
            11,
        ),
    ],
)
def test_a_system_call_is_paid_for_however_it_is_reached(
    tmp_path: Path, text: str, body: str, expected: int
) -> None:
    wasm = build(f'{text} (func (export "canister_update m") {body})', "msg_reply")
    with machine(tmp_path, wasm) as made:
        done = made.update("m", b"", ENVIRONMENT, sequence=2)
    assert done.reply == b""
    assert done.instructions == 1 + expected + REPLY


def test_an_import_that_is_exported_as_a_method_is_paid_for(tmp_path: Path) -> None:
    wasm = build('(export "canister_update m" (func $msg_reply))', "msg_reply")
    with machine(tmp_path, wasm) as made:
        done = made.update("m", b"", ENVIRONMENT, sequence=2)
    assert (done.reply, done.instructions) == (b"", REPLY)


def test_a_size_that_overflows_the_counter_ends_the_message(tmp_path: Path) -> None:
    wasm = build(
        """(memory 1) (func (export "canister_update m")
        (call $stable64_read (i64.const 0) (i64.const 0) (i64.const 0x7fffffffffffffff)))""",
        "stable64_read",
    )
    with machine(tmp_path, wasm) as made:
        refused = made.update("m", b"", ENVIRONMENT, sequence=2).reject
    assert refused is not None
    assert refused.error_code == "IC0522"
