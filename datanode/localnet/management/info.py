"""What every canister may learn of another one: its module and its controllers, not its history."""

from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Blob, Nat64, Null, Opt, Principal, Record, Variant, Vec
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management.call import Call

REQUEST: Final = Record({"canister_id": Principal, "num_requested_changes": Opt(Nat64)})

_CHANGE: Final = Record(
    {
        "timestamp_nanos": Nat64,
        "canister_version": Nat64,
        "origin": Variant({"from_user": Record({"user_id": Principal})}),
        "details": Variant({"code_uninstall": Null}),
    }
)
"""Fewer cases than the interface has, which its readers take as well: no change is ever told."""

INFO: Final = Record(
    {
        "total_num_changes": Nat64,
        "recent_changes": Vec(_CHANGE),
        "module_hash": Opt(Blob),
        "controllers": Vec(Principal),
    }
)


def show(call: Call) -> Effect:
    """Handle `canister_info`; as nothing keeps a history, it has no changes."""
    canister = call.bill.canister
    fields: dict[str, candid.Value] = {
        "total_num_changes": 0,
        "recent_changes": [],
        "module_hash": canister.module_hash,
        "controllers": list(canister.settings.controllers),
    }
    return call.done(candid.encode((INFO,), (fields,)))
