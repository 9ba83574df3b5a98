"""Damage behind a canister's back: cycles drained, growth refused, bytes lost, states put back."""

from pathlib import Path

import pytest

from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.agent.reject import reject_of
from datanode.errors import CyclesError, LocalNetworkError, NodeRejectedError
from datanode.localnet.api import LocalNetwork
from datanode.localnet.faults import DrainLevel
from datanode.principal import Principal
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.counter import argument, number


def balance(net: LocalNetwork, canister: Principal) -> int:
    (mine,) = [each for each in net.canisters() if each["canister"] == canister.text]
    found = mine["balance_cycles"]
    assert isinstance(found, int)
    return found


@pytest.mark.parametrize("level", list(DrainLevel))
def test_a_drained_canister_is_out_of_cycles_and_the_ledger_says_who_took_them(
    net: LocalNetwork, client: Client, canister: Principal, level: DrainLevel
) -> None:
    client.call(canister, "add", argument(1))
    before = balance(net, canister)
    last = net.ledger()[-1].sequence
    left = net.faults.drain(canister, level)
    assert (left == 0) is (level is DrainLevel.ZERO)
    entries = [entry for entry in net.ledger(after=last) if entry.canister == canister]
    assert entries[0].method == "drain"
    assert dict(entries[0].items)["drained"] > 0
    assert before - balance(net, canister) == sum(entry.total_cycles for entry in entries)
    with pytest.raises((CyclesError, NodeRejectedError)):
        client.call(canister, "add", argument(1))


def test_a_canister_at_its_threshold_says_what_is_missing(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    net.faults.drain(canister, DrainLevel.THRESHOLD)
    with pytest.raises(CyclesError) as caught:
        client.call(canister, "add", argument(1))
    reject = reject_of(caught.value)
    assert reject is not None
    assert reject.error_code == "IC0207"


def test_stored_bytes_are_erased(net: LocalNetwork, client: Client, canister: Principal) -> None:
    client.call(canister, "add", argument(0x0102_0304_0506_0708))
    net.faults.erase(canister, 2, 4)
    assert number(client.query(canister, "get")) == 0x0102_0000_0000_0708
    with pytest.raises(LocalNetworkError, match="no 2 bytes"):
        net.faults.erase(canister, 65_535, 2)


def test_a_rollback_puts_memory_and_certified_data_back_and_is_gone_on_from(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    client.call(canister, "add", argument(5))
    net.faults.mark(canister)
    client.call(canister, "add", argument(1))
    path = [b"canister", canister.raw, b"certified_data"]
    before = balance(net, canister)
    net.faults.roll_back(canister)
    assert balance(net, canister) == before, "a rollback costs and gives nothing"
    assert number(client.query(canister, "get")) == 5
    raw = client.query(canister, "certified")
    assert (5).to_bytes(8, "little") in raw, path
    assert number(client.call(canister, "add", argument(2))) == 7
    net.faults.roll_back(canister)
    assert number(client.query(canister, "get")) == 5


def test_a_mark_and_a_rollback_survive_a_kill(tmp_path: Path, alice: Identity) -> None:
    with LocalNetwork(tmp_path / "net") as net:
        where = Network(url=net.url, root_key=net.root_key, name="test")
        with Client(where, alice) as client:
            canister = client.counter()
            client.call(canister, "add", argument(5))
            net.faults.mark(canister, "a")
            client.call(canister, "add", argument(1))
            net.kill()
            net.start()
            net.faults.roll_back(canister, "a")
            net.kill()
            net.start()
        with Client(where, alice) as client:
            assert number(client.query(canister, "get")) == 5
            assert number(client.call(canister, "add", argument(1))) == 6


def test_every_damage_is_logged(net: LocalNetwork, client: Client, canister: Principal) -> None:
    client.call(canister, "add", argument(1))
    before = (net.directory / "log.txt").read_text()
    net.faults.mark(canister, "here")
    net.faults.flip(canister, 2, 1)
    net.faults.erase(canister, 2, 4)
    net.faults.roll_back(canister, "here")
    left = net.faults.drain(canister)
    said = (net.directory / "log.txt").read_text().removeprefix(before)
    deeds = [line.partition(" WARNING fault: ")[2] for line in said.splitlines()]
    assert [deed for deed in deeds if deed] == [
        f"the state of {canister} is marked as here",
        f"a stored byte of {canister} at 2 is changed",
        f"4 bytes of {canister} at 2 are erased",
        f"{canister} is rolled back to here",
        f"{canister} is drained to {left} cycles",
    ]


def test_damage_to_what_is_not_there_is_refused_in_words(
    net: LocalNetwork, client: Client, canister: Principal
) -> None:
    with pytest.raises(LocalNetworkError, match="no mark"):
        net.faults.roll_back(canister, "never")
    with pytest.raises(LocalNetworkError, match="no canister"):
        net.faults.drain(Principal(b"\x01" * 10))
    with pytest.raises(LocalNetworkError, match="mark's name"):
        net.faults.mark(canister, "../../elsewhere")
    with pytest.raises(LocalNetworkError, match="no mark"):
        net.faults.set("stale-query", canister=canister, mark="never")
    with pytest.raises(LocalNetworkError, match="no fault has the number"):
        net.faults.clear(999)
