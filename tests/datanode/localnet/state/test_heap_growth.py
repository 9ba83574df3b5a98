"""Growing the heap is refused where it happens: what follows is neither executed nor paid."""

from functools import cache

import pytest
import wasmtime

from datanode.agent.identity import Identity
from datanode.localnet.state.subnet import SubnetChoice
from datanode.principal import Principal
from datanode.units import DAY_S, SECOND_NS, TC
from tests.datanode.localnet.state.test_growth import month_of
from tests.fakes import puppet
from tests.fakes.gateway import Gateway, RejectedError

PAGE = 65_536
PREPAID = 40_000_000_000 + 5_000_000
ENTRY = CONSTANT = DROP = 1
GROW = 300
CALL = 5

WAT = """
(module
  (import "ic0" "canister_liquid_cycle_balance128" (func $liquid (param {p})))
  (import "ic0" "msg_reply_data_append" (func $append (param {p} {p})))
  (import "ic0" "msg_reply" (func $reply))
  (memory {wide} 1)
  (func $spin (local $i i32)
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (i32.const 100000)))))
  (func (export "canister_update far") (drop (memory.grow ({p}.const 40000))) (call $spin))
  (func (export "canister_update twice")
    (drop (memory.grow ({p}.const 1))) (drop (memory.grow ({p}.const 40000))) (call $spin))
  (func (export "canister_update liquid")
    (drop (memory.grow ({p}.const 100)))
    (call $liquid ({p}.const 8))
    (call $append ({p}.const 8) ({p}.const 16))
    (call $reply))
  (func (export "canister_update beyond")
    ({p}.store ({p}.const 8) (memory.grow ({p}.const 4000000)))
    (call $append ({p}.const 8) ({p}.const 4))
    (call $reply))
  (func (export "canister_update ten") (drop (memory.grow ({p}.const 10))) (call $reply))
  (func (export "canister_query look") (drop (memory.grow ({p}.const 40000))) (call $reply)))
"""


@cache
def module(*, wide: bool = False) -> bytes:
    text = WAT.replace("{p}", "i64" if wide else "i32").replace("{wide}", "i64" if wide else "")
    return bytes(wasmtime.wat2wasm(text))


def install(net: Gateway, who: Identity, *, wide: bool = False, cycles: int = TC) -> Principal:
    canister = net.create(who, cycles)
    net.install(who, canister, wasm=module(wide=wide))
    return canister


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("method", "grows"), [("far", 1), ("twice", 2)])
def test_a_message_ends_at_the_growth_that_is_refused(
    net: Gateway, alice: Identity, method: str, grows: int, *, wide: bool
) -> None:
    canister = install(net, alice, wide=wide)
    net.set(alice, canister, freezing_threshold=90 * DAY_S)
    before = net.held(canister)
    with pytest.raises(RejectedError, match="cannot grow memory by 2621440000 bytes") as refused:
        net.call(alice, canister, method)
    assert refused.value.error_code == net.last(canister).status == "IC0532"
    # The call that follows is of the same block, whose price is taken when it is entered.
    assert net.last(canister).instructions == ENTRY + grows * (CONSTANT + GROW + DROP) + CALL
    assert net.held(canister).heap_bytes == before.heap_bytes == PAGE
    net.call(alice, canister, "ten")
    assert net.held(canister).heap_bytes == 11 * PAGE


@pytest.mark.parametrize("wide", [False, True])
def test_what_is_liquid_shrinks_as_the_heap_grows(
    net: Gateway, alice: Identity, *, wide: bool
) -> None:
    canister = install(net, alice, wide=wide, cycles=10 * TC)
    before = net.held(canister)
    body = net.signed_call(alice, canister, "liquid")
    liquid = int.from_bytes(net.post_call(body, canister), "little")
    prepaid = 5_000_000 + 40_000_000_000 * (2 if wide else 1)
    left = before.balance_cycles - 1_200_000 - 2_000 * len(body) - prepaid
    assert liquid == left - month_of(before.memory_bytes + 100 * PAGE)


