"""Canisters that call the management canister."""

import hashlib
from typing import cast

import pytest

from datanode.agent import candid
from datanode.agent.candid import Blob, Record, Value
from datanode.agent.identity import Identity
from datanode.localnet.management import interface_types
from datanode.localnet.management.account_book import START_CYCLES
from datanode.localnet.management.canister_info import INFO, METADATA, METADATA_REQUEST, REQUEST
from datanode.localnet.management.canister_status import MAX_LOGS_REPLY_BYTES
from datanode.localnet.management.cycles_ledger import BLOCK_FEE_CYCLES
from datanode.localnet.management.cycles_ledger_types import DEPOSIT, DEPOSITED
from datanode.localnet.management.from_canisters import CREATE
from datanode.localnet.state.bill import MAX_CYCLES
from datanode.localnet.state.canister_record import CanisterState
from datanode.localnet.state.topology import CYCLES_LEDGER
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import TC
from tests.fakes import cycles, puppet
from tests.fakes.counter import CANDID
from tests.fakes.gateway import EMPTY, Gateway, RejectedError
from tests.fakes.puppet import See, puppet_wasm

FORWARD = puppet.forward() + puppet.reply()
SEE_REJECT = puppet.append(b"rejected ") + puppet.forward_reject() + puppet.reply()


def argument(record: Record, **fields: Value) -> bytes:
    given: dict[str, Value] = {name: None for _, name, _ in record.fields}
    return candid.encode((record,), ({**given, **fields},))


def manage(
    net: Gateway, who: Identity, manager: Principal, method: str, arg: bytes, *, sent: int = 0
) -> bytes:
    script = puppet.call(
        MANAGEMENT_CANISTER, arg, method=method, cycles=sent, reply=FORWARD, reject=SEE_REJECT
    )
    return net.call(who, manager, "run", script)


def made(reply: bytes) -> Principal:
    (fields,) = candid.decode((interface_types.CANISTER,), reply)
    assert isinstance(fields, dict)
    canister = fields["canister_id"]
    assert isinstance(canister, Principal)
    return canister


def test_a_canister_creates_fills_stops_and_deletes_another(net: Gateway, alice: Identity) -> None:
    manager = net.puppet(alice, 100 * TC)
    child = made(manage(net, alice, manager, "create_canister", argument(CREATE), sent=5 * TC))
    assert net.balance(child) == 5 * TC - net.fees.creation_cycles
    install = argument(
        interface_types.INSTALL,
        mode=("install", None),
        canister_id=child,
        wasm_module=puppet_wasm(),
        arg=b"",
    )
    assert manage(net, alice, manager, "install_code", install) == EMPTY
    assert net.call(alice, child, "run", puppet.reply(b"alive")) == b"alive"
    named = argument(interface_types.CANISTER, canister_id=child)
    before = net.balance(child)
    assert manage(net, alice, manager, "deposit_cycles", named, sent=TC) == EMPTY
    assert net.balance(child) == before + TC
    assert manage(net, alice, manager, "canister_status", named).startswith(b"DIDL")
    assert manage(net, alice, manager, "stop_canister", named) == EMPTY
    slot = net.network.records.canisters.find(child)
    assert slot is not None
    assert slot.canister.status is CanisterState.STOPPED
    assert manage(net, alice, manager, "start_canister", named) == EMPTY
    assert manage(net, alice, manager, "stop_canister", named) == EMPTY
    cycles.check(net.network.records.database)
    assert manage(net, alice, manager, "delete_canister", named) == EMPTY
    assert net.network.records.canisters.find(child) is None


def test_a_canister_deposits_cycles_on_the_cycles_ledger(net: Gateway, alice: Identity) -> None:
    giver = net.puppet(alice)
    account: Value = {"owner": alice.principal, "subaccount": None}
    arg = candid.encode((DEPOSIT,), ({"to": account, "memo": None},))
    before = net.balance(giver)

    def deposit(sent: int) -> bytes:
        script = puppet.call(
            CYCLES_LEDGER, arg, method="deposit", cycles=sent, reply=FORWARD, reject=SEE_REJECT
        )
        return net.call(alice, giver, "run", script)

    (made,) = candid.decode((DEPOSITED,), deposit(2 * TC))
    assert made == {"block_index": 0, "balance": START_CYCLES + 2 * TC - BLOCK_FEE_CYCLES}
    assert TC < before - net.balance(giver) - TC < TC + TC // 100
    left = net.balance(giver)
    assert b"less than the cycles ledger fee" in deposit(BLOCK_FEE_CYCLES - 1)
    assert left - net.balance(giver) < TC // 100
    found = cycles.totals(net.network.records.database)
    assert sum(found[item] for item in cycles.MOVED) == 2 * TC


