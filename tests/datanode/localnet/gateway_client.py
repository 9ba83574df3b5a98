"""The project's own agent with what tests want besides: canisters made and filled."""

import time

from datanode.agent import candid
from datanode.agent.client import Agent
from datanode.agent.identity import Identity
from datanode.agent.message_outcome import CertifiedReply
from datanode.agent.network import Network
from datanode.cleanup import SafeClose
from datanode.localnet.management import interface_types
from datanode.localnet.state.topology import REGISTRY
from datanode.principal import MANAGEMENT_CANISTER, Principal
from datanode.units import MINUTE_S, SECOND_NS, TC
from tests.fakes.counter import counter_wasm
from tests.fakes.gateway import EMPTY


class Client(SafeClose):
    """One person who uses a network over HTTP."""

    def __init__(self, network: Network, who: Identity) -> None:
        self.agent = Agent(network, who)

    def close(self) -> None:
        self.agent.close()

    def signed(self, canister: Principal, method: str, arg: bytes = EMPTY) -> bytes:
        return self.agent.prepare(canister, method, arg, effective=REGISTRY).body

    def call(self, canister: Principal, method: str, arg: bytes = EMPTY) -> bytes:
        return self.agent.call(canister, method, arg)

    def query(self, canister: Principal, method: str, arg: bytes = EMPTY) -> bytes:
        return self.agent.query(canister, method, arg)

    def counter(self, cycles: int = 100 * TC) -> Principal:
        """Create a canister and install the counter."""
        return self.canister(counter_wasm(), cycles)

    def canister(self, wasm: bytes, cycles: int = 100 * TC) -> Principal:
        """Create a canister and install a module."""
        arg = candid.encode(
            (interface_types.PROVISIONAL_CREATE,),
            (
                {
                    "amount": cycles,
                    "settings": None,
                    "specified_id": None,
                    "sender_canister_version": None,
                },
            ),
        )
        method = "provisional_create_canister_with_cycles"
        made = self.agent.call(MANAGEMENT_CANISTER, method, arg, effective=REGISTRY)
        (fields,) = candid.decode((interface_types.CANISTER,), made)
        assert isinstance(fields, dict)
        canister = fields["canister_id"]
        assert isinstance(canister, Principal)
        install: dict[str, candid.Value] = {
            "mode": ("install", None),
            "canister_id": canister,
            "wasm_module": wasm,
            "arg": b"",
        }
        arg = candid.encode((interface_types.INSTALL,), (install,))
        self.agent.call(MANAGEMENT_CANISTER, "install_code", arg, effective=canister)
        return canister

    def settled(self, canister: Principal, request_id: bytes) -> bytes:
        """Wait for a message's reply."""
        expiry_ns = time.time_ns() + MINUTE_S * SECOND_NS
        while True:
            found = self.agent.recover(request_id, canister, expiry_ns)
            if isinstance(found, CertifiedReply):
                return found.data
            time.sleep(0.01)