@pytest.mark.parametrize("wide", [False, True])
def test_what_no_memory_can_hold_is_no_growth(net: Gateway, alice: Identity, *, wide: bool) -> None:
    canister = install(net, alice, wide=wide)
    assert net.call(alice, canister, "beyond") == b"\xff" * 4
    assert net.held(canister).heap_bytes == PAGE


def test_on_a_full_subnet_a_refused_growth_sets_nothing_aside(
    net: Gateway, alice: Identity
) -> None:
    canister = install(net, alice, cycles=100 * TC)
    net.network.runtime.rules.choose(SubnetChoice(used_gib=1_000))
    with pytest.raises(RejectedError, match="due to its reserved cycles limit"):
        net.call(alice, canister, "twice")
    assert net.last(canister).status == "IC0534"
    assert net.held(canister).reserved_cycles == 0
    assert "reserve" not in dict(net.last(canister).items)
    net.call(alice, canister, "ten")
    assert dict(net.last(canister).items)["reserve"] == net.held(canister).reserved_cycles > 0


def test_a_query_may_grow_beyond_every_limit(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice)
    net.set(alice, canister, wasm_memory_limit=PAGE)
    assert net.query(alice, canister, "look") == b""
    assert net.held(canister).heap_bytes == PAGE


def test_the_heap_grows_as_far_as_the_settings_allow(net: Gateway, alice: Identity) -> None:
    canister = install(net, alice)
    net.set(alice, canister, wasm_memory_limit=11 * PAGE)
    net.call(alice, canister, "ten")
    words = "Wasm memory limit of 720896 bytes. The peak Wasm memory usage was 1376256 bytes"
    with pytest.raises(RejectedError, match=words) as refused:
        net.call(alice, canister, "ten")
    assert refused.value.error_code == net.last(canister).status == "IC0539"
    assert net.held(canister).heap_bytes == 11 * PAGE
    net.set(alice, canister, wasm_memory_limit=0)
    net.call(alice, canister, "ten")
    assert net.held(canister).heap_bytes == 21 * PAGE


def test_a_heap_beyond_its_limit_takes_no_messages_and_no_code(
    net: Gateway, alice: Identity
) -> None:
    canister = install(net, alice)
    net.set(alice, canister, wasm_memory_limit=PAGE - 1)
    with pytest.raises(RejectedError, match="peak Wasm memory usage was 65536 bytes") as refused:
        net.call(alice, canister, "ten")
    assert (refused.value.error_code, net.last(canister).instructions) == ("IC0539", 0)
    before = net.held(canister)
    for mode in ("upgrade", "reinstall"):
        with pytest.raises(RejectedError) as refused:
            net.install(alice, canister, mode, wasm=module(wide=True))
        assert refused.value.error_code == "IC0539"
    after = net.held(canister)
    assert (after.module_hash, after.history) == (before.module_hash, before.history)
    net.reopen()
    net.set(alice, canister, wasm_memory_limit=PAGE * 11)
    net.call(alice, canister, "ten")


def test_what_a_timer_began_may_grow_beyond_the_limit(net: Gateway, alice: Identity) -> None:
    canister = net.puppet(alice)
    due_ns = net.network.runtime.canister_time.now_ns() + SECOND_NS
    net.call(alice, canister, "run", puppet.timer(due_ns, puppet.grow(9)) + puppet.reply())
    before = net.held(canister).heap_bytes
    net.set(alice, canister, wasm_memory_limit=before + PAGE)
    net.network.runtime.canister_time.advance(2)
    net.until(lambda: net.held(canister).heap_bytes == before + 9 * PAGE)
    with pytest.raises(RejectedError, match="exceeded its current Wasm memory limit"):
        net.call(alice, canister, "run", puppet.reply())
