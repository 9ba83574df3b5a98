"""A killed server loses no acknowledged update and executes no message twice."""

import random
import threading
import time
from pathlib import Path

import pytest

from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.agent.outcome import Pending, Reply, SignedCall
from datanode.errors import DataNodeError
from datanode.localnet import process
from datanode.localnet.api import LocalNetwork
from datanode.units import TC
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.counter import argument, number
from tests.fakes.gateway import Gateway, RejectedError


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.nightly)])
def test_killed_under_load_it_keeps_what_it_acknowledged_and_repeats_nothing(
    tmp_path: Path, alice: Identity, kills: int
) -> None:
    """Four threads add one; each message is sent until it is settled, over all kills."""
    pause = random.Random(7)
    with LocalNetwork(tmp_path) as net:
        where = Network(url=net.url, root_key=net.root_key, name="test")
        with Client(where, alice) as client:
            canister = client.counter(100_000 * TC)
            done = threading.Event()
            settled: list[int] = []

            def work() -> None:
                while not done.is_set():
                    message = client.agent.prepare(canister, "add", argument(1))
                    settled.append(_until_settled(client, message))

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for _ in range(kills):
                time.sleep(pause.uniform(0.02, 0.3))
                net.kill()
                net.start()
            done.set()
            for thread in threads:
                thread.join()
            total = number(client.query(canister, "get"))
        assert len(settled) > kills
        # Every message added exactly one: the values that they saw are all different, no gap.
        assert sorted(settled) == list(range(1, total + 1))
        entries = [entry for entry in net.ledger() if entry.method == "add"]
        assert len({entry.request_id for entry in entries}) == len(entries) == total
        net.stop()
        mine = [entry for entry in net.ledger() if entry.canister == canister]
        assert mine[-1].balance_cycles == -sum(entry.total_cycles for entry in mine)


def _until_settled(client: Client, message: SignedCall) -> int:
    while True:
        try:
            found = client.agent.send(message)
        except DataNodeError as error:
            if not error.retryable:
                raise
            found = Pending.UNKNOWN
        if isinstance(found, Reply):
            return number(found.data)
        time.sleep(0.02)


def test_a_message_whose_transaction_failed_has_not_happened(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(1))
    before = net.balance(canister)
    net.network.database.write("ALTER TABLE ledger RENAME TO away")
    body = net.signed_call(alice, canister, "add", argument(1))
    with pytest.raises(DataNodeError, match="no such table"):
        net.post_call(body, canister)
    net.network.database.write("ALTER TABLE away RENAME TO ledger")
    assert number(net.query(alice, canister, "get")) == 1
    assert net.balance(canister) == before
    assert number(net.post_call(body, canister)) == 2


def test_a_full_disk_refuses_updates_in_plain_words_and_answers_queries(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    body = net.signed_call(alice, canister, "add", argument(1))
    net.free_bytes = 1 << 20
    with pytest.raises(RejectedError, match="1 MiB left; updates are refused") as rejected:
        net.post_call(body, canister)
    assert (rejected.value.error_code, rejected.value.certified) == ("IC0507", False)
    with pytest.raises(RejectedError, match="updates are refused"):
        net.create(alice)
    assert number(net.query(alice, canister, "get")) == 0
    net.free_bytes = 1 << 40
    assert number(net.post_call(body, canister)) == 1


def test_files_of_a_canister_whose_deletion_was_interrupted_are_swept(
    net: Gateway, alice: Identity
) -> None:
    canister = net.counter(alice)
    left = net.folder / "canisters" / "left-behind"
    left.mkdir()
    (left / "heap-0.bin").write_bytes(b"x")
    net.reopen()
    assert not left.exists()
    assert number(net.query(alice, canister, "get")) == 0


def test_the_ledger_is_read_while_the_network_runs(net: Gateway, alice: Identity) -> None:
    net.counter(alice)
    assert [entry.method for entry in process.read_ledger(net.folder)] == [
        "provisional_create_canister_with_cycles",
        "install_code",
    ]
