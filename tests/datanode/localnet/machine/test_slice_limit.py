"""One operation above the slice limit of 2e9 instructions is refused, whatever else is left."""

from pathlib import Path

import pytest

from datanode.localnet.machine.machine import Execution
from tests.datanode.localnet.wasm_canisters import ENVIRONMENT, build, machine

PAGE, GIB = 1 << 16, 1 << 30
PAGES = 48 * 1024
"""Of a heap of 3 GiB, which is not written but by what passes."""

WORDS = (
    "Canister attempted to perform a large memory operation that used {} instructions and "
    "exceeded the slice limit 2_000_000_000."
)


def run(folder: Path, body: str, *, metering: str, kind: str = "update") -> Execution:
    wasm = build(
        f"""(memory {PAGES}) (func (export "canister_{kind} m") {body} (call $msg_reply))""",
        *("stable64_grow", "stable64_read", "stable64_write", "msg_reply", "debug_print"),
    )
    with machine(folder, wasm, metering=metering) as made:
        if kind == "query":
            return made.query("m", b"", ENVIRONMENT)
        return made.update("m", b"", ENVIRONMENT, sequence=2)


GROW = f"(drop (call $stable64_grow (i64.const {2 * GIB // PAGE})))"


@pytest.mark.parametrize("metering", ["2026-06", "2026-07"])
@pytest.mark.parametrize(
    ("body", "used"),
    [
        ("(memory.fill (i32.const 0) (i32.const 0) (i32.const 2000000001))", 2_000_000_001),
        ("(memory.copy (i32.const 0) (i32.const 9) (i32.const 2000000001))", 2_000_000_001),
        (
            GROW + "(call $stable64_read (i64.const 0) (i64.const 0) (i64.const 2000000001))",
            2_000_000_021,
        ),
    ],
)
def test_refuses_a_single_operation_above_the_slice_limit(
    tmp_path: Path, metering: str, body: str, used: int
) -> None:
    reject = run(tmp_path, body, metering=metering).reject
    assert reject is not None
    assert reject.error_code == "IC0522"
    assert WORDS.format(f"{used:_}") in reject.message


FILLED = 600_000_000
FILL = f"(memory.fill (i32.const 0) (i32.const 0) (i32.const {FILLED}))"


def test_pages_count_as_what_an_operation_uses(tmp_path: Path) -> None:
    pages = -(-FILLED // PAGE)
    assert FILLED < 2_000_000_000 < FILLED + 160_000 * pages
    assert run(tmp_path / "06", FILL, metering="2026-06").reject is None
    reject = run(tmp_path / "07", FILL, metering="2026-07").reject
    assert reject is not None
    assert WORDS.format(f"{FILLED + 160_000 * pages:_}") in reject.message


def test_pages_that_are_paid_already_do_not_count(tmp_path: Path) -> None:
    half = f"(memory.fill (i32.const 0) (i32.const 0) (i32.const {FILLED // 2}))"
    rest = f"(memory.fill (i32.const {FILLED // 2}) (i32.const 0) (i32.const {FILLED // 2}))"
    assert run(tmp_path, half + rest + FILL, metering="2026-07").reject is None


def test_queries_are_not_sliced(tmp_path: Path) -> None:
    body = "(memory.fill (i32.const 0) (i32.const 0) (i32.const 2000000001))"
    assert run(tmp_path, body, metering="2026-06", kind="query").reject is None


def test_limit_of_the_message_is_told_first(tmp_path: Path) -> None:
    fill = "(memory.fill (i32.const 0) (i32.const 0) (i32.const 3000000000))"
    body = fill + fill
    reject = run(tmp_path, body, metering="2026-07", kind="query").reject
    assert reject is not None
    assert "exceeded the limit of 5000000000 instructions" in reject.message
