"""Canister history: contents, memory use, and when it is lost."""

import hashlib
from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.agent import candid
from datanode.agent.candid import Value
from datanode.agent.identity import Identity, anonymous
from datanode.agent.request_id import request_id
from datanode.errors import DiskFullError
from datanode.localnet.management import cycles_ledger_types, interface_types, snapshot_types
from datanode.localnet.management.canister_info import INFO, REQUEST
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.history import KEPT_COUNT, Cause, History
from datanode.localnet.state.topology import CYCLES_LEDGER, canister_id
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import DAY_S, TC
from tests.fakes.counter import counter_wasm
from tests.fakes.gateway import Gateway, RejectedError

MODULE = hashlib.sha256(counter_wasm()).digest()
CHANGE, CONTROLLER = 192, 30
"""Bytes: what the replica's compiler makes of `CanisterChange` and of `PrincipalId`."""


def told(net: Gateway, canister: Principal, count: int | None = 100) -> Mapping[str, Value]:
    """Ask about a canister as anybody may."""
    arg = candid.encode((REQUEST,), ({"canister_id": canister, "num_requested_changes": count},))
    reply = net.query(anonymous(), MANAGEMENT_CANISTER, "canister_info", arg, effective=canister)
    (fields,) = candid.decode((INFO,), reply)
    return cast("Mapping[str, Value]", fields)


def changes(net: Gateway, canister: Principal) -> list[tuple[str, Value]]:
    kept = cast("list[Mapping[str, Value]]", told(net, canister)["recent_changes"])
    return [cast("tuple[str, Value]", each["details"]) for each in kept]


def record_of(net: Gateway, canister: Principal) -> Canister:
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    return slot.canister


def settings(**chosen: Value) -> dict[str, Value]:
    return {**{name: None for _, name, _ in interface_types.SETTINGS.fields}, **chosen}


def test_a_history_tells_what_was_done_by_whom_and_when(
    net: Gateway, alice: Identity, bob: Identity
) -> None:
    canister = net.counter(alice)
    net.wall.pass_s(60)
    both: list[Value] = [alice.principal, bob.principal]
    net.manage(
        alice,
        "update_settings",
        interface_types.UPDATE_SETTINGS,
        canister_id=canister,
        settings=settings(controllers=both),
    )
    net.install(bob, canister, "upgrade")
    net.install(bob, canister, "reinstall")
    net.manage(bob, "uninstall_code", interface_types.CANISTER, canister_id=canister)
    net.reopen()
    ordered: list[Value] = [*sorted(cast("list[Principal]", both))]
    assert changes(net, canister) == [
        ("creation", {"controllers": [alice.principal], "environment_variables_hash": None}),
        ("code_deployment", {"mode": ("install", None), "module_hash": MODULE}),
        ("controllers_change", {"controllers": ordered}),
        ("code_deployment", {"mode": ("upgrade", None), "module_hash": MODULE}),
        ("code_deployment", {"mode": ("reinstall", None), "module_hash": MODULE}),
        ("code_uninstall", None),
    ]
    found = told(net, canister)
    assert (found["total_num_changes"], found["module_hash"]) == (6, None)
    kept = cast("list[Mapping[str, Value]]", found["recent_changes"])
    assert [each["canister_version"] for each in kept] == [0, 1, 2, 3, 4, 5]
    assert record_of(net, canister).version == 5
    by_alice, by_bob = (("from_user", {"user_id": who.principal}) for who in (alice, bob))
    assert [each["origin"] for each in kept] == [by_alice] * 3 + [by_bob] * 3
    times = [cast("int", each["timestamp_nanos"]) for each in kept]
    assert times == sorted(times)
    assert round((times[2] - times[1]) / 10**9) == 60
    assert record_of(net, canister).history.size_bytes == 6 * CHANGE + 3 * CONTROLLER


