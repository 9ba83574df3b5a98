"""Behaviour and refusals of system calls."""

from dataclasses import replace
from pathlib import Path

import pytest

from datanode.localnet.machine import ic0
from datanode.localnet.machine.machine import Execution
from tests.datanode.localnet.wasm_canisters import CALLER, CANISTER, ENVIRONMENT, build, machine


def run(folder: Path, body: str, *calls: str, arg: bytes = b"", kind: str = "update") -> Execution:
    wasm = build(
        f"""(memory 40) (data (i32.const 64) "\\04boss")
        (func (export "canister_{kind} m") {body})""",
        *calls,
    )
    with machine(folder, wasm) as made:
        if kind == "update":
            return made.update("m", arg, ENVIRONMENT, sequence=2)
        return made.query("m", arg, replace(ENVIRONMENT, data_certificate=b"certificate"))


def test_a_canister_learns_its_environment(tmp_path: Path) -> None:
    body = """
    (call $msg_caller_copy (i32.const 0) (i32.const 0) (call $msg_caller_size))
    (call $canister_self_copy (i32.const 1) (i32.const 0) (call $canister_self_size))
    (call $canister_cycle_balance128 (i32.const 11))
    (i64.store (i32.const 27) (call $time))
    (i64.store (i32.const 35) (call $canister_version))
    (i32.store8 (i32.const 43) (call $is_controller (i32.const 65) (i32.const 4)))
    (i32.store8 (i32.const 44) (call $is_controller (i32.const 64) (i32.const 1)))
    (i32.store8 (i32.const 45) (call $in_replicated_execution))
    (i32.store8 (i32.const 46) (call $canister_status))
    (call $msg_reply_data_append (i32.const 0) (i32.const 47)) (call $msg_reply)"""
    calls = (
        *("msg_caller_copy", "msg_caller_size", "canister_self_copy", "canister_self_size"),
        *("canister_cycle_balance128", "time", "canister_version", "is_controller"),
        *("in_replicated_execution", "canister_status", "msg_reply_data_append", "msg_reply"),
    )
    expected = CALLER + CANISTER + (7_000_000_000_000).to_bytes(16, "little")
    expected += (1_700_000_000_000_000_000).to_bytes(8, "little") + (3).to_bytes(8, "little")
    assert run(tmp_path / "u", body, *calls).reply == expected + b"\1\0\1\1"
    assert run(tmp_path / "q", body, *calls, kind="query").reply == expected + b"\1\0\0\1"


def test_a_query_reads_its_certificate_and_an_update_has_none(tmp_path: Path) -> None:
    body = """(call $data_certificate_copy (i32.const 0) (i32.const 4)
        (i32.sub (call $data_certificate_size) (i32.const 4)))
    (call $msg_reply_data_append (i32.const 0) (i32.const 7)) (call $msg_reply)"""
    calls = (
        *("data_certificate_copy", "data_certificate_size"),
        *("msg_reply_data_append", "msg_reply"),
    )
    assert run(tmp_path / "q", body, *calls, kind="query").reply == b"ificate"
    refused = run(tmp_path / "u", body, *calls).reject
    assert refused is not None
    assert refused.error_code == "IC0504"
    assert "cannot be executed in update mode" in refused.message


@pytest.mark.parametrize(
    ("calls", "body", "words"),
    [
        (
            ("msg_arg_data_copy",),
            "(call $msg_arg_data_copy (i32.const 0) (i32.const 5) (i32.const 4))",
            "exceeds the slice size=8",
        ),
        (("msg_reply",), "(call $msg_reply) (call $msg_reply)", "already replied"),
        (
            ("msg_reply_data_append",),
            "(call $msg_reply_data_append (i32.const 0) (i32.const 2097153))",
            "application payload size (2097153) cannot be larger than 2097152",
        ),
        (
            ("certified_data_set",),
            "(call $certified_data_set (i32.const 0) (i32.const 33))",
            "no larger than 32 bytes. Found 33 bytes",
        ),
        (("accept_message",), "(call $accept_message)", "cannot be executed in update mode"),
        (
            ("performance_counter",),
            "(drop (call $performance_counter (i32.const 2)))",
            "performance counter type 2",
        ),
    ],
)
def test_a_call_against_the_interface_violates_the_contract(
    tmp_path: Path, calls: tuple[str, ...], body: str, words: str
) -> None:
    refused = run(tmp_path, body, *calls, arg=b"argument").reject
    assert refused is not None
    assert refused.error_code == "IC0504"
    assert "Canister violated contract" in refused.message
    assert words in refused.message


