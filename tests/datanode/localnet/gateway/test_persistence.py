"""Upgrades that keep the heap, for modules that ask for it by a custom section."""

import pytest
import wasmtime

from datanode.agent.candid import Value
from datanode.agent.identity import Identity
from datanode.localnet.management import interface_types
from datanode.principal import Principal
from tests.fakes.gateway import Gateway, RejectedError
from tests.fakes.system_calls import imports

KEEP, REPLACE = ("keep", None), ("replace", None)


def counter(*, asks: bool, pages: int = 1, most: int = 20, hook: str = "") -> bytes:
    """Count in the heap, and tell how large it is; a data segment says 100 before the first."""
    section = '(@custom "icp:private enhanced-orthogonal-persistence" "")' if asks else ""
    return bytes(
        wasmtime.wat2wasm(f"""
        (module {imports("msg_reply", "msg_reply_data_append")} {section}
          (memory {pages} {most}) (data (i32.const 0) "\\64")
          (func $add (export "canister_update add")
            (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
            (call $answer))
          (func (export "canister_update grow") (drop (memory.grow (i32.const 3))) (call $answer))
          (func $answer (export "canister_query get")
            (i32.store (i32.const 4) (memory.size))
            (call $msg_reply_data_append (i32.const 0) (i32.const 8)) (call $msg_reply))
          {hook})""")
    )


BEFORE = """(func (export "canister_pre_upgrade")
  (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 10))))"""
TRAP = '(func (export "canister_post_upgrade") unreachable)'


def install(net: Gateway, who: Identity, canister: Principal, wasm: bytes, mode: Value) -> None:
    net.manage(
        who,
        "install_code",
        interface_types.INSTALL,
        mode=mode,
        canister_id=canister,
        wasm_module=wasm,
        arg=b"",
    )


def upgrade(
    net: Gateway, who: Identity, canister: Principal, wasm: bytes, persistence: Value
) -> None:
    options: Value = {"skip_pre_upgrade": None, "wasm_memory_persistence": persistence}
    install(net, who, canister, wasm, ("upgrade", options))


def seen(net: Gateway, who: Identity, canister: Principal) -> tuple[int, int]:
    reply = net.query(who, canister, "get")
    return int.from_bytes(reply[:4], "little"), int.from_bytes(reply[4:], "little")


@pytest.fixture
def canister(net: Gateway, alice: Identity) -> Principal:
    made = net.create(alice)
    install(net, alice, made, counter(asks=True, hook=BEFORE), ("install", None))
    net.call(alice, made, "add")
    net.call(alice, made, "grow")
    return made


def test_the_heap_is_kept_with_what_pre_upgrade_did(
    net: Gateway, alice: Identity, canister: Principal
) -> None:
    assert seen(net, alice, canister) == (101, 4)
    upgrade(net, alice, canister, counter(asks=True, pages=2), KEEP)
    assert seen(net, alice, canister) == (111, 4)
    net.reopen()
    assert seen(net, alice, canister) == (111, 4)
    upgrade(net, alice, canister, counter(asks=True, pages=6), KEEP)
    assert seen(net, alice, canister) == (111, 6)


def test_the_heap_starts_anew_when_that_is_said(
    net: Gateway, alice: Identity, canister: Principal
) -> None:
    upgrade(net, alice, canister, counter(asks=True), REPLACE)
    assert seen(net, alice, canister) == (100, 1)


@pytest.mark.parametrize(
    "options", [None, {"skip_pre_upgrade": None, "wasm_memory_persistence": None}]
)
def test_a_module_that_asks_is_not_upgraded_unless_somebody_chooses(
    net: Gateway, alice: Identity, canister: Principal, options: Value
) -> None:
    with pytest.raises(RejectedError, match="IC0504: Missing upgrade option: Enhanced orth"):
        install(net, alice, canister, counter(asks=True), ("upgrade", options))
    assert seen(net, alice, canister) == (101, 4)


def test_a_module_that_does_not_ask_keeps_no_heap(
    net: Gateway, alice: Identity, canister: Principal
) -> None:
    with pytest.raises(RejectedError, match="IC0504: Invalid upgrade option: The `wasm_memory"):
        upgrade(net, alice, canister, counter(asks=False), KEEP)
    assert seen(net, alice, canister) == (101, 4)


def test_a_module_too_small_for_the_heap_is_refused(
    net: Gateway, alice: Identity, canister: Principal
) -> None:
    with pytest.raises(RejectedError, match=r"IC0505.*its memory is too small for the heap"):
        upgrade(net, alice, canister, counter(asks=True, most=3), KEEP)
    assert seen(net, alice, canister) == (101, 4)


def test_a_trap_in_the_upgrade_leaves_the_heap_as_it_was(
    net: Gateway, alice: Identity, canister: Principal
) -> None:
    with pytest.raises(RejectedError, match="IC0502"):
        upgrade(net, alice, canister, counter(asks=True, hook=TRAP), KEEP)
    assert seen(net, alice, canister) == (101, 4)
    assert net.call(alice, canister, "add")[:4] == (102).to_bytes(4, "little")
