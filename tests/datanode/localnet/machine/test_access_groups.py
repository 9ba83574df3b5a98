"""Shared looks at the page map charge what single looks charge: random programs against a model."""

from contextlib import suppress
from dataclasses import dataclass, field

import hypothesis.strategies as st
import pytest
import wasmtime
from hypothesis import given, settings

from datanode.localnet.machine import engine, instrument, stack_effects, wasm_module
from datanode.localnet.machine.operators import decode
from tests.datanode.localnet.machine.test_instrument import CASES, FRAME
from tests.datanode.localnet.machine.test_simd_prices import code, operators
from tests.repetitions import repeated

PAGE = 65_536
HEAP = 4 * PAGE
LOCALS = 3
ACCESSES = {
    "i32.load8_u": 1,
    "i64.load16_s": 2,
    "f32.load": 4,
    "i64.load": 8,
    "v128.load": 16,
    "i32.store8": 1,
    "i64.store": 8,
    "v128.store": 16,
}
VALUES = {"i32": "(i32.const 1)", "i64": "(i64.const 1)", "v128": "(v128.const i64x2 1 2)"}


@dataclass
class Model:
    """Expected accesses and writes of a program.

    Attributes:
        bases: Values of the locals.
        accessed: Pages that were accessed.
        written: Pages that were written.
    """

    bases: list[int] = field(default_factory=lambda: [0] * LOCALS)
    accessed: set[int] = field(default_factory=set)
    written: set[int] = field(default_factory=set)

    def run(self, body: "list[Statement]") -> None:
        for statement in body:
            statement.apply(self)


