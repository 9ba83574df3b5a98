"""The system calls about calls, cycles and environment variables: results, refusals, modes."""

from dataclasses import replace
from pathlib import Path

import pytest

from datanode.localnet.machine import ic0, messaging
from datanode.localnet.machine.execution import MessageKind
from datanode.localnet.machine.log_room import LINE_BYTES, MAX_LOG_BYTES
from datanode.localnet.machine.machine import Environment, Execution
from datanode.localnet.machine.outgoing import CallbackClosure, CallTerms, IncomingCall
from datanode.localnet.state.topology import CYCLES_MINTING
from datanode.principal import Principal
from datanode.units import MIB
from tests.datanode.localnet.wasm_canisters import CANISTER, ENVIRONMENT, build, machine

TERMS = CallTerms(
    fee_cycles=lambda call_bytes: 1000 + 10 * call_bytes,
    transmission_cycles=50_000,
    callback_cycles=7_000_000,
    creation_cycles=123,
    outcall_cycles=lambda request_bytes, response_bytes: 7 + 2 * request_bytes + 3 * response_bytes,
)
ENV = replace(ENVIRONMENT, terms=TERMS, variables=(("A", "first"), ("B", "second")))
NEW = """(call $call_new (i32.const 64) (i32.const 10) (i32.const 80) (i32.const 4)
    (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4))"""
SHOW = "(call $msg_reply_data_append (i32.const 0) (i32.const 32)) (call $msg_reply)"


def run(folder: Path, body: str, *calls: str, env: Environment = ENV) -> Execution:
    wasm = build(
        f"""(memory 40) (data (i32.const 64) "\\00\\00\\00\\00\\00\\00\\00\\01\\01\\01")
        (data (i32.const 80) "name") (data (i32.const 96) "AB")
        (func (export "canister_update m") {body})""",
        *calls,
        *("msg_reply", "msg_reply_data_append"),
    )
    with machine(folder, wasm) as made:
        return made.update("m", b"", env, sequence=2)


def number(execution: Execution, at: int = 0) -> int:
    assert execution.reply is not None, execution.reject
    return int.from_bytes(execution.reply[at : at + 16], "little")


def test_a_call_is_what_was_said_between_new_and_perform(tmp_path: Path) -> None:
    body = f"""{NEW}
    (call $call_data_append (i32.const 80) (i32.const 4))
    (call $call_data_append (i32.const 80) (i32.const 2))
    (call $call_on_cleanup (i32.const 5) (i32.const 6))
    (call $call_cycles_add (i64.const 500))
    (call $call_cycles_add128 (i64.const 0) (i64.const 11))
    (call $call_with_best_effort_response (i32.const 9))
    (i32.store (i32.const 0) (call $call_perform))
    (call $canister_cycle_balance128 (i32.const 16)) {SHOW}"""
    done = run(
        tmp_path,
        body,
        *("call_new", "call_data_append", "call_on_cleanup", "call_cycles_add"),
        *("call_cycles_add128", "call_with_best_effort_response", "call_perform"),
        "canister_cycle_balance128",
    )
    (call,) = done.calls
    assert (call.callee, call.method, bytes(call.payload)) == (CANISTER, "name", b"namena")
    assert (call.reply, call.reject, call.cleanup) == (
        CallbackClosure(1, 2),
        CallbackClosure(3, 4),
        CallbackClosure(5, 6),
    )
    assert (call.cycles, call.timeout_s) == (511, 9)
    assert call.fee_cycles == 1000 + 10 * (4 + 6)
    spent = call.fee_cycles + call.transmission_cycles + call.callback_cycles + call.cycles
    assert number(done, 16) == ENV.balance_cycles - spent


def test_what_a_call_would_cost_is_what_it_costs(tmp_path: Path) -> None:
    body = f"""(call $cost_call (i64.const 4) (i64.const 6) (i32.const 0))
    (call $cost_create_canister (i32.const 16)) {SHOW}"""
    done = run(tmp_path, body, "cost_call", "cost_create_canister")
    assert number(done) == 1000 + 10 * 10 + 50_000 + 7_000_000
    assert number(done, 16) == 123


