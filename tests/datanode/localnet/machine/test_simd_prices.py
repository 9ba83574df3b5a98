"""Every SIMD operator of the specification, with the price that the IC's source names for it.

The table is transcribed from `instruction_to_cost` (dfinity/ic, `instrumentation.rs`, mid-2026) and
the numbers from the WebAssembly specification; nothing here is read from the program's tables.
"""

import re

import wasmtime

from datanode.localnet.machine import engine, instrument, prices
from datanode.localnet.machine.instrument import COUNTER

# First number, shape, then operators in the order of their numbers: `=n` is the price where it is
# not 1, `-` a number that names none.
TABLE = """
00 v128  load load8x8_s load8x8_u load16x4_s load16x4_u load32x2_s load32x2_u
07 v128  load8_splat load16_splat load32_splat load64_splat store const
0d i8x16 shuffle=3 swizzle splat
10 i16x8 splat
11 i32x4 splat
12 i64x2 splat
13 f32x4 splat
14 f64x2 splat
15 i8x16 extract_lane_s extract_lane_u replace_lane
18 i16x8 extract_lane_s extract_lane_u replace_lane
1b i32x4 extract_lane replace_lane
1d i64x2 extract_lane replace_lane
1f f32x4 extract_lane replace_lane
21 f64x2 extract_lane replace_lane
23 i8x16 eq ne lt_s lt_u=2 gt_s gt_u=2 le_s le_u ge_s ge_u
2d i16x8 eq ne lt_s lt_u=2 gt_s gt_u=2 le_s le_u ge_s ge_u
37 i32x4 eq ne lt_s lt_u=2 gt_s gt_u=2 le_s le_u ge_s ge_u
41 f32x4 eq ne lt gt le ge
47 f64x2 eq ne lt gt le ge
4d v128  not and andnot or xor bitselect any_true
54 v128  load8_lane load16_lane load32_lane load64_lane
58 v128  store8_lane store16_lane store32_lane store64_lane load32_zero load64_zero
5e f32x4 demote_f64x2_zero
5f f64x2 promote_low_f32x4
60 i8x16 abs neg popcnt=3 all_true bitmask narrow_i16x8_s narrow_i16x8_u
67 f32x4 ceil=2 floor=2 trunc=2 nearest=2
6b i8x16 shl=3 shr_s=3 shr_u=2 add add_sat_s add_sat_u sub sub_sat_s sub_sat_u
74 f64x2 ceil=2 floor=2
76 i8x16 min_s min_u max_s max_u
7a f64x2 trunc=2
7b i8x16 avgr_u
7c i16x8 extadd_pairwise_i8x16_s extadd_pairwise_i8x16_u=2
7e i32x4 extadd_pairwise_i16x8_s extadd_pairwise_i16x8_u=3
80 i16x8 abs neg q15mulr_sat_s all_true bitmask narrow_i32x4_s narrow_i32x4_u
87 i16x8 extend_low_i8x16_s extend_high_i8x16_s extend_low_i8x16_u extend_high_i8x16_u
8b i16x8 shl=2 shr_s=2 shr_u=2 add add_sat_s add_sat_u sub sub_sat_s sub_sat_u
94 f64x2 nearest=2
95 i16x8 mul min_s min_u max_s max_u - avgr_u
9c i16x8 extmul_low_i8x16_s extmul_high_i8x16_s=2 extmul_low_i8x16_u extmul_high_i8x16_u=2
a0 i32x4 abs neg - all_true bitmask - -
a7 i32x4 extend_low_i16x8_s extend_high_i16x8_s extend_low_i16x8_u extend_high_i16x8_u
ab i32x4 shl=2 shr_s=2 shr_u=2 add - - sub - - - mul=2 min_s min_u max_s max_u dot_i16x8_s -
bc i32x4 extmul_low_i16x8_s=2 extmul_high_i16x8_s=2 extmul_low_i16x8_u=2 extmul_high_i16x8_u=2
c0 i64x2 abs neg - all_true bitmask - -
c7 i64x2 extend_low_i32x4_s extend_high_i32x4_s extend_low_i32x4_u extend_high_i32x4_u
cb i64x2 shl=2 shr_s=3 shr_u=2 add - - sub - - - mul=4 eq ne lt_s gt_s le_s ge_s
dc i64x2 extmul_low_i32x4_s extmul_high_i32x4_s extmul_low_i32x4_u extmul_high_i32x4_u
e0 f32x4 abs=2 neg=2 - sqrt=5 add=2 sub=2 mul=2 div=10 min=4 max=4 pmin pmax
ec f64x2 abs=2 neg=2 - sqrt=14 add=2 sub=2 mul=2 div=12 min=4 max=5 pmin pmax
f8 i32x4 trunc_sat_f32x4_s=2 trunc_sat_f32x4_u=4
fa f32x4 convert_i32x4_s convert_i32x4_u=4
fc i32x4 trunc_sat_f64x2_s_zero=2 trunc_sat_f64x2_u_zero=3
fe f64x2 convert_low_i32x4_s convert_low_i32x4_u
"""
V, AT = "(v128.const i64x2 1 2)", "(i32.const 16)"
SCALAR = {
    "i64x2": "(i64.const 2)",
    "f32x4": "(f32.const 2)",
    "f64x2": "(f64.const 2)",
}
FORMS = (
    (r"v128\.const", "{v}"),
    (r"i8x16\.shuffle", "({name} 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 31 {v} {v})"),
    (r"v128\.(load|store)\d+_lane", "({name} 1 {at} {v})"),
    (r"v128\.load.*", "({name} {at})"),
    (r"v128\.store", "({name} {at} {v})"),
    (r".*\.splat", "({name} {scalar})"),
    (r".*\.extract_lane.*", "({name} 1 {v})"),
    (r".*\.replace_lane", "({name} 1 {v} {scalar})"),
    (r".*\.(shl|shr_s|shr_u)", "({name} {v} (i32.const 2))"),
    (r"v128\.bitselect", "({name} {v} {v} {v})"),
    (r".*\.(not|any_true|all_true|bitmask|abs|neg|popcnt)", "({name} {v})"),
    (r".*\.(sqrt|ceil|floor|trunc|nearest)", "({name} {v})"),
    (r".*\.(extend|extadd|convert|demote|promote|trunc_sat)_.*", "({name} {v})"),
    (r".*", "({name} {v} {v})"),
)