def test_more_cycles_than_can_be_told_are_lost(net: Gateway, alice: Identity) -> None:
    rich = net.puppet(alice)
    for amount in (1 << 200, MAX_CYCLES):
        net.manage(
            alice,
            "provisional_top_up_canister",
            interface_types.TOP_UP,
            canister_id=rich,
            amount=amount,
        )
        assert net.balance(rich) == MAX_CYCLES
    seen = net.call(alice, rich, "run", puppet.see(See.BALANCE) + puppet.reply())
    assert len(seen) == 8
    cycles.check(net.network.records.database)


def allow_own_logs(net: Gateway, who: Identity, canister: Principal) -> None:
    record = interface_types.UPDATE_SETTINGS
    (settings,) = (kind for _, name, kind in record.fields if name == "settings")
    assert isinstance(settings, Record)
    chosen: dict[str, Value] = {name: None for _, name, _ in settings.fields}
    chosen["controllers"] = [who.principal, canister]
    net.manage(who, "update_settings", record, canister_id=canister, settings=chosen)


def test_fetching_logs_costs_a_canister_by_their_bytes(net: Gateway, alice: Identity) -> None:
    manager = net.puppet(alice)
    allow_own_logs(net, alice, manager)
    named = argument(interface_types.CANISTER, canister_id=manager)
    most = net.fees.log_fetch_cycles(MAX_LOGS_REPLY_BYTES)
    assert most == (5_000_000 + 80 * 2_000_000) * 13
    refused = manage(net, alice, manager, "fetch_canister_logs", named, sent=most - 1)
    assert f"request sent with {most - 1} cycles, but {most} cycles".encode() in refused
    reply = manage(net, alice, manager, "fetch_canister_logs", named, sent=most)
    assert candid.decode((interface_types.CANISTER_LOGS,), reply) == ({"canister_log_records": []},)
    cycles.check(net.network.records.database)
    found = cycles.totals(net.network.records.database)
    assert found["log_fetch"] == (5_000_000 + 80 * len(reply)) * 13


def test_strangers_logs_are_refused_to_canisters(net: Gateway, alice: Identity) -> None:
    manager, other = net.puppet(alice), net.puppet(alice)
    most = net.fees.log_fetch_cycles(MAX_LOGS_REPLY_BYTES)
    named = argument(interface_types.CANISTER, canister_id=other)
    answer = manage(net, alice, manager, "fetch_canister_logs", named, sent=most)
    assert answer.startswith(b"rejected IC0512")


def test_raw_rand_is_random(net: Gateway, alice: Identity) -> None:
    manager = net.puppet(alice)
    drawn = {manage(net, alice, manager, "raw_rand", EMPTY) for _ in range(2)}
    assert len(drawn) == 2
    for each in drawn:
        (data,) = candid.decode((Blob,), each)
        assert isinstance(data, bytes)
        assert len(data) == 32


@pytest.mark.parametrize(
    ("method", "arg", "text"),
    [
        ("create_canister", argument(CREATE), b"IC0403: Creating a canister requires a fee of"),
        ("raw_rand", b"nonsense", b"IC0408: "),
        ("canister_status", b"nonsense", b"IC0408: "),
        ("no_such_method", EMPTY, b"IC0407: "),
    ],
)
def test_what_the_management_canister_rejects_brings_the_cycles_back(
    net: Gateway, alice: Identity, method: str, arg: bytes, text: bytes
) -> None:
    manager = net.puppet(alice)
    reply = manage(net, alice, manager, method, arg, sent=1000)
    assert reply.startswith(b"rejected " + text)
    net.settle()
    cycles.check(net.network.records.database)


def test_only_controllers_manage(net: Gateway, alice: Identity) -> None:
    manager, other = net.puppet(alice), net.puppet(alice)
    named = argument(interface_types.CANISTER, canister_id=other)
    assert b"IC0512: Only controllers" in manage(net, alice, manager, "stop_canister", named)
    assert manage(net, alice, manager, "deposit_cycles", named, sent=TC) == EMPTY


