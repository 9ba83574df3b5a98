"""Small canisters in Wasm text, and a machine to run them on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import wasmtime

from datanode.localnet.machine.machine import Environment, Execution, Machine
from datanode.metering import DEFAULT_METERING
from datanode.metering import metering as metering_of
from tests.fakes.system_calls import imports

CANISTER = b"\0\0\0\0\0\0\0\1\1\1"
CALLER = b"\4"
ENVIRONMENT = Environment(
    caller=CALLER,
    canister=CANISTER,
    time_ns=1_700_000_000_000_000_000,
    balance_cycles=7_000_000_000_000,
    controllers=frozenset({b"boss"}),
    canister_version=3,
)


def build(text: str, *calls: str) -> bytes:
    """Assemble a module that imports the named system calls."""
    return bytes(wasmtime.wat2wasm(f"(module {imports(*calls)} {text})"))


COUNTER = build(
    """
    (memory 2)
    (global $count (mut i64) (i64.const 0))
    (func (export "canister_init") (drop (call $stable64_grow (i64.const 4))))
    (func $increment (export "canister_update increment")
      (global.set $count (i64.add (global.get $count) (i64.const 1)))
      (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
      (i64.store (i32.const 70000) (i64.load (i32.const 0)))
      (call $stable64_write (i64.const 0) (i64.const 0) (i64.const 8))
      (call $stable64_write (i64.const 100000) (i64.const 0) (i64.const 8))
      (call $read))
    (func $read (export "canister_query read")
      (i64.store (i32.const 8) (global.get $count))
      (call $stable64_read (i64.const 16) (i64.const 0) (i64.const 8))
      (call $stable64_read (i64.const 24) (i64.const 100000) (i64.const 8))
      (call $msg_reply_data_append (i32.const 0) (i32.const 32))
      (call $msg_reply_data_append (i32.const 70000) (i32.const 8))
      (call $msg_reply))
    (func (export "canister_query sneak") (call $increment))
    (func (export "canister_query size")
      (i64.store (i32.const 8) (call $stable64_size))
      (call $msg_reply_data_append (i32.const 8) (i32.const 8)) (call $msg_reply))
    (func (export "canister_update trap_after") (call $increment) unreachable)
    (func (export "canister_update grow_and_trap")
      (drop (call $stable64_grow (i64.const 8)))
      (drop (memory.grow (i32.const 3)))
      (i64.store (i32.const 200000) (i64.const 7))
      (call $stable64_write (i64.const 500000) (i64.const 0) (i64.const 8))
      (call $increment) unreachable)
    (func (export "canister_update grow")
      (drop (call $stable64_grow (i64.const 8)))
      (drop (memory.grow (i32.const 3)))
      (i64.store (i32.const 200000) (i64.const 7))
      (call $increment))
    (func (export "canister_update forever")
      (call $increment) (loop $again (br $again)))
    (func (export "canister_update far")
      (call $increment)
      (call $stable64_write (i64.const 10000000) (i64.const 0) (i64.const 8)))
    (func (export "canister_update wild") (call $increment)
      (drop (i32.load (i32.const 9000000))))
    (func (export "canister_update say")
      (i32.store (i32.const 40) (i32.const 0x21706f6f))
      (call $increment) (call $trap (i32.const 40) (i32.const 3)))
    (func (export "canister_update refuse")
      (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
      (i32.store (i32.const 40) (i32.const 0x21706f6f))
      (call $msg_reject (i32.const 40) (i32.const 3)))
    (func (export "canister_update silent")
      (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1))))
    """,
    *("msg_reply", "msg_reply_data_append", "msg_reject", "trap"),
    *("stable64_grow", "stable64_write", "stable64_read", "stable64_size"),
)
"""Counts in a global, in two heap pages and in two stable pages; `read` replies with all five."""


SPREAD = build(
    """(memory 1) (func (export "canister_update m")
      (drop (call $stable64_grow (i64.const 1638400)))
      (call $stable64_write (i64.const 99000000000) (i64.const 0) (i64.const 1))
      (call $msg_reply))""",
    *("stable64_grow", "stable64_write", "msg_reply"),
)
"""`m` grows the stable memory to 100 GiB and writes a byte far inside."""


def counts(execution: Execution) -> set[int]:
    """Return the distinct values that the counter canister replied with."""
    assert execution.reply is not None, execution.reject
    reply = execution.reply
    return {int.from_bytes(reply[at : at + 8], "little") for at in range(0, len(reply), 8)}


@contextmanager
def machine(
    folder: Path, wasm: bytes | None = None, committed: int = 0, metering: str = DEFAULT_METERING
) -> Iterator[Machine]:
    """Open a machine; install a module if one is given, as sequence 1."""
    made = Machine(
        folder / "canister",
        module_cache=folder.parent / "cache",
        metering=lambda: metering_of(metering),
    )
    try:
        made.recover(committed)
        if wasm is not None:
            done = made.install(wasm, b"", ENVIRONMENT, sequence=1)
            assert done.reject is None, done.reject
            made.commit()
        yield made
    finally:
        made.close()
