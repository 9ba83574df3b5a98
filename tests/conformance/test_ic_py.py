"""ic-py (PyPI), which speaks version 2 of the interface: 202, then polling, then a query."""

import importlib
import warnings
from types import ModuleType

import pytest

from datanode.localnet.api import LocalNetwork
from tests.fakes.counter import counter_wasm

pytestmark = pytest.mark.conformance
HOSTED = "rwlgt-iiaaa-aaaaa-aaaaa-cai"


def module(name: str) -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"ic.{name}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ic_py_creates_installs_calls_and_queries(net: LocalNetwork) -> None:
    candid = module("candid")
    types = candid.Types
    identity = module("identity").Identity()
    agent = module("agent").Agent(identity, module("client").Client(net.url))

    def manage(method: str, url: str, fields: dict[str, tuple[object, object]]) -> object:
        kind = types.Record({name: kind for name, (kind, _) in fields.items()})
        value = {name: value for name, (_, value) in fields.items()}
        arg = candid.encode([{"type": kind, "value": value}])
        return agent.update_raw("aaaaa-aa", method, arg, effective_canister_id=url)

    made = manage(
        "provisional_create_canister_with_cycles", HOSTED, {"amount": (types.Opt(types.Nat), [])}
    )
    canister = made[0]["value"]["_1313628723"].to_str()  # type: ignore[index]
    mode = types.Variant({"install": types.Null})
    manage(
        "install_code",
        canister,
        {
            "mode": (mode, {"install": None}),
            "canister_id": (types.Principal, canister),
            "wasm_module": (types.Vec(types.Nat8), list(counter_wasm())),
            "arg": (types.Vec(types.Nat8), []),
        },
    )
    five = candid.encode([{"type": types.Nat64, "value": 5}])
    assert agent.update_raw(canister, "add", five)[0]["value"] == 5
    assert agent.query_raw(canister, "get", candid.encode([]))[0]["value"] == 5