def test_a_canister_may_stop_and_be_told_by_its_caller(net: Gateway, alice: Identity) -> None:
    """The stop waits for the call that is open, and the manager for the stop."""
    manager, worker, slow = (net.puppet(alice) for _ in range(3))
    net.set(alice, worker, controllers=[alice.principal, manager])
    slot = net.network.records.canisters.find(slow)
    assert slot is not None
    named = argument(interface_types.CANISTER, canister_id=worker)
    with slot.lock:
        work = net.signed_call(
            alice, worker, "run", puppet.call(slow, puppet.reply(b"done"), reply=FORWARD)
        )
        net.interface.execute(net.interface.admit(work, worker).message)
        script = puppet.call(
            MANAGEMENT_CANISTER,
            named,
            method="stop_canister",
            cycles=TC,
            reply=puppet.see(See.REFUNDED) + puppet.reply(),
        )
        stop = net.signed_call(alice, manager, "run", script)
        net.interface.execute(net.interface.admit(stop, manager).message)
        net.until(lambda: bool(net.network.traffic.stops.all()))
    assert net.post_call(work, worker) == b"done"
    assert puppet.number(net.post_call(stop, manager)) == TC


def test_a_canister_that_changes_another_is_named_with_the_version_that_it_tells(
    net: Gateway, alice: Identity
) -> None:
    manager = net.puppet(alice, 100 * TC)
    arg = argument(CREATE, sender_canister_version=77)
    child = made(manage(net, alice, manager, "create_canister", arg, sent=5 * TC))
    manage(
        net,
        alice,
        manager,
        "uninstall_code",
        argument(interface_types.UNINSTALL, canister_id=child),
    )
    asked = argument(REQUEST, canister_id=child, num_requested_changes=2)
    (fields,) = candid.decode((INFO,), manage(net, alice, manager, "canister_info", asked))
    assert isinstance(fields, dict)
    origins = [each["origin"] for each in cast("list[dict[str, Value]]", fields["recent_changes"])]
    assert origins == [
        ("from_canister", {"canister_id": manager, "canister_version": 77}),
        ("from_canister", {"canister_id": manager, "canister_version": None}),
    ]


def test_any_canister_may_learn_module_and_controllers_of_another(
    net: Gateway, alice: Identity
) -> None:
    asker, other = net.puppet(alice), net.puppet(alice)
    reply = manage(net, alice, asker, "canister_info", argument(REQUEST, canister_id=other))
    (fields,) = candid.decode((INFO,), reply)
    assert isinstance(fields, dict)
    assert fields["module_hash"] == hashlib.sha256(puppet_wasm()).digest()
    assert fields["controllers"] == [alice.principal]


def test_a_canister_reads_the_metadata_of_another_one(
    net: Gateway, alice: Identity, bob: Identity
) -> None:
    controller, stranger = net.puppet(alice, 100 * TC), net.puppet(bob)
    counter, empty = net.counter(alice), net.create(alice)
    both: list[Value] = [alice.principal, controller]
    net.set(alice, counter, controllers=both)

    def metadata(who: Identity, asker: Principal, name: str, of: Principal = counter) -> bytes:
        asked = argument(METADATA_REQUEST, canister_id=of, name=name)
        return manage(net, who, asker, "canister_metadata", asked)

    def told(reply: bytes) -> Value:
        (fields,) = candid.decode((METADATA,), reply)
        assert isinstance(fields, dict)
        value: Value = fields["value"]
        return value

    assert told(metadata(bob, stranger, "candid:service")) == CANDID.encode()
    assert told(metadata(alice, controller, "secret")) == b"for controllers"
    for reply in (
        metadata(bob, stranger, "secret"),
        metadata(alice, controller, "secre"),
        metadata(bob, stranger, ""),
    ):
        assert reply.startswith(f"rejected The canister {counter} has no metadata section".encode())
    assert metadata(alice, controller, "secret", empty) == (
        f"rejected The canister {empty} has no Wasm module and hence no metadata is "
        "available.".encode()
    )
    asked = argument(METADATA_REQUEST, canister_id=counter, name="secret")
    with pytest.raises(RejectedError, match="Only canisters can call ic00 method"):
        net.call(alice, MANAGEMENT_CANISTER, "canister_metadata", asked, effective=counter)
