"""Drives the embedded network with icp-py-core, unmodified, verification on.

usage: drive.py URL ROOT_KEY_HEX SUBNET COUNTER_WASM ; prints one JSON object. Runs in a venv of its
own; `blst.py` beside this file stands in for a binding that no registry has.
"""

import asyncio
import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import icp_certificate.certificate
from icp_agent.agent import Agent
from icp_agent.client import Client
from icp_agent.system_state import (
    canister_controllers,
    canister_module_hash,
    subnet_public_key_direct,
)
from icp_candid.candid import Types, encode
from icp_canister.canister import Canister
from icp_core.errors import CertificateVerificationError, ReplicaReject
from icp_identity import Identity
from icp_principal import Principal

HOSTED = "rwlgt-iiaaa-aaaaa-aaaaa-cai"


def managed(
    agent: Agent, method: str, canister: str, fields: dict[str, tuple[Any, Any]]
) -> list[dict[str, Any]]:
    """Call the management canister with a record."""
    kind = Types.Record({name: kind for name, (kind, _) in fields.items()})
    value = {name: value for name, (_, value) in fields.items()}
    arg = encode([{"type": kind, "value": value}])
    made: list[dict[str, Any]] = agent.update_raw(
        "aaaaa-aa", method, arg, effective_canister_id=canister
    )
    return made


def refused(work: Callable[[], object]) -> list[object] | str:
    """Return reject code and error code of what must be refused."""
    try:
        work()
    except ReplicaReject as reject:
        return [reject.reject_code, reject.error_code]
    return "no refusal"


def number(value: int) -> bytes:
    """Encode an argument."""
    encoded: bytes = encode([{"type": Types.Nat64, "value": value}])
    return encoded


def drive(
    url: str, root_key: bytes, subnet: str, wasm: bytes, identity: Identity
) -> dict[str, Any]:
    """Return what was seen."""
    agent = Agent(identity, Client(url), root_key=root_key, verify_query_signatures=True)
    amount = {"amount": (Types.Opt(Types.Nat), [9_000_000_000_000])}
    made = managed(agent, "provisional_create_canister_with_cycles", HOSTED, amount)
    canister = next(iter(made[0]["value"].values())).to_str()
    install = {
        "mode": (Types.Variant({"install": Types.Null}), {"install": None}),
        "canister_id": (Types.Principal, canister),
        "wasm_module": (Types.Vec(Types.Nat8), wasm),
        "arg": (Types.Vec(Types.Nat8), b""),
    }
    managed(agent, "install_code", canister, install)
    saw = {"added": agent.update(canister, "add", number(5))[0]["value"]}
    waiting = agent.update_async(canister, "add", number(6))
    saw["added_async"] = asyncio.run(waiting)[0]["value"]
    saw["got"] = agent.query(canister, "get")[0]["value"]
    described = Canister(agent, canister, auto_fetch_candid=True)
    saw["described"] = described.get(verify_query_signatures=True)
    saw["module_hash"] = canister_module_hash(agent, canister) == hashlib.sha256(wasm).hexdigest()
    mine = [each.to_str() for each in canister_controllers(agent, canister)]
    saw["controlled_by_me"] = mine == [identity.sender().to_str()]
    saw["time"] = agent.read_state_raw(canister, [[b"time"]]).lookup_time() > 0
    saw["subnet_key"] = len(subnet_public_key_direct(agent, subnet)) > 0
    path = [b"subnet", Principal.from_str(subnet).bytes, b"public_key"]
    saw["subnet_certified"] = agent.read_state_subnet_raw(subnet, [path]).lookup(path) is not None
    saw["trap"] = refused(lambda: agent.update(canister, "crash"))
    # Release 2.3.1 cannot verify the signature of a query that was rejected.
    unsigned = {"verify_query_signatures": False}
    saw["no_query"] = refused(lambda: agent.query(canister, "absent", **unsigned))
    managed(agent, "stop_canister", canister, {"canister_id": (Types.Principal, canister)})
    saw["stopped"] = refused(lambda: agent.update(canister, "add", number(1)))
    return saw


def mainnet(url: str) -> str:
    """Say what becomes of certificates that mainnet's key did not sign."""
    try:
        Agent(Identity(), Client(url)).read_state_raw(HOSTED, [[b"time"]])
    except CertificateVerificationError:
        return "refused"
    return "believed"


def main() -> None:
    """Drive with each kind of key."""
    url, root_key, subnet, wasm = sys.argv[1:]
    module = Path(wasm).read_bytes()
    saw: dict[str, object] = {"with_mainnets_key": mainnet(url)}
    # Release 2.3.1 keeps the agent's `root_key` to itself and verifies with this constant.
    icp_certificate.certificate.IC_ROOT_KEY = bytes.fromhex(root_key)
    saw |= {
        kind: drive(url, bytes.fromhex(root_key), subnet, module, Identity(type=kind))
        for kind in ("ed25519", "secp256k1")
    }
    print(json.dumps(saw))


main()