@pytest.mark.parametrize(
    ("call", "made"),
    [
        ("mint_cycles", "(drop (call $mint_cycles (i64.const 1)))"),
        ("mint_cycles128", "(call $mint_cycles128 (i64.const 0) (i64.const 1) (i32.const 0))"),
    ],
)
def test_no_canister_mints_cycles(tmp_path: Path, call: str, made: str) -> None:
    refused = run(tmp_path, made, call).reject
    assert refused is not None
    assert refused.error_code == "IC0504"
    assert (
        "ic0.mint_cycles128 cannot be executed on non Cycles Minting Canister: "
        f"{Principal(CANISTER)} != {CYCLES_MINTING}" in refused.message
    )


def test_an_outcall_is_quoted_by_its_bytes(tmp_path: Path) -> None:
    body = f"(call $cost_http_request (i64.const 10) (i64.const 100) (i32.const 0)) {SHOW}"
    assert number(run(tmp_path, body, "cost_http_request")) == 7 + 20 + 300


@pytest.mark.parametrize(
    ("call", "known"),
    [("cost_sign_with_ecdsa", 1), ("cost_sign_with_schnorr", 2), ("cost_vetkd_derive_key", 1)],
)
def test_there_is_no_key_whose_use_could_cost_anything(
    tmp_path: Path, call: str, known: int
) -> None:
    def asked(kind: int) -> str:
        return f"(call ${call} (i32.const 80) (i32.const 4) (i32.const {kind}) (i32.const 16))"

    body = f"""(i32.store8 (i32.const 0) {asked(known - 1)})
    (i32.store8 (i32.const 1) {asked(known)}) {SHOW}"""
    done = run(tmp_path / "in", body, call)
    assert done.reply == bytes([2, 1]) + bytes(30)
    outside = f"(drop (call ${call} (i32.const -1) (i32.const 4) (i32.const 0) (i32.const 16)))"
    refused = run(tmp_path / "out", outside, call).reject
    assert refused is not None
    assert refused.error_code == "IC0502"


def test_only_what_is_liquid_is_burnt(tmp_path: Path) -> None:
    body = f"(call $cycles_burn128 (i64.const 1) (i64.const 0) (i32.const 0)) {SHOW}"
    done = run(tmp_path, body, "cycles_burn128", env=replace(ENV, liquid_cycles=77))
    assert number(done) == done.burnt_cycles == 77


def test_amounts_that_do_not_fit_in_64_bits_trap(tmp_path: Path) -> None:
    incoming = IncomingCall(available_cycles=1 << 64)
    body = f"(i64.store (i32.const 0) (call $msg_cycles_available)) {SHOW}"
    env = replace(ENV, incoming=incoming)
    refused = run(tmp_path, body, "msg_cycles_available", env=env).reject
    assert refused is not None
    assert "cycles amount exceeds 64-bit representation" in refused.message


def test_the_calls_of_a_message_hold_no_more_than_they_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messaging, "MAX_CALLS_BYTES", 5 * MIB)
    body = f"""(local $made i32)
    (loop $again {NEW}
      (call $call_data_append (i32.const 0) (i32.const {2 * MIB}))
      (if (i32.eqz (call $call_perform))
        (then (local.set $made (i32.add (local.get $made) (i32.const 1))) (br $again))))
    (i32.store (i32.const 0) (local.get $made)) {SHOW}"""
    done = run(tmp_path, body, "call_new", "call_data_append", "call_perform")
    assert number(done) == len(done.calls) == 2


def test_a_canister_reads_its_environment_variables(tmp_path: Path) -> None:
    body = """
    (i32.store8 (i32.const 0) (call $env_var_count))
    (i32.store8 (i32.const 1) (call $env_var_name_exists (i32.const 97) (i32.const 1)))
    (i32.store8 (i32.const 2) (call $env_var_name_exists (i32.const 80) (i32.const 1)))
    (call $env_var_name_copy (i32.const 1) (i32.const 3) (i32.const 0)
        (call $env_var_name_size (i32.const 1)))
    (call $env_var_value_copy (i32.const 97) (i32.const 1) (i32.const 4) (i32.const 0)
        (call $env_var_value_size (i32.const 97) (i32.const 1)))
    (call $msg_reply_data_append (i32.const 0) (i32.const 10)) (call $msg_reply)"""
    done = run(
        tmp_path,
        body,
        *("env_var_count", "env_var_name_exists", "env_var_name_copy", "env_var_name_size"),
        *("env_var_value_copy", "env_var_value_size"),
    )
    assert done.reply == b"\2\1\0Bsecond"


