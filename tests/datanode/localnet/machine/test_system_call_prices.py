"""Prices of system calls, calculated by hand from the replica's published constants.

A call is counted in two ways: by the instructions of a message that makes it, and by what
`performance_counter(0)` says before and after it. The metering version is 2026-06; what memory
costs since then is in `test_page_prices`.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from datanode.localnet.machine import ic0
from datanode.localnet.machine.execution import MessageKind
from datanode.localnet.machine.log_room import LogRoom
from datanode.localnet.machine.machine import Execution
from tests.datanode.localnet.wasm_canisters import ENVIRONMENT, build, machine

ENTRY, CONSTANT, CALL, DROP, COUNTER = 1, 1, 5, 1, 200
PAGE = 1_000
METERING = "2026-06"
ARGUMENT = b"argument"


class Row(NamedTuple):
    """A call, its arguments, its price, and pages of the heap that it changes."""

    call: str
    arguments: tuple[int, ...]
    price: int
    pages: int = 0
    kind: str = "update"

    @property
    def body(self) -> str:
        params, results = ic0.CALLS[self.call][:2]
        types = ["i64" if each == "l" else "i32" for each in params]
        pairs = zip(types, self.arguments, strict=True)
        constants = "".join(f" ({each}.const {value})" for each, value in pairs)
        made = f"(call ${self.call}{constants})"
        return f"(drop {made})" if results else made

    @property
    def around(self) -> int:
        """Return the fixed cost of the message."""
        drop = DROP * len(ic0.CALLS[self.call].results)
        return ENTRY + CONSTANT * len(self.arguments) + CALL + drop


ROWS = [
    Row("accept_message", (), 500, kind="inspect"),
    Row("call_cycles_add", (5,), 500),
    Row("call_cycles_add128", (0, 5), 500),
    Row("call_data_append", (64, 5), 500 + 50 * 5),
    Row("call_new", (0, 10, 64, 5, 0, 0, 0, 0), 1_500 + 10 + 5),
    Row("call_on_cleanup", (0, 0), 500),
    Row("call_perform", (), 5_000),
    Row("call_with_best_effort_response", (10,), 500),
    Row("canister_cycle_balance", (), 500),
    Row("canister_cycle_balance128", (0,), 500, pages=1),
    Row("canister_liquid_cycle_balance128", (0,), 500, pages=1),
    Row("canister_self_copy", (0, 0, 10), 500 + 10, pages=1),
    Row("canister_self_size", (), 500),
    Row("canister_status", (), 500),
    Row("canister_version", (), 500),
    Row("certified_data_set", (0, 32), 500 + 32),
    Row("cost_call", (5, 100, 0), 500),
    Row("cost_create_canister", (0,), 500),
    Row("cost_http_request", (100, 100, 0), 500),
    Row("cost_http_request_v2", (64, 5, 0), 10_000),
    Row("cost_sign_with_ecdsa", (64, 5, 0, 0), 500 + 5),
    Row("cost_sign_with_schnorr", (64, 5, 0, 0), 500 + 5),
    Row("cost_vetkd_derive_key", (64, 5, 0, 0), 500 + 5),
    Row("cycles_burn128", (0, 0, 0), 500),
    Row("data_certificate_copy", (0, 4, 7), 500 + 7, kind="query"),
    Row("data_certificate_present", (), 500),
    Row("data_certificate_size", (), 500, kind="query"),
    Row("debug_print", (65, 4), 100 + (2 + 50) * 4),
    Row("env_var_count", (), 500),
    Row("env_var_name_copy", (0, 0, 0, 9), 500 + 9),
    Row("env_var_name_exists", (65, 4), 500),
    Row("env_var_name_size", (0,), 500),
    Row("env_var_value_copy", (65, 4, 0, 0, 9), 500 + 9),
    Row("env_var_value_size", (65, 4), 500),
    Row("global_timer_set", (9,), 500),
    Row("in_replicated_execution", (), 500),
    Row("is_controller", (65, 4), 1_000 + 4),
    Row("mint_cycles", (5,), 0),
    Row("mint_cycles128", (0, 5, 0), 0),
    Row("msg_arg_data_copy", (0, 1, 3), 500 + 3, pages=1),
    Row("msg_arg_data_size", (), 500),
    Row("msg_caller_copy", (0, 0, 1), 500 + 1, pages=1),
    Row("msg_caller_size", (), 500),
    Row("msg_cycles_accept", (5,), 500),
    Row("msg_cycles_accept128", (0, 9, 0), 500),
    Row("msg_cycles_available", (), 500),
    Row("msg_cycles_available128", (0,), 500),
    Row("msg_cycles_refunded", (), 500),
    Row("msg_cycles_refunded128", (0,), 500),
    Row("msg_deadline", (), 500),
    Row("msg_method_name_copy", (0, 0, 1), 500 + 1, kind="inspect"),
    Row("msg_method_name_size", (), 500, kind="inspect"),
    Row("msg_reject", (64, 4), 500 + 50 * 4),
    Row("msg_reject_code", (), 500),
    Row("msg_reject_msg_copy", (0, 0, 7), 500 + 7),
    Row("msg_reject_msg_size", (), 500),
    Row("msg_reply", (), 500),
    Row("msg_reply_data_append", (0, 10), 500 + 50 * 10),
    Row("performance_counter", (0,), 200),
    Row("root_key_copy", (0, 0, 0), 500),
    Row("root_key_size", (), 500),
    Row("stable64_grow", (1,), 100),
    Row("stable64_read", (0, 0, 70), 20 + 70, pages=1),
    Row("stable64_size", (), 0),
    Row("stable64_write", (0, 0, 70), 20 + 70 + PAGE),
    Row("stable_grow", (1,), 100),
    Row("stable_read", (0, 0, 70), 20 + 70, pages=1),
    Row("stable_size", (), 0),
    Row("stable_write", (0, 0, 70), 20 + 70 + PAGE),
    Row("subnet_self_copy", (0, 0, 0), 500),
    Row("subnet_self_node_count", (), 500),
    Row("subnet_self_size", (), 500),
    Row("time", (), 500),
    Row("trap", (65, 4), 500 + 4 + (2 + 50) * 4),
]
COUNTED = {
    *("canister_cycle_balance", "canister_cycle_balance128", "canister_liquid_cycle_balance128"),
    *("canister_self_copy", "canister_self_size", "canister_status", "canister_version"),
    *("certified_data_set", "data_certificate_copy", "data_certificate_present"),
    *("data_certificate_size", "debug_print", "env_var_count", "env_var_name_exists"),
    *("global_timer_set", "in_replicated_execution", "is_controller", "msg_arg_data_copy"),
    *("msg_arg_data_size", "msg_caller_copy", "msg_caller_size", "msg_cycles_accept"),
    *("msg_cycles_accept128", "msg_cycles_available", "msg_cycles_available128", "msg_deadline"),
    *("msg_reply_data_append", "performance_counter", "root_key_copy", "root_key_size"),
    *("stable64_grow", "stable64_read", "stable64_size", "stable64_write", "stable_grow"),
    *("stable_read", "stable_size", "stable_write", "subnet_self_copy", "subnet_self_size", "time"),
}
"""Calls that go on in a plain update or query."""


def run(folder: Path, body: str, *calls: str, kind: str = "update") -> Execution:
    entry = "canister_inspect_message" if kind == "inspect" else f"canister_{kind} m"
    init = '(func (export "canister_init") (drop (call $stable64_grow (i64.const 3))))'
    wasm = build(
        f"""(memory 40) (data (i32.const 64) "\\04boss") {init}
        (func (export "{entry}") {body})""",
        *{*calls, "stable64_grow"},
    )
    env = replace(ENVIRONMENT, data_certificate=None if kind == "update" else b"certificate")
    with machine(folder, wasm, metering=METERING) as made:
        if kind == "update":
            return made.update("m", ARGUMENT, env, sequence=2)
        if kind == "inspect":
            return made.inspect("m", ARGUMENT, env)
        return made.query("m", ARGUMENT, env)


def test_every_system_call_has_its_row() -> None:
    assert [row.call for row in ROWS] == sorted(ic0.CALLS)


@pytest.mark.parametrize("row", ROWS, ids=[row.call for row in ROWS])
def test_a_system_call_costs_what_the_ic_charges(tmp_path: Path, row: Row) -> None:
    done = run(tmp_path, row.body, row.call, kind=row.kind)
    assert done.instructions == row.around + row.price + PAGE * row.pages


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.call in COUNTED], ids=lambda row: row.call
)
def test_the_performance_counter_tells_what_a_system_call_costs(tmp_path: Path, row: Row) -> None:
    counter = "(call $performance_counter (i32.const 0))"
    body = f"""(local i64) (local.set 0 {counter}) {row.body}
    (i64.store (i32.const 8192) (i64.sub {counter} (local.get 0)))
    (call $msg_reply_data_append (i32.const 8192) (i32.const 8)) (call $msg_reply)"""
    calls = ("performance_counter", "msg_reply", "msg_reply_data_append")
    done = run(tmp_path, body, row.call, *calls, kind=row.kind)
    assert done.reply is not None
    assert int.from_bytes(done.reply[-8:], "little") == row.price + COUNTER


@pytest.mark.parametrize(
    ("offset", "size", "pages"),
    [(0, 1, 1), (4095, 1, 1), (4095, 2, 2), (0, 4096, 1), (0, 4097, 2), (100, 100_000, 25)],
)
def test_a_stable_write_costs_its_bytes_and_the_pages_it_dirties_first(
    tmp_path: Path, offset: int, size: int, pages: int
) -> None:
    write = f"(call $stable64_write (i64.const {offset}) (i64.const 0) (i64.const {size}))"
    body = f"(drop (call $stable64_grow (i64.const 3))) {write}"
    base = ENTRY + (1 + CALL + 100 + 1)
    once = base + 3 + CALL + 20 + size + 1_000 * pages
    calls = ("stable64_grow", "stable64_write")
    assert run(tmp_path / "a", body, *calls).instructions == once
    twice = run(tmp_path / "b", body + write, *calls).instructions
    assert twice == once + 3 + CALL + 20 + size


def test_a_stable_read_costs_its_bytes(tmp_path: Path) -> None:
    body = """(drop (call $stable64_grow (i64.const 1)))
    (call $stable64_read (i64.const 8192) (i64.const 0) (i64.const 5000))"""
    done = run(tmp_path, body, "stable64_grow", "stable64_read")
    assert done.instructions == ENTRY + (1 + CALL + 100 + 1) + 3 + CALL + 20 + 5000


def test_the_performance_counter_counts_itself_and_its_block(tmp_path: Path) -> None:
    body = """(i64.store (i32.const 0) (call $performance_counter (i32.const 1)))
    (call $msg_reply_data_append (i32.const 0) (i32.const 8)) (call $msg_reply)"""
    done = run(tmp_path, body, "performance_counter", "msg_reply_data_append", "msg_reply")
    block = ENTRY + (1 + 1 + CALL + 1) + (2 + CALL) + CALL
    assert done.reply is not None
    assert int.from_bytes(done.reply, "little") == block + 200
    assert done.instructions == block + 200 + (500 + 400) + 500 + PAGE


def test_a_log_line_pays_for_what_the_log_keeps_and_for_what_fits_beside_the_others() -> None:
    room = LogRoom()
    assert room.price(5_000) == 2 * 4_096 + 50 * 4_096
    assert (room.price(1_000), room.add(1_000)) == (52 * 1_000, 1_000)
    assert room.price(4_000) == 2 * 4_000 + 50 * (4_096 - 1_040)
    assert (room.add(4_000), room.price(100)) == (4_000, 2 * 100 + 50 * 56)
    assert (room.add(9_000), room.price(100)) == (4_056, 2 * 100)


def test_printing_pays_for_the_log_and_never_traps(tmp_path: Path) -> None:
    lines = "(call $debug_print (i32.const 0) (i32.const 2000))" * 3
    body = f"{lines} (call $debug_print (i32.const 9000000) (i32.const 9)) (call $msg_reply)"
    done = run(tmp_path, body, "debug_print", "msg_reply")
    room = 4_096 - 2 * (2_000 + 40)
    lines_price = 2 * 2_000 * 3 + 50 * (2_000 + 2_000 + room)
    last_price = 2 * 9 + 50 * 9
    assert len(done.logs) == 4
    assert done.logs[-1] == "(debug_print message out of memory bounds)"
    assert done.instructions == ENTRY + 4 * (2 + CALL + 100) + lines_price + last_price + CALL + 500


@pytest.mark.parametrize(
    ("body", "pages"),
    [
        ("(i32.store (i32.const 0) (i32.const 0))", 0),
        ("(i32.store (i32.const 0) (i32.const 7))", 1),
        ("(i32.store (i32.const 0) (i32.const 7)) (i32.store (i32.const 4095) (i32.const -1))", 2),
        ("(memory.fill (i32.const 4000) (i32.const 1) (i32.const 100000))", 26),
        ("(i32.store (i32.const 0) (i32.const 7)) (i32.store (i32.const 0) (i32.const 0))", 0),
        ("(drop (memory.grow (i32.const 2))) (i32.store (i32.const 2700000) (i32.const 7))", 1),
        ("(i32.store (i32.const 0) (i32.const 7)) (unreachable)", 1),
        ("(drop (memory.grow (i32.const 1))) (i32.store (i32.const 0) (i32.const 7)) (nop)", 1),
    ],
)
def test_a_message_pays_for_each_page_of_the_heap_whose_content_it_changed(
    tmp_path: Path, body: str, pages: int
) -> None:
    update = run(tmp_path / "update", body).instructions
    query = run(tmp_path / "query", body, kind="query").instructions
    assert update - query == PAGE * pages


def test_a_page_of_a_64_bit_heap_costs_four_times_as_much(tmp_path: Path) -> None:
    wasm = build(
        """(memory i64 1) (func (export "canister_update m")
        (i32.store (i64.const 0) (i32.const 7)) (i32.store (i64.const 8192) (i32.const 7)))"""
    )
    with machine(tmp_path, wasm, metering=METERING) as made:
        done = made.update("m", b"", ENVIRONMENT, sequence=2)
    assert done.instructions == ENTRY + 2 * (1 + 1 + 2) + 4 * PAGE * 2


def test_an_installation_pays_for_pages_that_its_code_changed_and_not_for_its_data(
    tmp_path: Path,
) -> None:
    frame = """(memory 4) (data (i32.const 0) "\\01") (data (i32.const 100000) "\\01")
    (func $s {start}) (start $s) (func (export "canister_init") {init})"""
    write = "(i32.store (i32.const 0) (i32.const 9))"
    idle = "(drop (i32.const 0)) (drop (i32.const 9))"
    counted = []
    for name, start, init in (("a", idle, idle), ("b", write, write), ("c", write, idle)):
        wasm = build(frame.format(start=start, init=init))
        with machine(tmp_path / name, metering=METERING) as made:
            counted.append(made.install(wasm, b"", ENVIRONMENT, sequence=1).instructions)
    # Start function and init are charged apart; the second finds nothing left to change.
    assert counted[1] - counted[2] == -6_000 - 1
    assert counted[2] - counted[0] == PAGE - 6_000 - 1


def test_a_message_that_changes_more_pages_than_it_has_instructions_pays_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MessageKind.UPDATE, "limit", 4_500)
    done = run(tmp_path, "(memory.fill (i32.const 0) (i32.const 1) (i32.const 4097))")
    assert done.instructions == 4_500
    assert done.reject is not None
    assert done.reject.error_code == "IC0506"
