"""datanode.localnet.execution.effect: all of a message, or nothing, whatever fails on the way."""

import sqlite3

import pytest

from datanode.agent.identity import Identity
from datanode.localnet.machine.machine import Machine
from tests.fakes import puppet
from tests.fakes.counter import argument, number
from tests.fakes.gateway import Gateway


class FullAtTheEnd:
    """A connection whose disk is full when a transaction is to be committed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.in_transaction = True

    def execute(self, statement: str, values: tuple[str, ...] = ()) -> sqlite3.Cursor:
        if statement == "COMMIT":
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self._connection.execute(statement, values)


def test_what_follows_a_message_follows_although_its_old_files_are_stuck(
    net: Gateway, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, callee = net.puppet(alice), net.puppet(alice)
    slot = net.network.records.canisters.find(caller)
    assert slot is not None
    commit = slot.machine.commit

    def stuck() -> None:
        monkeypatch.setattr(slot.machine, "commit", commit)
        commit()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(slot.machine, "commit", stuck)
    script = puppet.call(callee, puppet.reply(b"done"), reply=puppet.forward() + puppet.reply())
    body = net.signed_call(alice, caller, "run", script)
    with pytest.raises(OSError, match="Input/output"):
        net.post_call(body, caller)
    net.settle()
    assert net.post_call(body, caller) == b"done"


def test_a_canister_that_cannot_be_recorded_is_closed_and_its_creation_may_be_repeated(
    net: Gateway, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Machine] = []
    close = Machine.close

    def closing(machine: Machine) -> None:
        closed.append(machine)
        close(machine)

    with monkeypatch.context() as patch:
        database = net.network.records.database
        patch.setattr(database, "_connection", FullAtTheEnd(database._connection))
        patch.setattr(Machine, "close", closing)
        with pytest.raises(Exception, match="full"):
            net.create(alice)
    assert len(closed) == 1
    assert number(net.call(alice, net.counter(alice), "add", argument(2))) == 2