@pytest.mark.parametrize(
    ("call", "body", "words"),
    [
        ("call_perform", "(drop (call $call_perform))", "no call is under construction"),
        (
            "call_data_append",
            f"{NEW} (call $call_data_append (i32.const 0) (i32.const 2097153))",
            "size of payload 2097153 exceeds the allowed limit 2097152",
        ),
        (
            "call_on_cleanup",
            f"""{NEW} (call $call_on_cleanup (i32.const 0) (i32.const 0))
            (call $call_on_cleanup (i32.const 0) (i32.const 0))""",
            "can be called at most once",
        ),
        (
            "call_with_best_effort_response",
            f"""{NEW} (call $call_with_best_effort_response (i32.const 0))
            (call $call_with_best_effort_response (i32.const 0))""",
            "a timeout is already set",
        ),
        (
            "call_cycles_add128",
            f"{NEW} (call $call_cycles_add128 (i64.const 1) (i64.const 0))",
            "is out of cycles",
        ),
        ("msg_reject_code", "(drop (call $msg_reject_code))", "cannot be executed in update mode"),
        (
            "env_var_value_size",
            "(drop (call $env_var_value_size (i32.const 80) (i32.const 4)))",
            "Environment variable name not found",
        ),
        (
            "env_var_name_exists",
            "(drop (call $env_var_name_exists (i32.const 0) (i32.const 129)))",
            "of 129 bytes exceeds the allowed limit 128",
        ),
    ],
)
def test_a_misuse_violates_the_contract(tmp_path: Path, call: str, body: str, words: str) -> None:
    refused = run(tmp_path, body, call, *([] if call == "call_new" else ["call_new"])).reject
    assert refused is not None
    assert refused.error_code == "IC0504"
    assert words in refused.message


def test_a_message_that_prints_without_end_keeps_what_a_log_can_hold(tmp_path: Path) -> None:
    body = f"""(local $left i32) (local.set $left (i32.const 3000))
    (loop $again (i32.store (i32.const 0) (local.get $left))
      (call $debug_print (i32.const 0) (i32.const 4056))
      (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1))))) {SHOW}"""
    done = run(tmp_path, body, "debug_print")
    assert done.reject is None
    held_bytes = sum(LINE_BYTES + len(line) for line in done.logs)
    assert MAX_LOG_BYTES <= held_bytes + 4096 <= 2 * MAX_LOG_BYTES + 4096
    assert done.logs[-1][:4] == "\1\0\0\0"


def test_the_words_of_a_trap_are_as_long_as_a_reply_at_most(tmp_path: Path) -> None:
    refused = run(tmp_path, f"(call $trap (i32.const 0) (i32.const {40 << 16}))", "trap").reject
    assert refused is not None
    assert refused.error_code == "IC0503"
    assert refused.message.count("\0") in range(2 * MIB - 100, 2 * MIB)


def test_each_kind_of_message_may_make_the_calls_of_the_interface() -> None:
    """Spot checks of the specification's table, one row a kind."""
    allowed = ic0.ALLOWED
    for kind in (MessageKind.UPDATE, MessageKind.REPLY, MessageKind.REJECT, MessageKind.TASK):
        assert {"call_new", "call_cycles_add128", "certified_data_set"} <= allowed[kind]
    for kind in (MessageKind.COMPOSITE, MessageKind.COMPOSITE_REPLY, MessageKind.COMPOSITE_REJECT):
        assert "call_new" in allowed[kind]
        assert "call_cycles_add128" not in allowed[kind]
    for kind in (
        MessageKind.CLEANUP,
        MessageKind.COMPOSITE_CLEANUP,
        MessageKind.QUERY,
        MessageKind.REPLICATED_QUERY,
    ):
        assert not {"call_new", "call_perform"} & allowed[kind]
    assert "msg_reply" not in allowed[MessageKind.TASK] | allowed[MessageKind.CLEANUP]
    assert "msg_cycles_refunded128" in allowed[MessageKind.REPLY] & allowed[MessageKind.REJECT]
    assert "msg_reject_msg_copy" in allowed[MessageKind.REJECT] - allowed[MessageKind.REPLY]
    assert "msg_arg_data_copy" in allowed[MessageKind.REPLY] - allowed[MessageKind.REJECT]
    assert "global_timer_set" in allowed[MessageKind.CLEANUP]
    assert "data_certificate_copy" in allowed[MessageKind.COMPOSITE]