@pytest.mark.parametrize(
    ("calls", "body", "words"),
    [
        (
            ("msg_arg_data_copy",),
            "(call $msg_arg_data_copy (i32.const 2621437) (i32.const 0) (i32.const 4))",
            "heap out of bounds",
        ),
        (
            ("stable64_grow", "stable64_write"),
            (
                "(drop (call $stable64_grow (i64.const 1)))"
                "(call $stable64_write (i64.const 65533) (i64.const 0) (i64.const 4))"
            ),
            "stable memory out of bounds",
        ),
        (
            ("stable64_grow", "stable64_write"),
            (
                "(drop (call $stable64_grow (i64.const 1)))"
                "(call $stable64_write (i64.const -1) (i64.const 0) (i64.const 4))"
            ),
            "stable memory out of bounds",
        ),
        (
            ("stable64_grow", "stable64_read"),
            (
                "(drop (call $stable64_grow (i64.const 1)))"
                "(call $stable64_read (i64.const -4) (i64.const 0) (i64.const 4))"
            ),
            "heap out of bounds",
        ),
    ],
)
def test_a_call_out_of_bounds_is_a_trap(
    tmp_path: Path, calls: tuple[str, ...], body: str, words: str
) -> None:
    refused = run(tmp_path, body, *calls, arg=b"argument").reject
    assert refused is not None
    assert refused.error_code == "IC0502"
    assert f"Canister trapped: {words}" in refused.message


def test_stable_memory_does_not_grow_past_500_gib(tmp_path: Path) -> None:
    body = """(i64.store (i32.const 0) (call $stable64_grow (i64.const 8192000)))
    (i64.store (i32.const 8) (call $stable64_grow (i64.const 1)))
    (i64.store (i32.const 16) (call $stable64_grow (i64.const -1)))
    (call $msg_reply_data_append (i32.const 0) (i32.const 24)) (call $msg_reply)"""
    done = run(tmp_path, body, "stable64_grow", "msg_reply_data_append", "msg_reply")
    assert done.reply == bytes(8) + b"\xff" * 16


def test_every_system_call_can_be_imported_in_both_address_sizes(tmp_path: Path) -> None:
    for address in ("i32", "i64"):
        types = {"I": address, "i": "i32", "l": "i64"}
        lines = [
            f'(import "ic0" "{name}" (func '
            + "".join(f" (param {types[each]})" for each in call.params)
            + "".join(f" (result {types[each]})" for each in call.results)
            + "))"
            for name, call in ic0.CALLS.items()
        ]
        memory = "(memory i64 1)" if address == "i64" else "(memory 1)"
        with machine(tmp_path / address, build("".join(lines) + memory)) as made:
            assert made.module_hash is not None


def test_a_module_with_64_bit_memory_passes_its_addresses(tmp_path: Path) -> None:
    wasm = build(
        """(import "ic0" "msg_reply_data_append" (func $append (param i64 i64)))
        (import "ic0" "msg_arg_data_copy" (func $arg (param i64 i64 i64)))
        (memory i64 2)
        (func (export "canister_update m")
          (call $arg (i64.const 70000) (i64.const 1) (i64.const 3))
          (call $append (i64.const 70000) (i64.const 3)) (call $msg_reply))""",
        "msg_reply",
    )
    with machine(tmp_path, wasm) as made:
        assert made.update("m", b"abcd", ENVIRONMENT, sequence=2).reply == b"bcd"
