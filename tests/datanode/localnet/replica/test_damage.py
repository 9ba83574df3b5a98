"""datanode.localnet.replica.damage: what is done to a canister is done to it as it is then."""

import threading
from types import TracebackType

import pytest

from datanode.agent.identity import Identity
from datanode.errors import NotFoundError
from datanode.localnet.state.checkpoints import StateCheckpoint
from datanode.localnet.state.drain_level import DrainLevel
from datanode.principal import Principal
from tests.fakes.counter import argument, number
from tests.fakes.gateway import Gateway


def test_a_rollback_looks_its_mark_up_while_nobody_can_make_another(
    net: Gateway, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    canister = net.counter(alice)
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    damage = net.damage()
    damage.mark(canister, "before")
    net.call(alice, canister, "add", argument(1))
    found, free = net.network.records.marks.find, []

    def find(canister: Principal, name: str) -> StateCheckpoint:
        other = threading.Thread(target=lambda: free.append(slot.lock.acquire(blocking=False)))
        other.start()
        other.join()
        return found(canister, name)

    monkeypatch.setattr(net.network.records.marks, "find", find)
    damage.roll_back(canister, "before")
    assert free == [False]
    assert number(net.query(alice, canister, "get")) == 0


def test_a_canister_that_is_deleted_meanwhile_is_not_brought_back(
    net: Gateway, alice: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    canister = net.counter(alice)
    found = net.network.records.canisters.find(canister)
    assert found is not None
    slot, lock = found, found.lock

    class WonByTheDeletion:
        def __enter__(self) -> None:
            lock.acquire()
            slot.deleted = True

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            slot.deleted = False
            lock.release()

    before = net.balance(canister)
    monkeypatch.setattr(slot, "lock", WonByTheDeletion())
    with pytest.raises(NotFoundError):
        net.damage().drain(canister, DrainLevel.ZERO)
    assert net.balance(canister) == before
