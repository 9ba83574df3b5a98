"""Calls between canisters on a real server, which is killed in the middle of them."""

from pathlib import Path

from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from tests.datanode.localnet.gateway_client import Client
from tests.fakes import puppet
from tests.fakes.puppet import See, puppet_wasm


def test_an_agent_gets_the_answer_that_a_callback_gives(tmp_path: Path, alice: Identity) -> None:
    with LocalNetwork(tmp_path) as net:
        where = Network(url=net.url, root_key=net.root_key, name="test")
        with Client(where, alice) as client:
            caller, callee = client.canister(puppet_wasm()), client.canister(puppet_wasm())
            inner = puppet.add(5) + puppet.see(See.COUNT) + puppet.reply()
            script = puppet.call(callee, inner, reply=puppet.forward() + puppet.reply())
            assert puppet.number(client.call(caller, "run", script)) == 5
            net.kill()
            net.start()
            assert puppet.number(client.call(caller, "run", script)) == 10
