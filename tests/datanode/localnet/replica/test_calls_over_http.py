"""Calls between canisters on a real server, which is killed in the middle of them."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datanode.agent import candid
from datanode.agent.identity import Identity
from datanode.agent.message_outcome import CertifiedReply
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.localnet.gateway.application import UPDATE_THREADS
from datanode.localnet.management import interface_types
from datanode.principal import MANAGEMENT_CANISTER, Principal
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


def test_callers_that_wait_hold_up_nobody(tmp_path: Path, alice: Identity) -> None:
    """More of them than the server has threads: each canister waits for itself to stop."""
    with LocalNetwork(tmp_path) as net:
        where = Network(url=net.url, root_key=net.root_key, name="test")
        with Client(where, alice) as client:
            free = client.canister(puppet_wasm())
            stuck = [client.canister(puppet_wasm()) for _ in range(UPDATE_THREADS + 2)]
            for canister in stuck:
                _set_controllers(client, canister, [canister, client.agent.identity.principal])
            messages = [
                client.agent.prepare(
                    canister,
                    "run",
                    puppet.call(
                        MANAGEMENT_CANISTER,
                        candid.encode((interface_types.CANISTER,), ({"canister_id": canister},)),
                        method="stop_canister",
                        reject=puppet.forward_reject() + puppet.reply(),
                    ),
                )
                for canister in stuck
            ]
            with ThreadPoolExecutor(len(stuck)) as pool:
                waiting = [pool.submit(client.agent.send, message) for message in messages]
                while sum(each["status"] == "stopping" for each in net.canisters()) < len(stuck):
                    time.sleep(0.01)
                assert client.call(free, "run", puppet.reply(b"free")) == b"free"
                assert not any(each.done() for each in waiting)
                for canister in stuck:
                    named = candid.encode((interface_types.CANISTER,), ({"canister_id": canister},))
                    client.agent.call(
                        MANAGEMENT_CANISTER, "start_canister", named, effective=canister
                    )
                for each in waiting:
                    answer = each.result()
                    assert isinstance(answer, CertifiedReply)
                    assert b"stop request was cancelled" in answer.data


def _set_controllers(client: Client, canister: Principal, controllers: list[Principal]) -> None:
    settings: dict[str, candid.Value] = {
        name: None for _, name, _ in interface_types.SETTINGS.fields
    }
    settings["controllers"] = list(controllers)
    arg = candid.encode(
        (interface_types.UPDATE_SETTINGS,), ({"canister_id": canister, "settings": settings},)
    )
    client.agent.call(MANAGEMENT_CANISTER, "update_settings", arg, effective=canister)
