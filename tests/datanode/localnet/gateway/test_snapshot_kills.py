"""A server that is killed while it copies: snapshots are whole or not there, loads happen once."""

import random
import threading
import time
from pathlib import Path

import pytest

from datanode.agent import candid
from datanode.agent.identity import Identity
from datanode.agent.message_outcome import CertifiedReply
from datanode.agent.network import Network
from datanode.agent.signed_message import Unsettled
from datanode.errors import DataNodeError
from datanode.localnet.api import LocalNetwork
from datanode.localnet.management import snapshot_types
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import TC
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.counter import argument, number

MOST_KEPT = 4


class Keeper:
    """Takes, loads and deletes snapshots in turn, and knows what each must bring back."""

    def __init__(self, client: Client, canister: Principal) -> None:
        self._client = client
        self._canister = canister
        self._chance = random.Random(5)
        self.value = 0
        self.kept: dict[bytes, int] = {}
        self.loads = 0

    def step(self) -> None:
        self.value += 1
        assert number(self._settle(self._canister, "add", argument(1))) == self.value
        if len(self.kept) < MOST_KEPT:
            (made,) = candid.decode(
                (snapshot_types.SNAPSHOT,), self._manage("take_canister_snapshot", None)
            )
            assert isinstance(made, dict)
            identifier = made["id"]
            assert isinstance(identifier, bytes)
            self.kept[identifier] = self.value
            return
        identifier = self._chance.choice(sorted(self.kept))
        self._manage("load_canister_snapshot", identifier)
        self.value = self.kept[identifier]
        self.loads += 1
        self._manage("delete_canister_snapshot", identifier)
        del self.kept[identifier]

    def _manage(self, method: str, identifier: bytes | None) -> bytes:
        kind: candid.Record = snapshot_types.TAKE if identifier is None else snapshot_types.ONE
        fields: dict[str, candid.Value] = {name: None for _, name, _ in kind.fields}
        fields["canister_id"] = self._canister
        if identifier is not None:
            fields["snapshot_id"] = identifier
        arg = candid.encode((kind,), (fields,))
        return self._settle(MANAGEMENT_CANISTER, method, arg)

    def _settle(self, canister: Principal, method: str, arg: bytes) -> bytes:
        agent = self._client.agent
        message = agent.prepare(canister, method, arg, effective=self._canister)
        while True:
            try:
                found = agent.send(message)
            except DataNodeError as error:
                if not error.retryable:
                    raise
                found = Unsettled.UNKNOWN
            if isinstance(found, CertifiedReply):
                return found.data
            time.sleep(0.02)


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.nightly)])
def test_killed_while_it_copies_it_keeps_whole_snapshots_and_loads_once(
    tmp_path: Path, alice: Identity, kills: int
) -> None:
    pause = random.Random(11)
    with LocalNetwork(tmp_path) as net:
        where = Network(url=net.url, root_key=net.root_key, name="test")
        with Client(where, alice) as client:
            canister = client.counter(100_000 * TC)
            keeper, done, failures = Keeper(client, canister), threading.Event(), list[object]()

            def work() -> None:
                try:
                    while not done.is_set():
                        keeper.step()
                except BaseException as error:  # noqa: BLE001 - told by the test's thread
                    failures.append(error)

            thread = threading.Thread(target=work)
            thread.start()
            for _ in range(kills):
                time.sleep(pause.uniform(0.02, 0.3))
                net.kill()
                net.start()
            done.set()
            thread.join()
            assert failures == []
            assert keeper.loads > kills // 4
            assert number(client.query(canister, "get")) == keeper.value
        net.stop()
        folder = tmp_path / "canisters" / canister.text / "snapshots"
        assert {int(path.name) for path in folder.iterdir()} == {
            int.from_bytes(each[:8]) for each in keeper.kept
        }
        mine = [entry for entry in net.ledger() if entry.canister == canister]
        assert mine[-1].balance_cycles == -sum(entry.total_cycles for entry in mine)
        assert len({entry.request_id for entry in mine if entry.request_id}) == len(
            [entry for entry in mine if entry.request_id]
        )
