"""Counts are by hand, from the IC's price list: nothing here is read from the program's tables."""

from pathlib import Path

import pytest
import wasmtime

from datanode.localnet.machine import engine, instrument
from datanode.localnet.machine.instrument import COUNTER, GROWTH, Instrumented
from datanode.localnet.machine.wasm_module import WasmError

BUDGET = 1_000_000
V = "(v128.const i64x2 1 2)"
I = "(i32.const 2)"  # noqa: E741
L = "(i64.const 2)"
F = "(f32.const 2)"
D = "(f64.const 2)"


def binary(kind: str, *operators: str) -> list[str]:
    return [f"({kind}.{each} {OF[kind]} {OF[kind]})" for each in operators]


def unary(*operators: str) -> list[str]:
    """Operators named with their result; the operand's type is in the name, or the same."""
    found = []
    for each in operators:
        kind, _, operator = each.partition(".")
        of = next((OF[part] for part in operator.split("_") if part in OF), OF[kind])
        found.append(f"({each} {of})")
    return found


OF = {"i32": I, "i64": L, "f32": F, "f64": D}
INTEGERS, FLOATS = ("i32", "i64"), ("f32", "f64")
ORDER = ("lt_s", "lt_u", "gt_s", "gt_u", "le_s", "le_u", "ge_s", "ge_u")
SIGNED = ("s", "u")
SCALAR = {
    1: [
        *(
            code
            for kind in INTEGERS
            for code in (
                *binary(kind, "add", "sub", "mul", "and", "or", "xor", "shl", "shr_s", "shr_u"),
                *binary(kind, "rotl", "rotr", "eq", "ne", *ORDER),
                *unary(f"{kind}.eqz", f"{kind}.clz", f"{kind}.ctz", f"{kind}.popcnt"),
                *unary(f"{kind}.extend8_s", f"{kind}.extend16_s"),
                *(f"({kind}.load{bits}_{sign} {I})" for bits in (8, 16) for sign in SIGNED),
                f"({kind}.load {I})",
            )
        ),
        *unary("i32.wrap_i64", "i64.extend_i32_s", "i64.extend_i32_u", "i64.extend32_s"),
        *unary("i32.reinterpret_f32", "i64.reinterpret_f64"),
        *unary("f32.reinterpret_i32", "f64.reinterpret_i64"),
        *unary("f32.abs", "f32.neg", "f64.abs", "f64.neg", "f64.promote_f32", "f32.demote_f64"),
        *(f"(i64.load32_{sign} {I})" for sign in SIGNED),
        f"(f32.load {I})",
        f"(f64.load {I})",
        f"(select {I} {I} {I})",
        *(I, L, F, D),
        "(local.get 0)",
        "(ref.null func)",
    ],
    2: [
        *(code for kind in FLOATS for code in binary(kind, "add", "sub", "mul")),
        *(
            code
            for kind in FLOATS
            for operator in ("ceil", "floor", "trunc", "nearest")
            for code in unary(f"{kind}.{operator}")
        ),
        *binary("f32", "copysign"),
        "(global.get 0)",
    ],
    3: [
        *(code for kind in FLOATS for code in binary(kind, "eq", "ne", "lt", "gt", "le", "ge")),
        *binary("f32", "div"),
        *binary("f64", "copysign"),
        *unary(*(f"{to}.convert_{of}_s" for to in FLOATS for of in INTEGERS)),
    ],
    5: [*binary("f64", "div"), *unary("f32.sqrt"), f"(table.get {I})"],
    8: unary("f64.sqrt"),
    10: [code for kind in INTEGERS for code in binary(kind, "div_s", "div_u", "rem_s", "rem_u")],
    16: unary(*(f"{to}.convert_{of}_u" for to in FLOATS for of in INTEGERS)),
    18: [code for kind in FLOATS for code in binary(kind, "min", "max")],
    20: [
        *unary(
            *(
                f"{to}.{how}_{of}_{sign}"
                for how in ("trunc", "trunc_sat")
                for to in INTEGERS
                for of in FLOATS
                for sign in SIGNED
            )
        ),
        "(memory.size)",
    ],
    100: ["(table.size)"],
    130: ["(ref.func 0)"],
    300: [f"(memory.grow {I})"],
}
CASES = [(price, code) for price, codes in SCALAR.items() for code in codes]
FRAME = """(memory 1) (table 4 funcref) (global (mut i32) (i32.const 0)) (elem declare func 0)
(data $d "0123456789") (elem $e func 0 0)"""


