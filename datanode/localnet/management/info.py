"""What everybody may learn of a canister: its module, its controllers and its history."""

from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Blob, Nat64, Opt, Principal, Record, Vec
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.call import Call
from datanode.localnet.state.canister import Canister
from datanode.localnet.state.history import CHANGE

REQUEST: Final = Record({"canister_id": Principal, "num_requested_changes": Opt(Nat64)})

INFO: Final = Record(
    {
        "total_num_changes": Nat64,
        "recent_changes": Vec(CHANGE),
        "module_hash": Opt(Blob),
        "controllers": Vec(Principal),
    }
)


def show(call: Call) -> Effect:
    """Handle `canister_info`."""
    return call.done(canister_info(call.bill.canister, call.args))


def canister_info(canister: Canister, args: Arguments) -> bytes:
    """Encode the reply of `canister_info`."""
    fields: dict[str, candid.Value] = {
        "total_num_changes": canister.history.total_count,
        "recent_changes": canister.history.last(args.optional_number("num_requested_changes") or 0),
        "module_hash": canister.module_hash,
        "controllers": list(canister.settings.controllers),
    }
    return candid.encode((INFO,), (fields,))
