"""Memory prices under metering version 2026-07; every count is calculated by hand.

A message pays 80,000 instructions for each Wasm page of 64 KiB that it accesses for the first time
and 80,000 more for each that it writes for the first time, in the heap and in stable memory.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from datanode.localnet.machine.execution import MessageKind
from datanode.localnet.machine.machine import Execution
from datanode.localnet.machine.outgoing import CallbackClosure, IncomingCall
from tests.datanode.localnet.wasm_canisters import ENVIRONMENT, build, machine

METERING = "2026-07"
ENTRY, CALL, DROP, ACCESS, WRITE = 1, 5, 1, 80_000, 80_000
PAGE = 65_536
LAST = 40 * PAGE
"""End of the heap of the canisters here."""


class Case(NamedTuple):
    """A body, what its operators and calls cost, and the pages that it accesses and writes."""

    body: str
    base: int
    accesses: int
    writes: int
    calls: tuple[str, ...] = ()
    kind: str = "update"

    @property
    def expected(self) -> int:
        return ENTRY + self.base + ACCESS * self.accesses + WRITE * self.writes


def load(at: int, kind: str = "i64.load", offset: int = 0) -> str:
    return f"(drop ({kind} offset={offset} (i32.const {at})))"


def store(at: int, offset: int = 0) -> str:
    return f"(i64.store offset={offset} (i32.const {at}) (i64.const 7))"


def call(name: str, *arguments: int) -> str:
    types = "i64" if name.startswith("stable64") else "i32"
    return f"(call ${name} {''.join(f'({types}.const {each})' for each in arguments)})"


LOAD, STORE, BULK = 3, 3, 3 + 100
HEAP = {
    "nothing": Case("", 0, 0, 0),
    "a load": Case(load(0), LOAD, 1, 0),
    "a store": Case(store(0), STORE, 1, 1),
    "two loads of a page": Case(load(0) + load(9_000), 2 * LOAD, 1, 0),
    "two stores to a page": Case(store(0) + store(9_000), 2 * STORE, 1, 1),
    "a load, then a store": Case(load(0) + store(9_000), LOAD + STORE, 1, 1),
    "a store, then a load": Case(store(0) + load(9_000), LOAD + STORE, 1, 1),
    "a store of what is there": Case("(i64.store (i32.const 0) (i64.const 0))", STORE, 1, 1),
    "loads of two pages": Case(load(0) + load(PAGE), 2 * LOAD, 2, 0),
    "stores to two pages": Case(store(0) + store(PAGE), 2 * STORE, 2, 2),
    "a load of one, a store to another": Case(load(0) + store(PAGE), LOAD + STORE, 2, 1),
    "the last bytes of a page": Case(load(PAGE - 8), LOAD, 1, 0),
    "a load across two pages": Case(load(PAGE - 7), LOAD, 2, 0),
    "a load across by its last byte": Case(load(PAGE - 1), LOAD, 2, 0),
    "a store across two pages": Case(store(PAGE - 7), STORE, 2, 2),
    "a load across, then a store to one": Case(load(PAGE - 1) + store(0), 2 * STORE, 2, 1),
    "a byte at the end of a page": Case(load(PAGE - 1, "i32.load8_u"), LOAD, 1, 0),
    "two bytes across": Case(load(PAGE - 1, "i32.load16_s"), LOAD, 2, 0),
    "four bytes across": Case(load(PAGE - 3, "f32.load"), LOAD, 2, 0),
    "four bytes within": Case(load(PAGE - 4, "i64.load32_u"), LOAD, 1, 0),
    "a vector across": Case(load(PAGE - 15, "v128.load"), LOAD, 2, 0),
    "a vector within": Case(load(PAGE - 16, "v128.load"), LOAD, 1, 0),
    "eight widened bytes across": Case(load(PAGE - 7, "v128.load8x8_u"), LOAD, 2, 0),
    "a splat of a byte": Case(load(PAGE - 1, "v128.load8_splat"), LOAD, 1, 0),
    "an offset into another page": Case(load(PAGE - 8, offset=8), LOAD, 1, 0),
    "an offset across two pages": Case(load(5, offset=PAGE - 8), LOAD, 2, 0),
    "a store by an offset": Case(store(0, offset=3 * PAGE) + store(3 * PAGE), 2 * STORE, 1, 1),
    "a lane of a vector stored": Case(
        f"(v128.store8_lane 3 (i32.const {PAGE - 1}) (v128.const i64x2 1 2))", 3, 1, 1
    ),
    "a lane of a vector loaded": Case(
        f"(drop (v128.load64_lane 1 (i32.const {PAGE - 1}) (v128.const i64x2 1 2)))", 4, 2, 0
    ),
    "a loop over one page": Case(
        "(local i32) (local.set 0 (i32.const 4096)) (loop (drop (i32.load (local.get 0)))"
        "(br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 4)))))",
        2 + 1_024 * (3 + 4 + 2),
        1,
        0,
    ),
    "a new page that is not used": Case("(drop (memory.grow (i32.const 1)))", 302, 0, 0),
    "a new page that is written": Case(
        f"(drop (memory.grow (i32.const 1))) {store(LAST)}", 302 + STORE, 1, 1
    ),
    "fill within a page": Case(
        "(memory.fill (i32.const 9) (i32.const 1) (i32.const 500))", BULK + 500, 1, 1
    ),
    "fill of nothing": Case("(memory.fill (i32.const 9) (i32.const 1) (i32.const 0))", BULK, 0, 0),
    "fill of three pages": Case(
        f"(memory.fill (i32.const {PAGE - 1}) (i32.const 1) (i32.const {PAGE + 2}))",
        BULK + PAGE + 2,
        3,
        3,
    ),
    "fill of what is accessed": Case(
        load(0) + "(memory.fill (i32.const 9) (i32.const 1) (i32.const 5))", LOAD + BULK + 5, 1, 1
    ),
    "copy within a page": Case(
        "(memory.copy (i32.const 0) (i32.const 90) (i32.const 50))", BULK + 50, 1, 1
    ),
    "copy to another page": Case(
        f"(memory.copy (i32.const 0) (i32.const {PAGE}) (i32.const 50))", BULK + 50, 2, 1
    ),
    "copy of two pages to two": Case(
        f"(memory.copy (i32.const 0) (i32.const {4 * PAGE}) (i32.const {2 * PAGE}))",
        BULK + 2 * PAGE,
        4,
        2,
    ),
    "copy that overlaps": Case(
        f"(memory.copy (i32.const 1) (i32.const 0) (i32.const {PAGE}))", BULK + PAGE, 2, 2
    ),
    "init of a segment": Case(
        "(memory.init $d (i32.const 0) (i32.const 2) (i32.const 7))", BULK + 7, 1, 1
    ),
}
STABLE = {
    "a read": Case(call("stable64_read", 0, 0, 8), 3 + CALL + 28, 2, 1),
    "a write": Case(call("stable64_write", 0, 0, 8), 3 + CALL + 28, 2, 1),
    "a read of nothing": Case(call("stable64_read", 0, 0, 0), 3 + CALL + 20, 0, 0),
    "two reads of a page": Case(
        call("stable64_read", 0, 0, 8) + call("stable64_read", 8, 90, 8), 2 * (3 + CALL + 28), 2, 1
    ),
    "two writes to a page": Case(
        call("stable64_write", 0, 0, 8) + call("stable64_write", 90, 8, 8),
        2 * (3 + CALL + 28),
        2,
        1,
    ),
    "a read, then a write": Case(
        call("stable64_read", 0, 0, 8) + call("stable64_write", 0, 0, 8), 2 * (3 + CALL + 28), 2, 2
    ),
    "a read across two pages": Case(call("stable64_read", 0, PAGE - 4, 8), 3 + CALL + 28, 3, 1),
    "a write across two pages": Case(call("stable64_write", PAGE - 4, 0, 8), 3 + CALL + 28, 3, 2),
    "a write of two pages from three": Case(
        call("stable64_write", 0, PAGE - 1, 2 * PAGE), 3 + CALL + 20 + 2 * PAGE, 5, 2
    ),
    "the older calls": Case(
        call("stable_write", 0, 0, 8) + call("stable_read", 0, PAGE, 8), 2 * (3 + CALL + 28), 3, 2
    ),
}
TEXT, NAME = (65, 4), (80, 4)
"""Where the data segment has the word "boss", and where it has the name of a variable."""
NEW = call("call_new", 3 * PAGE, 10, 4 * PAGE, 4, 0, 0, 0, 0)
NEW_BASE = 8 + CALL + 1_500 + 10 + 4
COPIES = {
    "call_data_append": Case(
        NEW + call("call_data_append", *TEXT), NEW_BASE + 2 + CALL + 700, 3, 0
    ),
    "call_new": Case(NEW, NEW_BASE, 2, 0),
    "canister_cycle_balance128": Case(call("canister_cycle_balance128", 0), 1 + CALL + 500, 1, 1),
    "canister_liquid_cycle_balance128": Case(
        call("canister_liquid_cycle_balance128", PAGE - 1), 1 + CALL + 500, 2, 2
    ),
    "canister_self_copy": Case(call("canister_self_copy", 0, 0, 10), 3 + CALL + 510, 1, 1),
    "certified_data_set": Case(call("certified_data_set", PAGE - 1, 32), 2 + CALL + 532, 2, 0),
    "cost_call": Case("(call $cost_call (i64.const 5) (i64.const 9) (i32.const 0))", 508, 1, 1),
    "cost_create_canister": Case(call("cost_create_canister", 0), 1 + CALL + 500, 1, 1),
    "cost_http_request": Case(
        "(call $cost_http_request (i64.const 5) (i64.const 9) (i32.const 0))", 508, 1, 1
    ),
    "cost_sign_with_ecdsa": Case(
        f"(drop {call('cost_sign_with_ecdsa', *TEXT, 0, 0)})", 4 + CALL + 504 + DROP, 1, 0
    ),
    "cost_sign_with_schnorr": Case(
        f"(drop {call('cost_sign_with_schnorr', *TEXT, 0, 0)})", 4 + CALL + 504 + DROP, 1, 0
    ),
    "cost_vetkd_derive_key": Case(
        f"(drop {call('cost_vetkd_derive_key', *TEXT, 0, 0)})", 4 + CALL + 504 + DROP, 1, 0
    ),
    "cycles_burn128": Case(
        "(call $cycles_burn128 (i64.const 0) (i64.const 9) (i32.const 0))", 508, 1, 1
    ),
    "data_certificate_copy": Case(
        call("data_certificate_copy", 0, 0, 4), 3 + CALL + 504, 1, 0, kind="query"
    ),
    "debug_print": Case(call("debug_print", *TEXT), 2 + CALL + 100 + 52 * 4, 1, 0),
    "env_var_name_copy": Case(call("env_var_name_copy", 0, 0, 0, 4), 4 + CALL + 504, 1, 1),
    "env_var_name_exists": Case(
        f"(drop {call('env_var_name_exists', *NAME)})", 2 + CALL + 500 + DROP, 1, 0
    ),
    "env_var_value_copy": Case(call("env_var_value_copy", *NAME, PAGE, 0, 5), 5 + CALL + 505, 2, 1),
    "env_var_value_size": Case(
        f"(drop {call('env_var_value_size', *NAME)})", 2 + CALL + 500 + DROP, 1, 0
    ),
    "is_controller": Case(f"(drop {call('is_controller', *TEXT)})", 2 + CALL + 1_004 + DROP, 1, 0),
    "msg_arg_data_copy": Case(call("msg_arg_data_copy", PAGE - 2, 1, 3), 3 + CALL + 503, 2, 2),
    "msg_caller_copy": Case(call("msg_caller_copy", 0, 0, 1), 3 + CALL + 501, 1, 1),
    "msg_cycles_accept128": Case(
        "(call $msg_cycles_accept128 (i64.const 0) (i64.const 9) (i32.const 0))", 508, 1, 1
    ),
    "msg_cycles_available128": Case(call("msg_cycles_available128", 0), 1 + CALL + 500, 1, 1),
    "msg_method_name_copy": Case(
        call("msg_method_name_copy", 0, 0, 1), 3 + CALL + 501, 1, 0, kind="inspect"
    ),
    "msg_reject": Case(call("msg_reject", *TEXT), 2 + CALL + 700, 1, 0),
    "msg_reply_data_append": Case(call("msg_reply_data_append", PAGE - 1, 2), 2 + CALL + 600, 2, 0),
    "root_key_copy": Case(call("root_key_copy", 0, 0, 3), 3 + CALL + 503, 1, 1),
    "subnet_self_copy": Case(call("subnet_self_copy", 0, 0, 3), 3 + CALL + 503, 1, 1),
    "trap": Case(call("trap", *TEXT), 2 + CALL + 504 + 52 * 4, 1, 0),
}
TRAPS = {
    "after a load": Case(load(0) + "unreachable", LOAD + 1, 1, 0),
    "between two accesses": Case(load(0) + "unreachable" + load(PAGE), LOAD + 1, 1, 0),
    "by a load out of bounds": Case(store(0) + load(LAST), STORE + LOAD, 1, 1),
    "by a load that leaves the heap": Case(load(LAST - 4), LOAD, 0, 0),
    "by a store that leaves the heap": Case(store(LAST - 4), STORE, 0, 0),
    "by the greatest address": Case(load(-1, offset=(1 << 32) - 1), LOAD, 0, 0),
    "by a fill that leaves the heap": Case(
        f"(memory.fill (i32.const {LAST - 4}) (i32.const 0) (i32.const 5))", BULK + 5, 0, 0
    ),
    "by a copy that leaves the heap": Case(
        f"(memory.copy (i32.const 0) (i32.const {LAST - 4}) (i32.const 5))", BULK + 5, 0, 0
    ),
    "by an init beyond its segment": Case(
        "(memory.init $d (i32.const 0) (i32.const 9) (i32.const 7))", BULK + 7, 0, 0
    ),
    "by a system call out of bounds": Case(
        store(0) + call("msg_arg_data_copy", LAST, 0, 3), STORE + 3 + CALL + 503, 1, 1
    ),
    "by a stable read beyond its end": Case(
        call("stable64_read", 0, 3 * PAGE, 1), 3 + CALL + 21, 0, 0
    ),
    "before a store of the same block": Case(
        load(0) + "(drop (i32.div_u (i32.const 1) (i32.const 0)))" + store(0),
        LOAD + 2 + 10 + 1 + STORE,
        1,
        0,
    ),
}
CALLS = (
    *(name for name in COPIES),
    *("stable64_grow", "stable64_read", "stable64_write", "stable_read", "stable_write"),
)
ENV = replace(
    ENVIRONMENT,
    subnet=b"subnet",
    root_key=b"key",
    variables=(("NAME", "value"),),
    data_certificate=b"certificate",
)


def named(*tables: dict[str, Case]) -> list[object]:
    return [pytest.param(case, id=name) for table in tables for name, case in table.items()]


def wasm(body: str, entry: str, memory: str = "(memory 40)") -> bytes:
    return build(
        f"""{memory} (data (i32.const 64) "\\04boss") (data (i32.const 80) "NAME")
        (data $d "0123456789")
        (func (export "canister_init") (drop (call $stable64_grow (i64.const 3))))
        (func (export "{entry}") {body})""",
        *dict.fromkeys(CALLS),
    )


def run(folder: Path, body: str, kind: str = "update") -> Execution:
    entry = "canister_inspect_message" if kind == "inspect" else f"canister_{kind} m"
    with machine(folder, wasm(body, entry), metering=METERING) as made:
        if kind == "update":
            return made.update("m", b"argument", replace(ENV, data_certificate=None), sequence=2)
        if kind == "inspect":
            return made.inspect("m", b"argument", ENV)
        return made.query("m", b"argument", ENV)


@pytest.mark.parametrize("case", named(HEAP, STABLE, COPIES, TRAPS))
def test_message_pays_for_each_page_it_accesses_and_writes(tmp_path: Path, case: Case) -> None:
    assert run(tmp_path, case.body, case.kind).instructions == case.expected


@pytest.mark.parametrize("case", named(HEAP, STABLE))
def test_query_pays_for_accesses_only(tmp_path: Path, case: Case) -> None:
    done = run(tmp_path, case.body, "query")
    assert done.instructions == case.expected - WRITE * case.writes


def test_query_methods_in_replicated_execution_pay_for_accesses_only(tmp_path: Path) -> None:
    with machine(tmp_path, wasm(store(0), "canister_query m"), metering=METERING) as made:
        done = made.update("m", b"", ENV, sequence=2)
    assert done.instructions == ENTRY + STORE + ACCESS


def test_each_message_pays_anew(tmp_path: Path) -> None:
    with machine(tmp_path, wasm(store(0), "canister_update m"), metering=METERING) as made:
        counts = []
        for sequence in range(2, 5):
            counts.append(made.update("m", b"", ENV, sequence=sequence).instructions)
            made.commit()
    assert counts == 3 * [ENTRY + STORE + ACCESS + WRITE]


def test_message_pays_again_after_one_that_was_undone(tmp_path: Path) -> None:
    body = store(0) + "unreachable"
    with machine(tmp_path, wasm(body, "canister_update m"), metering=METERING) as made:
        counts = [made.update("m", b"", ENV, sequence=2).instructions for _ in range(2)]
    assert counts == 2 * [ENTRY + STORE + 1 + ACCESS + WRITE]


@pytest.mark.parametrize("body", [store(0), "(i64.store (i32.const 0) (i64.load (i32.const 8)))"])
def test_performance_counter_shows_pages_at_once(tmp_path: Path, body: str) -> None:
    counter = "(call $performance_counter (i32.const 0))"
    text = f"""(memory 40) (global $before (mut i64) (i64.const 0))
    (func (export "canister_update m") (global.set $before {counter}) {body}
      (i64.store (i32.const 8) (i64.sub {counter} (global.get $before)))
      (call $msg_reply_data_append (i32.const 8) (i32.const 8)) (call $msg_reply))"""
    module = build(text, "performance_counter", "msg_reply", "msg_reply_data_append")
    with machine(tmp_path, module, metering=METERING) as made:
        done = made.update("m", b"", ENV, sequence=2)
    assert done.reply is not None
    assert int.from_bytes(done.reply, "little") == 200 + ACCESS + WRITE


def test_load_stops_a_message_that_cannot_pay_for_its_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MessageKind.UPDATE, "limit", ACCESS + 100)
    assert run(tmp_path / "one", load(0)).reject is not None
    done = run(tmp_path / "two", load(0) + load(PAGE))
    assert done.instructions == ACCESS + 100
    assert done.reject is not None
    assert done.reject.error_code == "IC0522"


@pytest.mark.parametrize(
    "body",
    [
        store(PAGE),
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 70000))",
        call("stable64_read", 0, 0, 9),
        call("msg_arg_data_copy", 0, 0, 8),
    ],
)
def test_message_that_cannot_pay_for_a_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    module = build(
        f"""(memory 40)
        (func (export "canister_init") (drop (call $stable64_grow (i64.const 3))))
        (func (export "canister_update m") {body})
        (func (export "canister_query read")
          (call $msg_reply_data_append (i32.const 0) (i32.const 2000000)) (call $msg_reply))""",
        *("msg_arg_data_copy", "msg_reply", "msg_reply_data_append"),
        *("stable64_grow", "stable64_read"),
    )
    with machine(tmp_path, module, metering=METERING) as made:
        monkeypatch.setattr(MessageKind.UPDATE, "limit", 80_000)
        done = made.update("m", b"argument", ENV, sequence=2)
        assert done.reject is not None
        assert done.reject.error_code == "IC0522"
        assert made.query("read", b"", ENV).reply == bytes(2_000_000)


WIDE = {
    "a load": Case("(drop (i64.load (i64.const 0)))", 1 + 2 + 1, 1, 0),
    "a store across": Case(f"(i64.store (i64.const {PAGE - 1}) (i64.const 7))", 2 + 2, 2, 2),
    "a store in the last page": Case("(i64.store (i64.const 65528) (i64.const 7))", 2 + 2, 1, 1),
    "a fill": Case("(memory.fill (i64.const 0) (i32.const 1) (i64.const 5))", BULK + 5, 1, 1),
    "a copy": Case(f"(memory.copy (i64.const 0) (i64.const {PAGE}) (i64.const 5))", BULK + 5, 2, 1),
    "an init": Case("(memory.init $d (i64.const 0) (i32.const 0) (i32.const 5))", BULK + 5, 1, 1),
    "the greatest address": Case("(drop (i64.load offset=16 (i64.const -8)))", 1 + 2 + 1, 0, 0),
    "the greatest offset": Case(
        "(drop (i64.load offset=0xffffffffffffffff (i64.const 9)))", 1 + 2 + 1, 0, 0
    ),
    "beyond the heap": Case("(drop (i64.load (i64.const 0x180000000)))", 1 + 2 + 1, 0, 0),
    "far beyond the heap": Case("(drop (i64.load (i64.const 0x1000000000000)))", 1 + 2 + 1, 0, 0),
}


@pytest.mark.parametrize("case", named(WIDE))
def test_pages_of_a_64_bit_heap_cost_the_same(tmp_path: Path, case: Case) -> None:
    module = build(
        f"""(memory i64 40) (data $d "0123456789")
        (func (export "canister_update m") {case.body})"""
    )
    with machine(tmp_path, module, metering=METERING) as made:
        done = made.update("m", b"", ENVIRONMENT, sequence=2)
    assert done.instructions == case.expected


def test_installation_pays_for_pages_of_start_and_init_apart_and_not_for_its_data(
    tmp_path: Path,
) -> None:
    frame = """(memory 4) (data (i32.const 0) "\\01") (data (i32.const 100000) "\\01")
    (func $s {start}) (start $s) (func (export "canister_init") {init})"""
    write, idle = "(i32.store (i32.const 0) (i32.const 9))", "(drop (i32.const 0)) (nop)"
    counted = []
    for name, start, init in (("a", idle, idle), ("b", write, idle), ("c", write, write)):
        with machine(tmp_path / name, metering=METERING) as made:
            module = build(frame.format(start=start, init=init))
            counted.append(made.install(module, b"", ENVIRONMENT, sequence=1).instructions)
    assert counted[1] - counted[0] == ACCESS + WRITE
    assert counted[2] - counted[1] == ACCESS + WRITE


def test_reject_callback_pays_for_the_copy_of_the_message(tmp_path: Path) -> None:
    module = build(
        """(memory 1) (table 1 funcref) (elem (i32.const 0) $rejected)
        (func $rejected (param i32)
          (call $msg_reject_msg_copy (i32.const 0) (i32.const 0) (i32.const 3)))""",
        "msg_reject_msg_copy",
    )
    incoming = IncomingCall(reject_code=4, reject_message=b"why")
    with machine(tmp_path, module, metering=METERING) as made:
        env = replace(ENV, incoming=incoming)
        done = made.respond(CallbackClosure(0, 0), b"", env, cleanup=None, sequence=2)
    assert done.instructions == ENTRY + 3 + CALL + 503 + ACCESS + WRITE


def test_changing_the_metering_version_changes_the_next_message(tmp_path: Path) -> None:
    counted = []
    with machine(tmp_path, wasm(store(0), "canister_update m"), metering=METERING):
        pass
    for version in ("2026-06", "2026-07"):
        with machine(tmp_path, committed=1, metering=version) as made:
            counted.append(made.update("m", b"", ENV, sequence=2).instructions)
    assert counted == [ENTRY + STORE + 1_000, ENTRY + STORE + ACCESS + WRITE]