@pytest.mark.parametrize(
    ("asked", "given_count"), [(None, 0), (0, 0), (1, 1), (2, 2), (2**64 - 1, 2)]
)
def test_the_last_changes_are_told_as_many_as_are_asked_for(
    net: Gateway, alice: Identity, asked: int | None, given_count: int
) -> None:
    canister = net.counter(alice)
    found = told(net, canister, asked)
    kept = cast("list[Mapping[str, Value]]", found["recent_changes"])
    assert (len(kept), found["total_num_changes"]) == (given_count, 2)
    assert [each["canister_version"] for each in kept] == [0, 1][2 - given_count :]


def test_what_fails_or_concerns_no_controllers_is_no_change(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    before = record_of(net, canister).history
    with pytest.raises(RejectedError):
        net.install(alice, canister, "install")
    with pytest.raises(RejectedError):
        net.install(alice, canister, "upgrade", wasm=b"no module")
    variables: Value = [{"name": "A", "value": "1"}]
    net.manage(
        alice,
        "update_settings",
        interface_types.UPDATE_SETTINGS,
        canister_id=canister,
        settings=settings(environment_variables=variables, freezing_threshold=7),
    )
    net.manage(alice, "stop_canister", interface_types.CANISTER, canister_id=canister)
    net.manage(alice, "take_canister_snapshot", snapshot_types.TAKE, canister_id=canister)
    assert record_of(net, canister).history == before


def test_a_change_that_finds_no_room_on_the_disk_has_not_happened(
    net: Gateway, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    canister = net.counter(alice)
    before = told(net, canister)

    def full(_: Canister) -> None:
        raise DiskFullError("the disk is full", safe="")

    with monkeypatch.context() as patch:
        patch.setattr(net.network.records.canisters, "save", full)
        with pytest.raises(RejectedError):
            net.manage(alice, "uninstall_code", interface_types.CANISTER, canister_id=canister)
    assert told(net, canister) == before
    net.reopen()
    assert told(net, canister) == before


def test_the_variables_that_a_canister_begins_with_are_hashed(
    net: Gateway, alice: Identity
) -> None:
    variables: Value = [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]
    reply = net.manage(
        alice,
        "provisional_create_canister_with_cycles",
        interface_types.PROVISIONAL_CREATE,
        amount=TC,
        settings=settings(environment_variables=variables),
    )
    (made,) = candid.decode((interface_types.CANISTER,), reply)
    canister = cast("dict[str, Principal]", made)["canister_id"]
    ((_, details),) = changes(net, canister)
    expected = request_id({"A": "1", "B": "2"})
    assert cast("dict[str, Value]", details)["environment_variables_hash"] == expected


def test_a_snapshot_that_is_loaded_is_named_with_its_origin(net: Gateway, alice: Identity) -> None:
    canister, other = net.counter(alice), net.counter(alice)
    reply = net.manage(alice, "take_canister_snapshot", snapshot_types.TAKE, canister_id=canister)
    (taken,) = candid.decode((snapshot_types.SNAPSHOT,), reply)
    snapshot = cast("dict[str, Value]", taken)
    for target in (canister, other):
        net.manage(
            alice,
            "load_canister_snapshot",
            snapshot_types.LOAD,
            canister_id=target,
            snapshot_id=snapshot["id"],
        )
    loaded: dict[str, Value] = {
        "canister_version": 1,
        "snapshot_id": snapshot["id"],
        "taken_at_timestamp": snapshot["taken_at_timestamp"],
        "source": ("taken_from_canister", None),
        "from_canister_id": None,
    }
    assert changes(net, canister)[-1] == ("load_snapshot", loaded)
    assert changes(net, other)[-1] == ("load_snapshot", {**loaded, "from_canister_id": canister})


def test_a_snapshot_that_takes_the_code_away_says_so(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    method = "take_canister_snapshot"
    net.manage(alice, method, snapshot_types.TAKE, canister_id=canister, uninstall_code=True)
    assert changes(net, canister)[-1] == ("code_uninstall", None)
    assert told(net, canister)["total_num_changes"] == 3


def test_the_cycles_ledgers_canisters_are_made_by_the_minting_canister(
    net: Gateway, alice: Identity
) -> None:
    record = cycles_ledger_types.CREATE
    fields = {**{name: None for _, name, _ in record.fields}, "amount": 2 * TC}
    reply = net.call(alice, CYCLES_LEDGER, "create_canister", candid.encode((record,), (fields,)))
    (result,) = candid.decode((cycles_ledger_types.CREATED,), reply)
    _, made = cast("tuple[str, dict[str, Principal]]", result)
    (change,) = cast("list[Mapping[str, Value]]", told(net, made["canister_id"])["recent_changes"])
    _, origin = cast("tuple[str, Mapping[str, Value]]", change["origin"])
    assert str(origin["canister_id"]) == "rkp4c-7iaaa-aaaaa-aaaca-cai"


def test_history_is_memory_and_is_lost_with_the_last_cycles(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice, TC)
    held = record_of(net, canister)
    assert held.memory_bytes == held.history.size_bytes == CHANGE + CONTROLLER
    reply = net.manage(alice, "canister_status", interface_types.CANISTER, canister_id=canister)
    (status,) = candid.decode((interface_types.CANISTER_STATUS,), reply)
    fields = cast("Mapping[str, Value]", status)
    metrics = cast("Mapping[str, Value]", fields["memory_metrics"])
    assert metrics["canister_history_size"] == CHANGE + CONTROLLER
    assert fields["memory_size"] == CHANGE + CONTROLLER
    net.wall.pass_s(4_000 * DAY_S)
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    net.interface.rent.settle(slot)
    assert slot.canister.memory_bytes == 0
    assert (changes(net, canister), told(net, canister)["total_num_changes"]) == ([], 1)


def test_nobody_learns_of_another_canister_than_the_urls(net: Gateway, alice: Identity) -> None:
    canister, other = net.create(alice), net.create(alice)
    arg = candid.encode((REQUEST,), ({"canister_id": other, "num_requested_changes": 1},))
    with pytest.raises(Exception, match="does not match effective canister id"):
        net.query(alice, MANAGEMENT_CANISTER, "canister_info", arg, effective=canister)


ORIGINS = st.one_of(
    st.builds(Cause.user, st.just(canister_id(1)), st.integers(0, 2**64 - 1)),
    st.builds(
        Cause.canister,
        st.just(canister_id(2)),
        st.none() | st.integers(0, 2**64 - 1),
        st.integers(0, 2**64 - 1),
    ),
)
CONTROLLERS = st.lists(st.integers(0, 100).map(canister_id), max_size=10)


@given(st.lists(st.tuples(ORIGINS, st.none() | CONTROLLERS), max_size=3 * KEPT_COUNT))
def test_the_last_twenty_are_kept_and_all_are_counted(
    made: list[tuple[Cause, list[Principal] | None]],
) -> None:
    history = History()
    for version, (cause, named) in enumerate(made):
        details: tuple[str, Value] = ("code_uninstall", None)
        if named is not None:
            details = ("controllers_change", {"controllers": list(named)})
        history = history.with_change(cause, version, details)
    kept = cast("list[Mapping[str, Value]]", history.last(len(made)))
    first = max(0, len(made) - KEPT_COUNT)
    assert [each["canister_version"] for each in kept] == list(range(first, len(made)))
    assert [each["origin"] for each in kept] == [cause.origin for cause, _ in made[first:]]
    assert history.total_count == len(made)
    sizes = [CHANGE + CONTROLLER * len(named or ()) for _, named in made[first:]]
    assert history.size_bytes == sum(sizes)
    assert history.forgotten().with_change(*_one()).size_bytes == CHANGE


def _one() -> tuple[Cause, int, tuple[str, Value]]:
    return Cause.user(canister_id(1), 1), 1, ("code_uninstall", None)
