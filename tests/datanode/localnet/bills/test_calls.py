"""Exact costs of calls between canisters; the caller pays both ways."""

import pytest

from datanode.agent import candid
from datanode.localnet.management import interface_types
from datanode.localnet.management.from_canisters import CREATE
from datanode.localnet.state.ledger import BillEntry
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import SECOND_NS, TC
from tests.datanode.localnet.bills.published import Items
from tests.datanode.localnet.bills.world import World, check
from tests.fakes import puppet

RUN_BYTES = len("run")


def parties(world: World) -> tuple[Principal, Principal]:
    caller, callee = (world.net.puppet(world.who, 100 * TC) for _ in range(2))
    return caller, callee


def called(
    world: World, caller: Principal, script: bytes, *, rejected: str = ""
) -> tuple[list[BillEntry], Items]:
    return world.send("run", script, to=caller, rejected=rejected)


@pytest.mark.parametrize("size", [0, 10_000])
@pytest.mark.parametrize("timeout_s", [None, 30])
def test_a_call_and_its_reply_are_paid_by_the_byte(
    world: World, size: int, timeout_s: int | None
) -> None:
    caller, callee = parties(world)
    answer = puppet.reply(bytes(size))
    script = puppet.call(callee, answer, reply=puppet.reply(), timeout_s=timeout_s)
    (made, served, back), ingress = called(world, caller, script)
    published = world.published
    request = RUN_BYTES + len(answer)
    check(made, ingress, published.executed(made.instructions), published.called(request))
    assert served.canister == callee
    check(served, published.executed(served.instructions))
    check(back, published.executed(back.instructions), published.answered(size))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (puppet.reject("no, thank you"), b"no, thank you"),
        (puppet.trap("boom"), b""),
    ],
)
def test_a_call_that_fails_costs_the_bytes_of_its_reject(
    world: World, answer: bytes, text: bytes
) -> None:
    caller, callee = parties(world)
    then = puppet.forward_reject() + puppet.reply()
    script = puppet.call(callee, answer, reject=then)
    (made, served, back), ingress = called(world, caller, script)
    published = world.published
    said = text or back.reply
    assert said
    request = RUN_BYTES + len(answer)
    check(made, ingress, published.executed(made.instructions), published.called(request))
    check(served, published.executed(served.instructions))
    check(back, published.executed(back.instructions), published.answered(len(said) + 1))


def test_cycles_that_are_not_accepted_come_back(world: World) -> None:
    caller, callee = parties(world)
    answer = puppet.accept(3_000) + puppet.reply()
    script = puppet.call(callee, answer, cycles=10_000, reply=puppet.reply())
    (made, served, back), ingress = called(world, caller, script)
    published = world.published
    request = RUN_BYTES + len(answer)
    check(made, ingress, published.executed(made.instructions), published.called(request, 10_000))
    check(served, published.executed(served.instructions), {"accepted": -3_000})
    check(back, published.executed(back.instructions), published.answered(0, 7_000))


def test_a_call_to_nobody_is_paid_too(world: World) -> None:
    caller, _ = parties(world)
    nobody = Principal(b"\x80\0\0\0\0\x10\xff\xff\1\1")
    script = puppet.call(nobody, b"??", reject=puppet.forward_reject() + puppet.reply())
    (made, back), ingress = called(world, caller, script)
    published = world.published
    check(made, ingress, published.executed(made.instructions), published.called(RUN_BYTES + 2))
    check(back, published.executed(back.instructions), published.answered(len(back.reply) + 1))


def test_burning_is_an_item_of_its_own(world: World) -> None:
    caller, _ = parties(world)
    (entry,), ingress = called(world, caller, puppet.burn(12_345) + puppet.reply())
    check(entry, ingress, world.published.executed(entry.instructions), {"burnt": 12_345})


def test_a_timer_pays_for_its_execution_alone(world: World) -> None:
    caller, callee = parties(world)
    due_ns = world.net.network.runtime.canister_time.now_ns() + 5 * SECOND_NS
    call = puppet.call(callee, puppet.reply(), reply=b"")
    script = puppet.timer(due_ns, call) + puppet.reply()
    before = len(world.entries())
    with world.billed() as entries:
        world.net.call(world.who, caller, "run", script)
        world.net.network.runtime.canister_time.advance(6)
        world.net.until(lambda: len(world.entries()) == before + 4)
    _, fired, served, back = entries
    published = world.published
    request = published.called(RUN_BYTES + len(puppet.reply()))
    assert fired.method == "canister_global_timer"
    check(fired, published.executed(fired.instructions), request)
    check(served, published.executed(served.instructions))
    check(back, published.executed(back.instructions), published.answered(0))


def test_a_call_of_the_management_canister_is_paid_by_the_caller(world: World) -> None:
    caller, callee = parties(world)
    world.net.manage(
        world.who,
        "update_settings",
        interface_types.UPDATE_SETTINGS,
        canister_id=callee,
        settings={name: None for _, name, _ in interface_types.SETTINGS.fields}
        | {"controllers": [world.who.principal, caller]},
    )
    chunk: candid.Value = {"canister_id": callee, "chunk": b"wasm"}
    arg = candid.encode((interface_types.UPLOAD_CHUNK,), (chunk,))
    script = puppet.call(
        MANAGEMENT_CANISTER, arg, method="upload_chunk", reply=puppet.forward() + puppet.reply()
    )
    (made, done, back), ingress = called(world, caller, script)
    published = world.published
    request = published.called(len("upload_chunk") + len(arg))
    check(made, ingress, published.executed(made.instructions), request)
    assert done.canister == callee
    check(done, published.managed(200_000_000))
    check(back, published.executed(back.instructions), published.answered(len(back.reply)))


def test_a_canister_that_is_created_by_another_pays_its_fee_out_of_what_it_is_given(
    world: World,
) -> None:
    caller, _ = parties(world)
    arg = candid.encode((CREATE,), ({"settings": None, "sender_canister_version": None},))
    script = puppet.call(
        MANAGEMENT_CANISTER, arg, method="create_canister", cycles=5 * TC, reply=puppet.reply()
    )
    (made, born, back), ingress = called(world, caller, script)
    published = world.published
    request = published.called(len("create_canister") + len(arg), 5 * TC)
    check(made, ingress, published.executed(made.instructions), request)
    check(born, {"accepted": -5 * TC, "creation": published.creation})
    response = dict(back.items)["call_response"]
    assert response > 0
    check(
        back,
        published.executed(back.instructions),
        {**published.answered(0), "call_response": response},
    )
