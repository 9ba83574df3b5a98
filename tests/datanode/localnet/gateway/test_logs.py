"""Logs of canisters: kept like their state, as far as the limit goes, and shown to few."""

import pytest

from datanode.agent import candid
from datanode.agent.identity import Identity
from datanode.localnet.management import interface_types
from datanode.localnet.state import logs
from datanode.principal import MANAGEMENT_CANISTER, Principal
from tests.fakes.counter import argument
from tests.fakes.gateway import Gateway, RejectedError

TRAP = b"[TRAP]: Canister called `ic0.trap` with message: 'boom'"
LINE_BYTES = 40


def log(net: Gateway, who: Identity, canister: Principal) -> list[tuple[object, bytes]]:
    arg = candid.encode((interface_types.CANISTER,), ({"canister_id": canister},))
    reply = net.query(who, MANAGEMENT_CANISTER, "fetch_canister_logs", arg, effective=canister)
    (fields,) = candid.decode((interface_types.CANISTER_LOGS,), reply)
    assert isinstance(fields, dict)
    lines = fields["canister_log_records"]
    assert isinstance(lines, list)
    times = [line["timestamp_nanos"] for line in lines]
    assert times == sorted(times)
    return [(line["idx"], line["content"]) for line in lines]


def log_bytes(net: Gateway, canister: Principal) -> int:
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    return slot.canister.log_bytes


def test_prints_and_traps_are_numbered_and_survive_a_restart_and_an_upgrade(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(1))
    with pytest.raises(RejectedError, match="boom"):
        net.call(alice, canister, "crash")
    net.reopen()
    net.install(alice, canister, "upgrade")
    net.call(alice, canister, "add", argument(1))
    assert log(net, alice, canister) == [(0, b"added"), (1, TRAP), (2, b"added")]
    assert log_bytes(net, canister) == 3 * LINE_BYTES + len(TRAP) + 10


def test_what_runs_without_replication_is_not_logged(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    for _ in range(2):
        with pytest.raises(RejectedError):
            net.query(alice, canister, "add", argument(1))
    assert log(net, alice, canister) == []


def test_lines_that_give_way_at_once_are_counted_and_not_written(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(1))
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    database = net.network.records.database
    lines = [f"{number:060}" for number in range(1000)]
    with database.transaction():
        before = database.row("SELECT total_changes()")
        slot.canister = logs.append(database, slot.canister, lines, 1)
        after = database.row("SELECT total_changes()")
        written = [line[2].decode() for line in logs.lines(database, canister)]
    assert written == lines[-40:]
    assert before is not None
    assert after is not None
    assert int(str(after[0])) - int(str(before[0])) == 1 + 40
    assert (slot.canister.log_bytes, slot.canister.log_count) == (4000, 1001)
    assert logs.lines(database, canister)[0][0] == 961


def test_the_oldest_lines_give_way(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice, 1000 * 10**12)
    fit = 4096 // (LINE_BYTES + len("added"))
    for _ in range(fit + 3):
        net.call(alice, canister, "add", argument(1))
    found = log(net, alice, canister)
    assert found == [(number, b"added") for number in range(3, fit + 3)]
    assert log_bytes(net, canister) == fit * (LINE_BYTES + len("added"))
    net.reopen()
    assert log(net, alice, canister) == found


@pytest.mark.parametrize("change", ["reinstall", "uninstall"])
def test_a_log_goes_with_the_code_and_its_numbers_go_on(
    net: Gateway, alice: Identity, change: str
) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(1))
    if change == "uninstall":
        net.manage(alice, "uninstall_code", interface_types.CANISTER, canister_id=canister)
    else:
        net.install(alice, canister, "reinstall")
    assert log(net, alice, canister) == []
    assert log_bytes(net, canister) == 0
    if change == "uninstall":
        net.install(alice, canister)
    net.call(alice, canister, "add", argument(1))
    assert log(net, alice, canister) == [(1, b"added")]


def test_a_log_is_read_by_queries_alone(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    with pytest.raises(RejectedError, match="only accessible in non-replicated mode") as rejected:
        net.manage(alice, "fetch_canister_logs", interface_types.CANISTER, canister_id=canister)
    assert (rejected.value.error_code, rejected.value.certified) == ("IC0406", False)


@pytest.mark.parametrize(("limit", "kept"), [(0, []), (44, [5]), (45, [5]), (100, [4, 5])])
def test_a_lower_limit_holds_from_the_next_line_on(
    net: Gateway, alice: Identity, limit: int, kept: list[int]
) -> None:
    canister = net.counter(alice)
    for _ in range(5):
        net.call(alice, canister, "add", argument(1))
    settings: dict[str, candid.Value] = dict.fromkeys(
        name for _, name, _ in interface_types.SETTINGS.fields
    )
    settings["log_memory_limit"] = limit
    method = "update_settings"
    net.manage(
        alice, method, interface_types.UPDATE_SETTINGS, canister_id=canister, settings=settings
    )
    net.call(alice, canister, "add", argument(1))
    numbers = [number for number, _ in log(net, alice, canister)]
    assert numbers == kept
    assert log_bytes(net, canister) <= limit