def metered(body: str, extra: str = "") -> Instrumented:
    text = f'(module {FRAME} (func (export "run") (local i32) {body}) {extra})'
    return instrument.instrument(bytes(wasmtime.wat2wasm(text)), reads=True)


def count(body: str, extra: str = "") -> int:
    return spent(metered(body, extra))


def spent(instrumented: Instrumented) -> int:
    """Run the function `run` and return what it was charged."""
    store = wasmtime.Store(engine.engine())
    module = wasmtime.Module(engine.engine(), instrumented.module)
    exports = wasmtime.Instance(store, module, []).exports(store)
    counter, run = exports[COUNTER], exports["run"]
    assert isinstance(counter, wasmtime.Global)
    assert isinstance(run, wasmtime.Func)
    growth, i64 = exports[GROWTH], wasmtime.ValType.i64()
    assert isinstance(growth, wasmtime.Table)
    asked = wasmtime.FuncType([i64, i64], [wasmtime.ValType.i32()])
    growth.set(store, 0, wasmtime.Func(store, asked, lambda _before, _more: 0))
    counter.set_value(store, wasmtime.Val.i64(BUDGET))
    run(store)
    left = counter.value(store)
    assert isinstance(left, int)
    return BUDGET - left


@pytest.mark.parametrize(("price", "code"), CASES, ids=[code for _, code in CASES])
def test_an_operator_costs_what_the_ic_charges(price: int, code: str) -> None:
    entry, drop = 1, 1
    operands = code[1:].count("(")
    assert count(f"(drop {code})") == entry + operands + price + drop


def test_every_numeric_operator_is_counted() -> None:
    numeric = {code[1:].split()[0] for _, code in CASES if code[1:4] in OF}
    # 0x45 to 0xC4 and the eight of trunc_sat; loads and constants besides
    assert len([each for each in numeric if ".load" not in each and ".const" not in each]) == 136


