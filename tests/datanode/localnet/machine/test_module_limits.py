"""Modules above the bounds of the IC are refused with its code and words."""

from pathlib import Path

import pytest
import wasmtime

from datanode.localnet.machine import wasm_module
from datanode.localnet.machine.machine import Execution
from tests.datanode.localnet.wasm_canisters import ENVIRONMENT, machine

MIB = 1 << 20


def wat(text: str) -> bytes:
    return bytes(wasmtime.wat2wasm(f"(module {text})"))


def with_sections(*sections: tuple[str, int]) -> bytes:
    """A module with custom sections of names and sizes."""
    out = wat("")
    for title, size in sections:
        body = wasm_module.name(title) + bytes(size)
        out += b"\0" + wasm_module.unsigned(len(body)) + body
    return out


def functions(count: int) -> bytes:
    """A module of so many empty functions."""
    kinds = wasm_module.unsigned(count) + bytes(count)
    code = wasm_module.unsigned(count) + b"\x02\0\x0b" * count
    return wasm_module.join({1: b"\x01\x60\0\0", 3: kinds, 10: code})


def large_code(length_bytes: int) -> bytes:
    """A module whose code section has a length, of functions that do nothing at length."""
    out, left = [], length_bytes - 2
    while left > 0:
        nops = min(left, 100_000) - 8
        body = b"\0" + b"\x01" * nops + b"\x0b"
        size = wasm_module.unsigned(len(body))
        out.append(size + body)
        left -= len(size) + len(body)
    count = wasm_module.unsigned(len(out))
    kinds = count + bytes(len(out))
    return wasm_module.join({1: b"\x01\x60\0\0", 3: kinds, 10: count + b"".join(out)})


def methods(count: int, name_bytes: int) -> bytes:
    exports = "".join(
        f'(export "canister_{"query" if each % 2 else "update"} {each:0{name_bytes}}" (func $f))'
        for each in range(count)
    )
    return wat(f"(func $f) {exports}")


def install(folder: Path, module: bytes) -> Execution:
    with machine(folder) as made:
        return made.install(module, b"", ENVIRONMENT, sequence=1)


def refused(folder: Path, module: bytes, code: str = "IC0505") -> str:
    reject = install(folder, module).reject
    assert reject is not None
    assert reject.error_code == code
    return reject.message


GLOBALS = "(global (mut i32) (i32.const 0))"


@pytest.mark.parametrize(
    "module",
    [
        wat(GLOBALS * 1_000),
        with_sections(*[(f"icp:public {each}", 9) for each in range(16)]),
        with_sections(*[(f"other {each}", 9) for each in range(40)]),
        with_sections(("icp:private a", MIB - 1)),
        methods(1_000, 20),
        wat('(memory 1) (data (i32.const 65530) "123456")'),
        wat('(memory 0) (data (i32.const 0) "")'),
        wat('(memory i64 1) (data (i64.const 65530) "123456")'),
        wat("(table 1000000 funcref)"),
    ],
)
def test_accepts_a_module_at_the_limit(tmp_path: Path, module: bytes) -> None:
    assert install(tmp_path, module).reject is None


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (
            wat(GLOBALS * 1_001),
            "Wasm module defined 1001 globals which exceeds the maximum number allowed 1000.",
        ),
        (
            functions(50_001),
            "Wasm module defined 50001 functions which exceeds the maximum number allowed 50000.",
        ),
        (
            with_sections(*[(f"icp:public {each}", 9) for each in range(17)]),
            "Wasm module defined 17 custom sections which exceeds the maximum number allowed 16.",
        ),
        (
            with_sections(("icp:private a", MIB)),
            f"exceeds the maximum allowed: size {MIB + 1} bytes, allowed {MIB} bytes",
        ),
        (with_sections(("icp:public a", 1), ("icp:private a", 1)), "name a already exists"),
        (
            with_sections(("icp:protected a", 1)),
            "Custom section 'icp:protected a' has no public/private scope defined.",
        ),
        (
            methods(1_001, 4),
            "`canister_composite_query <name>` is 1001 which exceeds 1000.",
        ),
        (methods(1_000, 21), "is 21000 which exceeds the allowed limit of 20000."),
        (
            large_code(10 * MIB + 10),
            "exceeds the maximum allowed size of 10485760.",
        ),
        (
            wat('(memory 1) (data (i32.const 65530) "1234567")'),
            (
                "Could not instrument wasm module of canister: "
                "Wasm module has invalid data segment of 7 bytes at 65530"
            ),
        ),
        (
            wat('(memory 1) (data (i32.const -2) "1234567")'),
            "Wasm module has invalid data segment of 7 bytes at 4294967294",
        ),
        (
            wat('(memory 1) (data (i32.add (i32.const 1) (i32.const 1)) "1")'),
            "Invalid offset expression in data segment for 32bit memory",
        ),
        *(
            (
                wat(f"(table 1 funcref) (elem $e func 0) (func) (func {text})"),
                (
                    "Wasm module contains a function at index 1 with unsupported instruction "
                    f"{instruction}."
                ),
            )
            for instruction, text in (
                ("table.grow", "(drop (table.grow (ref.null func) (i32.const 1)))"),
                ("table.set", "(table.set (i32.const 0) (ref.null func))"),
                ("table.fill", "(table.fill (i32.const 0) (ref.null func) (i32.const 1))"),
                ("table.copy", "(table.copy (i32.const 0) (i32.const 0) (i32.const 1))"),
                ("table.init", "(table.init $e (i32.const 0) (i32.const 0) (i32.const 1))"),
            )
        ),
    ],
)
def test_refuses_a_module_above_a_limit(tmp_path: Path, module: bytes, words: str) -> None:
    assert words in refused(tmp_path, module)


@pytest.mark.parametrize(
    "module",
    [
        wat("(table 1 funcref) (func $f) (elem (i32.const 1) $f)"),
        wat("(table 1000001 funcref)"),
    ],
)
def test_refuses_a_module_that_the_engine_cannot_instantiate(tmp_path: Path, module: bytes) -> None:
    assert "Failed to instantiate module" in refused(tmp_path, module, "IC0521")


def test_refused_module_leaves_the_one_before(tmp_path: Path) -> None:
    with machine(tmp_path, wat("")) as made:
        before = made.module_hash
        module = wat("(table 1000001 funcref)")
        assert made.upgrade(module, b"", ENVIRONMENT, sequence=2).reject is not None
        assert made.module_hash == before
