"""Heaps of 3.4 GB that are hardly used: work and memory follow what a message touches.

The heaps are sparse: each message writes one page of 64 KiB in 64. What is measured is the memory
that this process has resident, which no other process changes.
"""

from contextlib import ExitStack
from pathlib import Path

import pytest

from datanode.localnet.machine.heap import HeapMirror
from datanode.localnet.machine.stable import WASM_PAGE_BYTES
from datanode.units import MIB
from tests.datanode.localnet.wasm_canisters import ENVIRONMENT, build, machine

PAGES = 51_880
CANISTERS = 5
STEP = 64
WASM = build(
    f"""(memory {PAGES}) (data (i32.const 100000000) "data") (global $turn (mut i32) (i32.const 0))
    (func (export "canister_update m") (local $at i32)
      (global.set $turn (i32.add (global.get $turn) (i32.const 1)))
      (loop $next
        (i32.store (local.get $at) (global.get $turn))
        (local.set $at (i32.add (local.get $at) (i32.const {STEP * WASM_PAGE_BYTES})))
        (br_if $next (i32.lt_u (local.get $at) (i32.const {(PAGES - STEP) * WASM_PAGE_BYTES}))))
      (call $msg_reply))
    (func (export "canister_update trap") (memory.fill (i32.const 0) (i32.const 7) (i32.const 9))
      unreachable)
    (func (export "canister_query read")
      (call $msg_reply_data_append (i32.const 0) (i32.const 4))
      (call $msg_reply_data_append (i32.const 100000000) (i32.const 4)) (call $msg_reply))""",
    *("msg_reply", "msg_reply_data_append"),
)
TOUCHED = -(-(PAGES - STEP) // STEP)


def resident_bytes() -> int:
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("this system does not tell what memory is resident")
    return int(statm.read_text().split()[1]) * 4096


@pytest.mark.nightly
def test_five_heaps_of_3_4_gb_take_the_memory_that_is_touched(tmp_path: Path) -> None:
    before = resident_bytes()
    for committed in (0, 3):  # as it is installed, and as it is loaded again
        with ExitStack() as stack:
            wasm = None if committed else WASM
            made = [
                stack.enter_context(machine(tmp_path / f"{each}", wasm, committed))
                for each in range(CANISTERS)
            ]
            for sequence in (committed + 2, committed + 3):
                for each in made:
                    assert each.update("m", b"", ENVIRONMENT, sequence=sequence).reply == b""
                    each.commit()
                    assert each.update("trap", b"", ENVIRONMENT, sequence=sequence + 1).trapped
            for each in made:
                turn = 4 if committed else 2
                assert (
                    each.query("read", b"", ENVIRONMENT).reply == bytes([turn, 0, 0, 0]) + b"data"
                )
            held = CANISTERS * (TOUCHED + 2) * WASM_PAGE_BYTES
            assert resident_bytes() - before < 2 * held + 200 * MIB


def test_changes_are_looked_for_in_written_pages_only(tmp_path: Path) -> None:
    mirror = HeapMirror(tmp_path / "mirror")
    live = bytearray(8 * WASM_PAGE_BYTES)
    mirror.store(memoryview(live), mirror.changes(memoryview(live)), None)
    live[0] = live[5 * WASM_PAGE_BYTES + 4096] = live[7 * WASM_PAGE_BYTES] = 1
    assert mirror.changes(memoryview(live), [1, 5]) == [5 * 16 + 1]
    assert mirror.changes(memoryview(live), [0, 4, 5, 7]) == [0, 5 * 16 + 1, 7 * 16]


def test_loading_leaves_what_is_zero_and_clears_what_is_not(tmp_path: Path) -> None:
    mirror = HeapMirror(tmp_path / "mirror")
    live = bytearray(4 * WASM_PAGE_BYTES)
    live[WASM_PAGE_BYTES] = 1
    mirror.store(memoryview(live), mirror.changes(memoryview(live)), None)
    fresh = bytearray(b"\7" * len(live))
    mirror.load(memoryview(fresh))
    assert fresh == live
