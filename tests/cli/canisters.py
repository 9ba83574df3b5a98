"""Changes to a canister by its controller or by accident."""

import os
from functools import cache

import wasmtime

from datanode.agent.candid import Blob as BlobType
from datanode.agent.candid import Nat, Null, Opt, Record, Type, Value, Variant, decode, encode
from datanode.agent.candid import Principal as PrincipalType
from datanode.agent.client import Agent
from datanode.node import deploy, management
from datanode.node.candid_interface import SETTINGS, STATUS
from datanode.principal import Principal
from datanode.units import DAY_S
from tests.cli.stage import User

_CANISTER = Record({"canister_id": PrincipalType})
_SETTINGS = Record(
    {"canister_id": PrincipalType, "settings": Record({"freezing_threshold": Opt(Nat)})}
)
_REINSTALL = Record(
    {
        "mode": Variant({"reinstall": Null}),
        "canister_id": PrincipalType,
        "wasm_module": BlobType,
        "arg": BlobType,
    }
)


def _manage(user: User, canister: Principal, method: str, kind: Type, argument: Value) -> bytes:
    agent = user.agent()
    try:
        return management.call(agent, method, kind, argument, effective=canister)
    finally:
        agent.close()


def create(user: User, cycles: int) -> Principal:
    """Create an empty canister."""
    agent = user.agent()
    try:
        return management.create_from_nothing(agent, cycles, near=management.FIRST_CANISTERS[1])
    finally:
        agent.close()


def stop(user: User, canister: Principal) -> None:
    _manage(user, canister, "stop_canister", _CANISTER, {"canister_id": canister})


def start(user: User, canister: Principal) -> None:
    _manage(user, canister, "start_canister", _CANISTER, {"canister_id": canister})


def delete(user: User, canister: Principal) -> None:
    """Delete a canister that is stopped."""
    _manage(user, canister, "delete_canister", _CANISTER, {"canister_id": canister})


def freeze(user: User, canister: Principal, seconds: int) -> None:
    """Let the balance have to last for so long."""
    wish: Value = {"canister_id": canister, "settings": {"freezing_threshold": seconds}}
    _manage(user, canister, "update_settings", _SETTINGS, wish)


def leave(user: User, canister: Principal, cycles: int) -> None:
    """Freeze all of a canister's balance but so many cycles."""
    agent = user.agent()
    try:
        status = management.canister_status(agent, canister)
    finally:
        agent.close()
    reserve = status.cycles - cycles
    freeze(user, canister, reserve * DAY_S // status.burn_per_day_cycles)


def uninstall(user: User, canister: Principal) -> None:
    _manage(user, canister, "uninstall_code", _CANISTER, {"canister_id": canister})


def wipe(agent: Agent, canister: Principal) -> None:
    """Install the storage canister anew: everything it held is gone."""
    settings = encode((SETTINGS,), ({"blinding_seed": os.urandom(32)},))
    wish: Value = {
        "mode": ("reinstall", None),
        "canister_id": canister,
        "wasm_module": deploy.storage_wasm(),
        "arg": settings,
    }
    management.call(agent, "install_code", _REINSTALL, wish, effective=canister)


def reinstall(user: User, canister: Principal, wasm: bytes, arg: bytes = b"DIDL\0\0") -> None:
    """Replace what a canister is; its memory is wiped."""
    wish: Value = {
        "mode": ("reinstall", None),
        "canister_id": canister,
        "wasm_module": wasm,
        "arg": arg,
    }
    _manage(user, canister, "install_code", _REINSTALL, wish)


@cache
def pretender(interface_version: int, store_version: int) -> bytes:
    """Assemble a canister that knows nothing but the answer to `status`."""
    answer = encode(
        (STATUS,),
        (
            {
                "interface_version": interface_version,
                "store_version": store_version,
                "details": None,
            },
        ),
    )
    assert decode((STATUS,), answer)
    data = "".join(f"\\{byte:02x}" for byte in answer)
    return bytes(
        wasmtime.wat2wasm(f"""
(module
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory 1)
  (data (i32.const 0) "{data}")
  (func (export "canister_query status")
    (call $append (i32.const 0) (i32.const {len(answer)}))
    (call $reply)))
""")
    )