@dataclass(frozen=True)
class Use:
    """A load or a store off a local."""

    name: str
    base: int
    offset: int

    @property
    def text(self) -> str:
        address = f"(local.get {self.base})"
        if "store" in self.name:
            value = VALUES[self.name.partition(".")[0]]
            return f"({self.name} offset={self.offset} {address} {value})"
        return f"(drop ({self.name} offset={self.offset} {address}))"

    def apply(self, model: Model) -> None:
        first = model.bases[self.base] + self.offset
        last = first + ACCESSES[self.name] - 1
        if last >= HEAP:
            raise IndexError
        pages = {first // PAGE, last // PAGE}
        model.accessed |= pages
        if "store" in self.name:
            model.written |= pages


@dataclass(frozen=True)
class Put:
    """Another value for a local, by `local.set` or in the middle of an access by `local.tee`."""

    base: int
    value: int

    @property
    def text(self) -> str:
        return f"(drop (local.tee {self.base} (i32.const {self.value})))"

    def apply(self, model: Model) -> None:
        model.bases[self.base] = self.value


@dataclass(frozen=True)
class Copy:
    """The value of another local."""

    base: int
    source: int

    @property
    def text(self) -> str:
        return f"(local.set {self.base} (local.get {self.source}))"

    def apply(self, model: Model) -> None:
        model.bases[self.base] = model.bases[self.source]


@dataclass(frozen=True)
class Late:
    """A store whose local gets another value between its address and its value."""

    base: int
    offset: int
    value: int

    @property
    def text(self) -> str:
        value = f"(i64.extend_i32_u (local.tee {self.base} (i32.const {self.value})))"
        return f"(i64.store offset={self.offset} (local.get {self.base}) {value})"

    def apply(self, model: Model) -> None:
        Use("i64.store", self.base, self.offset).apply(model)
        model.bases[self.base] = self.value


@dataclass(frozen=True)
class If:
    """A choice."""

    taken: bool
    then: "list[Statement]"
    other: "list[Statement]"

    @property
    def text(self) -> str:
        then, other = ("".join(each.text for each in side) for side in (self.then, self.other))
        return f"(if (i32.const {int(self.taken)}) (then {then}) (else {other}))"

    def apply(self, model: Model) -> None:
        model.run(self.then if self.taken else self.other)


@dataclass(frozen=True)
class Leave:
    """A block that is left half way, or not."""

    taken: bool
    before: "list[Statement]"
    after: "list[Statement]"

    @property
    def text(self) -> str:
        before, after = ("".join(each.text for each in side) for side in (self.before, self.after))
        return f"(block {before} (br_if 0 (i32.const {int(self.taken)})) {after})"

    def apply(self, model: Model) -> None:
        model.run(self.before)
        if not self.taken:
            model.run(self.after)


Statement = Use | Put | Copy | Late | If | Leave
BASE = st.integers(0, LOCALS - 1)
NEAR = st.sampled_from([0, 8, 16, 64, PAGE - 16, PAGE - 8, PAGE - 1, PAGE, PAGE + 40, 2 * PAGE - 4])
SIMPLE: st.SearchStrategy[Statement] = st.one_of(
    st.builds(Use, st.sampled_from(sorted(ACCESSES)), BASE, NEAR),
    st.builds(Use, st.sampled_from(sorted(ACCESSES)), BASE, NEAR),
    st.builds(Put, BASE, NEAR | st.just(HEAP - 20)),
    st.builds(Copy, BASE, BASE),
    st.builds(Late, BASE, NEAR, NEAR),
)
STATEMENT = st.recursive(
    SIMPLE,
    lambda inner: (
        st.builds(If, st.booleans(), st.lists(inner, max_size=5), st.lists(inner, max_size=5))
        | st.builds(Leave, st.booleans(), st.lists(inner, max_size=5), st.lists(inner, max_size=5))
    ),
    max_leaves=12,
)


def pages_paid(body: list[Statement], *, reads: bool) -> tuple[int, int]:
    """Run a program; return how many first accesses and first writes it paid for."""
    text = "".join(each.text for each in body)
    locals_ = " ".join(["i32"] * LOCALS)
    module = f'(module (memory 4) (func (export "run") (local {locals_}) {text}))'
    made = instrument.instrument(bytes(wasmtime.wat2wasm(module)), reads=reads).module
    store = wasmtime.Store(engine.engine())
    exports = wasmtime.Instance(store, wasmtime.Module(engine.engine(), made), []).exports(store)
    budget = 1 << 60
    for name, value in (
        (instrument.COUNTER, budget),
        (instrument.ACCESS_PRICE, 1 << 20),
        (instrument.WRITE_PRICE, 1 << 40),
    ):
        meter = exports[name]
        assert isinstance(meter, wasmtime.Global)
        meter.set_value(store, wasmtime.Val.i64(value))
    run, counter = exports["run"], exports[instrument.COUNTER]
    assert isinstance(run, wasmtime.Func)
    assert isinstance(counter, wasmtime.Global)
    with suppress(wasmtime.Trap):  # an access out of bounds
        run(store)
    left = counter.value(store)
    assert isinstance(left, int)
    return (budget - left) >> 20 & ((1 << 20) - 1), (budget - left) >> 40


@given(body=st.lists(STATEMENT, min_size=1, max_size=20))
@settings(max_examples=repeated(60, 3_000))
def test_random_program_pays_for_the_pages_that_a_model_finds(body: list[Statement]) -> None:
    model = Model()
    with suppress(IndexError):
        model.run(body)
    assert pages_paid(body, reads=True) == (len(model.accessed), len(model.written))
    assert pages_paid(body, reads=False) == (len(model.written), len(model.written))


TEXTS = [*(text for _, text in CASES), *(code(name) for name, _ in operators().values())]


@pytest.mark.parametrize("text", TEXTS)
def test_effect_of_every_operator_leaves_the_stack_as_the_validator_does(text: str) -> None:
    dropped = (
        text
        if ".store" in text.split(maxsplit=1)[0] or text.startswith("(drop")
        else f"(drop {text})"
    )
    module = bytes(
        wasmtime.wat2wasm(f'(module {FRAME} (func (export "run") (local i32) {dropped}))')
    )
    parts = dict(wasm_module.sections(module))
    _, at = wasm_module.read_unsigned(parts[wasm_module.CODE], 0)
    _, at = wasm_module.read_unsigned(parts[wasm_module.CODE], at)
    body = parts[wasm_module.CODE][at:]
    depth = 0
    for operator in decode(body, 3)[:-1]:
        pops, pushes = (
            (0, 1) if operator.opcode == 0x20 else stack_effects.effect(body, operator, {})
        )
        assert depth >= pops
        depth += pushes - pops
    assert depth == 0