@pytest.mark.parametrize(
    ("body", "extra", "expected"),
    [
        ("", "", 1),
        ("nop", "", 1 + 1),
        ("(local.set 0 (i32.const 1))", "", 1 + 2),
        ("(i32.const 1) (local.tee 0) (drop)", "", 1 + 3),
        ("(global.set 0 (i32.const 1))", "", 1 + 1 + 2),
        ("(i32.store (i32.const 0) (i32.const 1))", "", 1 + 3),
        (f"(v128.store (i32.const 0) {V})", "", 1 + 3),
        (f"(v128.store16_lane 3 (i32.const 0) {V})", "", 1 + 3),
        ("(return)", "", 1 + 1),
        ("(block (br 0) (nop))", "", 1 + 2),
        ("(block (br_if 0 (i32.const 1)) (nop) (nop))", "", 1 + 1 + 2),
        ("(block (br_if 0 (i32.const 0)) (nop) (nop))", "", 1 + 1 + 2 + 2),
        ("(block (block (br_table 0 1 (i32.const 1))) (nop))", "", 1 + 1 + 2),
        ("(block (block (br_table 0 1 (i32.const 0))) (nop))", "", 1 + 1 + 2 + 1),
        ("(if (i32.const 1) (then nop) (else nop nop))", "", 1 + 1 + 2 + 1),
        ("(if (i32.const 0) (then nop) (else nop nop))", "", 1 + 1 + 2 + 2),
        ("(call $f)", "(func $f nop)", 1 + 5 + 1 + 1),
        ("(return_call $f)", "(func $f nop)", 1 + 3 + 1 + 1),
        (
            "(table.set (i32.const 1) (ref.func $f)) (call_indirect (i32.const 1))",
            "(func $f nop)",
            1 + (1 + 130 + 5) + (1 + 10) + 1 + 1,
        ),
        (
            "(table.set (i32.const 1) (ref.func $f)) (return_call_indirect (i32.const 1))",
            "(func $f nop)",
            1 + (1 + 130 + 5) + (1 + 60) + 1 + 1,
        ),
        ("(drop (ref.is_null (ref.null func)))", "", 1 + 1 + 5 + 1),
        ("(memory.fill (i32.const 0) (i32.const 1) (i32.const 1000))", "", 1 + 3 + 100 + 1000),
        ("(memory.copy (i32.const 0) (i32.const 9) (i32.const 500))", "", 1 + 3 + 100 + 500),
        ("(memory.init $d (i32.const 0) (i32.const 0) (i32.const 7))", "", 1 + 3 + 100 + 7),
        ("(data.drop $d)", "", 1 + 300),
        ("(elem.drop $e)", "", 1 + 300),
        ("(table.init $e (i32.const 0) (i32.const 0) (i32.const 2))", "", 1 + 3 + 100 + 2),
        ("(table.copy (i32.const 0) (i32.const 1) (i32.const 3))", "", 1 + 3 + 100 + 3),
        ("(table.fill (i32.const 0) (ref.null func) (i32.const 4))", "", 1 + 3 + 100 + 4),
        ("(drop (table.grow (ref.null func) (i32.const 4)))", "", 1 + 2 + 300 + 1),
        # ten turns of: get 1, const 1, sub 1, tee 1, br_if 2
        (
            (
                "(local.set 0 (i32.const 10))"
                "(loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
            ),
            "",
            1 + 2 + 10 * (1 + 1 + 1 + 1 + 2),
        ),
        # five calls of a function that loops three times
        (
            (
                "(local.set 0 (i32.const 5)) (loop (call $g)"
                "(br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))"
            ),
            (
                "(func $g (local i64) (local.set 0 (i64.const 3)) (loop (br_if 0 (i32.wrap_i64"
                " (local.tee 0 (i64.sub (local.get 0) (i64.const 1)))))))"
            ),
            1 + 2 + 5 * (5 + (1 + 2 + 3 * (1 + 1 + 1 + 1 + 1 + 2)) + 1 + 1 + 1 + 1 + 2),
        ),
    ],
)
def test_control_flow_and_bulk_operations_cost_what_they_execute(
    body: str, extra: str, expected: int
) -> None:
    declare = "(elem declare func $f)" if "ref.func $f" in body else ""
    assert count(body, extra + declare) == expected


def test_code_after_a_branch_is_not_charged() -> None:
    assert count("(block (br 0) (drop (i32.const 1)))") == 1 + 2


def test_loads_and_stores_of_a_64_bit_memory_cost_two() -> None:
    text = """(module (memory i64 1) (func (export "run")
      (i32.store (i64.const 0) (i32.load (i64.const 8)))
      (v128.store (i64.const 0) (v128.load (i64.const 16)))
      (memory.fill (i64.const 0) (i32.const 1) (i64.const 1000))))"""
    instrumented = instrument.instrument(bytes(wasmtime.wat2wasm(text)), reads=True)
    assert spent(instrumented) == 1 + (2 + 2 + 2) + (2 + 2 + 2) + 3 + 100 + 1000


def test_a_function_stops_when_the_counter_falls_below_zero() -> None:
    store = wasmtime.Store(engine.engine())
    module = wasmtime.Module(engine.engine(), metered("(loop (br 0))").module)
    exports = wasmtime.Instance(store, module, []).exports(store)
    counter, run = exports[COUNTER], exports["run"]
    assert isinstance(counter, wasmtime.Global)
    assert isinstance(run, wasmtime.Func)
    counter.set_value(store, wasmtime.Val.i64(100))
    with pytest.raises(wasmtime.Trap, match="unreachable"):
        run(store)
    assert -3 < int(str(counter.value(store))) < 0


