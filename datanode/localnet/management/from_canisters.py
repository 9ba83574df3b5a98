"""Management methods that only canisters may call and that have no target canister yet.

| method | what it does |
| --- | --- |
| `create_canister` | makes a canister of the cycles that come along, less the fee |
| `raw_rand` | replies with 32 random bytes |

The others are those of `methods`.
"""

import secrets
from dataclasses import replace
from typing import Final

from datanode.agent import candid
from datanode.agent.candid import Blob, Nat64, Opt, Record
from datanode.errors import FormatError
from datanode.localnet.execution import admission
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management import canister_lifecycle, canister_settings, methods, provisional
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.call import cause, reject
from datanode.localnet.management.interface_types import CANISTER, SETTINGS
from datanode.localnet.state.canister_record import CanisterSettings
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canisters import Canisters, Slot
from datanode.localnet.state.message import IngressMessage, IngressReply, RejectedError
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import MANAGEMENT_CANISTER, Principal

CREATE: Final = Record({"settings": Opt(SETTINGS), "sender_canister_version": Opt(Nat64)})
_RANDOM_BYTES: Final = 32


def concerned(method: str, arg: bytes) -> Principal:
    """Return the canister that a call is about; the management canister where it is about none."""
    if methods.concerns_a_canister(method):
        try:
            return methods.target(method, arg)
        except FormatError:
            return MANAGEMENT_CANISTER
    return MANAGEMENT_CANISTER


def run(
    runtime: SubnetRuntime,
    traffic: MessageTraffic,
    records: CanisterRecords,
    slot: Slot | None,
    message: IngressMessage,
) -> Effect:
    """Execute a call; the lock of the slot that it concerns is held."""
    try:
        if message.method == "raw_rand":
            candid.decode((), message.arg)
            reply = candid.encode((Blob,), (secrets.token_bytes(_RANDOM_BYTES),))
            return Effect(answer=IngressReply(reply=reply))
        if message.method == "create_canister":
            return _create(runtime, records.canisters, message)
        if message.method == provisional.CREATE:
            return methods.create(runtime, records.canisters, message)
        if slot is None and methods.concerns_a_canister(message.method):
            methods.target(message.method, message.arg)
        return methods.run_for_canister(runtime, traffic, records, slot, message)
    except FormatError as error:
        return Effect(answer=IngressReply(reject=admission.invalid_payload(str(error))))
    except RejectedError as rejected:
        return Effect(answer=IngressReply(reject=rejected.reject))


def _create(runtime: SubnetRuntime, canisters: Canisters, message: IngressMessage) -> Effect:
    args = Arguments.decode(CREATE, message.arg)
    fee, cycles = runtime.fees.creation_cycles, message.cycles
    if cycles < fee:
        raise reject(
            "IC0403",
            f"Creating a canister requires a fee of {fee} that is deducted from the canister's "
            f"initial balance but only {cycles} cycles were received with the create_canister "
            "request.",
        )
    runtime.disk.check()
    chosen = CanisterSettings(controllers=(message.sender,))
    given = args.optional_record("settings")
    if given is not None:
        chosen = canister_settings.changed(chosen, given)
    canister, made = canister_lifecycle.created(
        runtime,
        canisters,
        chosen,
        cycles,
        cause(runtime.canister_time, message, args),
        creation_fee_cycles=fee,
        item="accepted",
    )
    reply = candid.encode((CANISTER,), ({"canister_id": canister},))
    return replace(made, answer=IngressReply(reply=reply), kept_cycles=cycles)
