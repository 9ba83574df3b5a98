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
from datanode.localnet.execution.effect import Effect
from datanode.localnet.management import canister_lifecycle, canister_settings, methods
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.call import cause, reject
from datanode.localnet.management.interface_types import CANISTER, SETTINGS
from datanode.localnet.state.canister_record import CanisterSettings
from datanode.localnet.state.canisters import Canisters
from datanode.localnet.state.message import IngressMessage, IngressReply
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


def raw_rand(message: IngressMessage) -> Effect:
    """Reply with random bytes.

    Raises:
        FormatError: There are arguments.
    """
    candid.decode((), message.arg)
    reply = candid.encode((Blob,), (secrets.token_bytes(_RANDOM_BYTES),))
    return Effect(answer=IngressReply(reply=reply))


def create(runtime: SubnetRuntime, canisters: Canisters, message: IngressMessage) -> Effect:
    """Make a canister of the cycles that come along.

    Raises:
        FormatError: The argument cannot be read.
        RejectedError: There are too few cycles, or the settings make no sense.
    """
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