def test_a_bulk_operation_larger_than_the_counter_stops_before_it_runs() -> None:
    store = wasmtime.Store(engine.engine())
    body = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 60000))"
    module = wasmtime.Module(engine.engine(), metered(body).module)
    exports = wasmtime.Instance(store, module, []).exports(store)
    counter, run = exports[COUNTER], exports["run"]
    memory = exports[instrument.MEMORY]
    assert isinstance(counter, wasmtime.Global)
    assert isinstance(run, wasmtime.Func)
    assert isinstance(memory, wasmtime.Memory)
    counter.set_value(store, wasmtime.Val.i64(50_000))
    with pytest.raises(wasmtime.Trap, match="unreachable"):
        run(store)
    assert memory.read(store, 0, 4) == bytes(4)


def test_the_start_function_becomes_an_export_and_does_not_run_by_itself() -> None:
    text = """(module (memory 1) (func $s (i32.store (i32.const 0) (i32.const 9))) (start $s))"""
    store = wasmtime.Store(engine.engine())
    made = instrument.instrument(bytes(wasmtime.wat2wasm(text)), reads=True)
    module = wasmtime.Module(engine.engine(), made.module)
    exports = wasmtime.Instance(store, module, []).exports(store)
    memory = exports[instrument.MEMORY]
    assert isinstance(memory, wasmtime.Memory)
    assert memory.read(store, 0, 4) == bytes(4)
    assert isinstance(exports[instrument.START], wasmtime.Func)


def test_only_mutable_globals_are_exported() -> None:
    text = "(module (global i32 (i32.const 1)) (global (mut v128) (v128.const i64x2 1 2)))"
    made = instrument.instrument(bytes(wasmtime.wat2wasm(text)), reads=True)
    exported = [each.name for each in wasmtime.Module(engine.engine(), made.module).exports]
    assert exported == [
        COUNTER,
        "datanode access price",
        "datanode write price",
        "datanode slice limit",
        "datanode overrun",
        "datanode global 1",
        GROWTH,
    ]


def test_tables_and_segments_that_change_ask_for_fresh_instances() -> None:
    assert not metered("nop").per_instance
    assert metered("(table.set (i32.const 0) (ref.null func))").per_instance
    assert metered("(data.drop $d)").per_instance


def test_a_mutable_global_that_holds_a_reference_is_refused() -> None:
    text = "(module (global (mut funcref) (ref.null func)))"
    with pytest.raises(WasmError, match="holds a reference"):
        instrument.instrument(bytes(wasmtime.wat2wasm(text)), reads=True)


def test_a_reserved_export_is_refused() -> None:
    text = '(module (func (export "canister_start")))'
    with pytest.raises(WasmError, match="reserved symbol 'canister_start'"):
        instrument.instrument(bytes(wasmtime.wat2wasm(text)), reads=True)


def test_instrumenting_keeps_every_value(tmp_path: Path) -> None:
    text = """(module (func (export "sum") (param i64) (result i64) (local i64 i64)
      (block (loop (br_if 1 (i64.gt_u (local.get 1) (local.get 0)))
        (local.set 2 (i64.add (local.get 2) (i64.mul (local.get 1) (local.get 1))))
        (local.set 1 (i64.add (local.get 1) (i64.const 1))) (br 0))) (local.get 2)))"""
    plain = bytes(wasmtime.wat2wasm(text))
    values = []
    for module in (plain, instrument.instrument(plain, reads=True).module):
        store = wasmtime.Store(engine.engine())
        code = wasmtime.Module(engine.engine(), module)
        exports = wasmtime.Instance(store, code, []).exports(store)
        if module is not plain:
            counter = exports[COUNTER]
            assert isinstance(counter, wasmtime.Global)
            counter.set_value(store, wasmtime.Val.i64(BUDGET))
        function = exports["sum"]
        assert isinstance(function, wasmtime.Func)
        values.append(function(store, 1000))
    assert values[0] == values[1] == sum(n * n for n in range(1001))
