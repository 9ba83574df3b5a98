"""The server is killed while canisters wait for each other: no message is lost or runs twice."""

import random
import time
from pathlib import Path

from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.units import TC
from tests.datanode.localnet.gateway.test_kills import CYCLES, Job, under_load
from tests.datanode.localnet.gateway_client import Client
from tests.fakes import cycles, puppet
from tests.fakes.puppet import See, puppet_wasm

KILLS = 12
BETWEEN_KILLS_S = (0.05, 0.4)


def test_killed_in_the_middle_of_calls_every_message_and_cycle_is_there_once(
    tmp_path: Path, alice: Identity
) -> None:
    pause = random.Random(11)
    with LocalNetwork(tmp_path) as net:
        where = Network(url=net.url, root_key=net.root_key, name="test")
        with Client(where, alice) as client:
            first, second, third = (client.canister(puppet_wasm(), CYCLES) for _ in range(3))
            seen = puppet.see(See.COUNT) + puppet.reply()
            script = puppet.call(
                second,
                puppet.call(
                    third,
                    puppet.accept(TC // 10) + puppet.add(1) + puppet.reply(),
                    cycles=TC // 5,
                    reply=puppet.accept(TC) + puppet.add(1) + puppet.reply(),
                ),
                cycles=TC,
                reply=puppet.add(1) + seen,
            )
            jobs = [Job(first, "run", script) for _ in range(4)]
            with under_load(client.agent, jobs):
                for _ in range(KILLS):
                    time.sleep(pause.uniform(*BETWEEN_KILLS_S))
                    net.kill()
                    _check(tmp_path)
                    net.start()
            counts = [puppet.number(client.query(each, "count")) for each in (first, second, third)]
        net.stop()
        _check(tmp_path, is_settled=True)
    replies = sorted(puppet.number(reply) for job in jobs for reply in job.replies)
    assert replies == list(range(1, len(replies) + 1))
    assert counts == [len(replies)] * 3
    assert len(replies) > KILLS


def _check(folder: Path, *, is_settled: bool = False) -> None:
    """Hold the state that the process left behind against itself."""
    database = NetworkDatabase(folder / "network.db")
    try:
        cycles.check(database)
        if is_settled:
            for table in ("queue", "contexts", "callbacks"):
                assert not database.rows(f"SELECT 1 FROM {table}")  # noqa: S608
    finally:
        database.close()
