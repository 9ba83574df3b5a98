"""How often a canister is queried is shown by its status, and survives a restart."""

from typing import cast

import pytest

from datanode.agent import candid
from datanode.agent.identity import Identity
from datanode.errors import DiskFullError
from datanode.localnet.management import interface_types
from datanode.principal import Principal
from tests.fakes import puppet
from tests.fakes.counter import argument
from tests.fakes.gateway import EMPTY, Gateway, RejectedError

NOTHING = (0, 0, 0)


def shown(net: Gateway, who: Identity, canister: Principal) -> dict[str, int]:
    reply = net.manage(who, "canister_status", interface_types.CANISTER, canister_id=canister)
    (status,) = candid.decode((interface_types.CANISTER_STATUS,), reply)
    return cast("dict[str, dict[str, int]]", status)["query_stats"]


def counted(net: Gateway, who: Identity, canister: Principal) -> tuple[int, int, int]:
    found = shown(net, who, canister)
    assert (found["num_instructions_total"] > 0) == (found["num_calls_total"] > 0)
    return (
        found["num_calls_total"],
        found["request_payload_bytes_total"],
        found["response_payload_bytes_total"],
    )


def test_queries_are_counted_and_updates_are_not(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(1))
    assert counted(net, alice, canister) == NOTHING
    reply = net.query(alice, canister, "get")
    assert counted(net, alice, canister) == (1, len(EMPTY), len(reply))
    once = shown(net, alice, canister)["num_instructions_total"]
    for _ in range(4):
        net.query(alice, canister, "get")
    assert counted(net, alice, canister) == (5, 5 * len(EMPTY), 5 * len(reply))
    assert shown(net, alice, canister)["num_instructions_total"] == 5 * once
    with pytest.raises(RejectedError):
        net.query(alice, canister, "absent")
    calls, _, response_bytes = counted(net, alice, canister)
    assert (calls, response_bytes) == (6, 5 * len(reply))


def test_every_canister_of_a_composite_query_counts_its_own(net: Gateway, alice: Identity) -> None:
    asker, other = net.puppet(alice), net.puppet(alice)
    inner = puppet.reply(b"inner")
    script = puppet.call(other, inner, method="look", reply=puppet.reply(b"outer reply"))
    assert net.query(alice, asker, "ask", script) == b"outer reply"
    assert counted(net, alice, asker) == (1, len(script), len(b"outer reply"))
    assert counted(net, alice, other) == (1, len(inner), len(b"inner"))


def test_the_numbers_survive_a_restart_and_a_full_disk(
    net: Gateway, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    canister = net.counter(alice)
    net.query(alice, canister, "get")
    before = counted(net, alice, canister)
    net.reopen()
    assert counted(net, alice, canister) == before
    net.query(alice, canister, "get")

    def full(*_: object) -> int:
        raise DiskFullError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(net.network.records.database, "write", full)
        net.housekeeper().round()
    net.reopen()
    assert counted(net, alice, canister)[0] == 2


def test_the_numbers_go_with_their_canister(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.query(alice, canister, "get")
    net.housekeeper().round()
    net.query(alice, canister, "get")
    for method in ("stop_canister", "delete_canister"):
        net.manage(alice, method, interface_types.CANISTER, canister_id=canister)
    assert net.network.records.database.rows("SELECT * FROM query_stats") == []
    net.housekeeper().round()
    net.reopen()
    assert net.network.records.database.rows("SELECT * FROM query_stats") == []
