"""Canister information visible to other canisters: module, controllers, history, metadata."""

from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Blob, Nat64, Opt, Principal, Record, Text, Vec
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.call import ManagementCall, reject
from datanode.localnet.state.canister_record import Canister
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

METADATA_REQUEST: Final = Record({"canister_id": Principal, "name": Text})
METADATA: Final = Record({"value": Blob})


def show(call: ManagementCall) -> Effect:
    """Handle `canister_info`."""
    return call.done(canister_info(call.bill.canister, call.args))


def show_metadata(call: ManagementCall) -> Effect:
    """Handle `canister_metadata`; a private section is for controllers, and absent for others.

    Raises:
        RejectedError: There is no such section.
    """
    canister, name = call.bill.canister, call.args.text("name")
    if canister.module_hash is None:
        raise reject(
            "IC0406",
            f"The canister {canister.id} has no Wasm module and hence no metadata is available.",
        )
    visibility, content = call.slot.sections().get(name, ("", b""))
    if visibility != "public" and not (
        visibility and canister.is_controlled_by(call.message.sender)
    ):
        raise reject(
            "IC0406", f"The canister {canister.id} has no metadata section with the name {name}."
        )
    return call.done(candid.encode((METADATA,), ({"value": content},)))


def canister_info(canister: Canister, args: Arguments) -> bytes:
    """Encode the reply of `canister_info`."""
    fields: dict[str, candid.Value] = {
        "total_num_changes": canister.history.total_count,
        "recent_changes": canister.history.last(args.optional_number("num_requested_changes") or 0),
        "module_hash": canister.module_hash,
        "controllers": list(canister.settings.controllers),
    }
    return candid.encode((INFO,), (fields,))