def operators() -> dict[int, tuple[str, int]]:
    """Read the table: number to (name, price)."""
    found = {}
    for line in TABLE.split("\n"):
        if line:
            first, shape, *words = line.split()
            for number, word in enumerate(words, int(first, 16)):
                operator, _, price = word.partition("=")
                if operator != "-":
                    assert number not in found
                    found[number] = (f"{shape}.{operator}", int(price or 1))
    return found


def code(name: str) -> str:
    """Write the operator with operands of the right types."""
    form = next(text for pattern, text in FORMS if re.fullmatch(pattern, name))
    scalar = SCALAR.get(name.split(".", maxsplit=1)[0], "(i32.const 2)")
    return form.format(name=name, v=V, at=AT, scalar=scalar)


def counted(*, wide: bool) -> dict[str, int]:
    """Run each operator in a function of its own and return what it alone cost."""
    functions = []
    for number, (name, _) in operators().items():
        text = code(name)
        if wide:
            text = text.replace(AT, "(i64.const 16)")
        dropped = text if ".store" in name else f"(drop {text})"
        functions.append(f'(func (export "{number}") {dropped})')
    memory = "(memory i64 1)" if wide else "(memory 1)"
    module = bytes(wasmtime.wat2wasm(f"(module {memory} {''.join(functions)})"))
    store = wasmtime.Store(engine.engine())
    made = wasmtime.Module(engine.engine(), instrument.instrument(module, reads=True).module)
    exports = wasmtime.Instance(store, made, []).exports(store)
    counter = exports[COUNTER]
    assert isinstance(counter, wasmtime.Global)
    found = {}
    for number, (name, _) in operators().items():
        function = exports[str(number)]
        assert isinstance(function, wasmtime.Func)
        counter.set_value(store, wasmtime.Val.i64(1_000))
        function(store)
        text = code(name)
        operands = text[1:].count("(")
        drop = 0 if ".store" in name else 1
        found[name] = 1_000 - int(str(counter.value(store))) - 1 - operands - drop
    return found


def is_access(name: str) -> bool:
    return name.startswith(("v128.load", "v128.store"))


def test_the_table_names_every_operator_of_the_specification() -> None:
    assert len(operators()) == 236
    assert {price for _, price in operators().values()} == {1, 2, 3, 4, 5, 10, 12, 14}


def test_every_simd_operator_costs_what_the_ic_charges() -> None:
    assert counted(wide=False) == dict(operators().values())


def test_with_a_64_bit_memory_loads_and_stores_cost_one_more() -> None:
    assert counted(wide=True) == {
        name: price + is_access(name) for name, price in operators().values()
    }


def test_the_prices_that_are_used_are_those_of_the_table() -> None:
    table = {number: price for number, (_, price) in operators().items()}
    assert {number: prices.SIMD[number] for number in table} == table
    assert {prices.SIMD[number] for number in range(256) if number not in table} == {1}
