"""Atomicity: failed transactions, full disks, interrupted deletions."""

import pytest

from datanode.agent.identity import Identity
from datanode.errors import DataNodeError
from datanode.localnet import process
from tests.fakes.counter import argument, number
from tests.fakes.gateway import Gateway, RejectedError


def test_a_message_whose_transaction_failed_has_not_happened(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(1))
    before = net.balance(canister)
    net.network.records.database.write("ALTER TABLE ledger RENAME TO away")
    body = net.signed_call(alice, canister, "add", argument(1))
    with pytest.raises(DataNodeError, match="no such table"):
        net.post_call(body, canister)
    net.network.records.database.write("ALTER TABLE away RENAME TO ledger")
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
