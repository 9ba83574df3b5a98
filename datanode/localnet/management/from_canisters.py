"""The management canister's methods that canisters alone may call, and that concern none yet.

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
from datanode.localnet.management import lifecycle, methods, provisional, settings
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.call import cause, reject
from datanode.localnet.management.types import CANISTER, SETTINGS
from datanode.localnet.state.canister import Settings
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import Answer, Message, RejectedError
from datanode.localnet.state.network import Network
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


def run(network: Network, slot: Slot | None, message: Message) -> Effect:
    """Execute a call; the lock of the slot that it concerns is held."""
    try:
        if message.method == "raw_rand":
            candid.decode((), message.arg)
            reply = candid.encode((Blob,), (secrets.token_bytes(_RANDOM_BYTES),))
            return Effect(answer=Answer(reply=reply))
        if message.method == "create_canister":
            return _create(network, message)
        if message.method == provisional.CREATE:
            return methods.create(network, message)
        if slot is None and methods.concerns_a_canister(message.method):
            methods.target(message.method, message.arg)
        return methods.run_for_canister(network, slot, message)
    except FormatError as error:
        return Effect(answer=Answer(reject=admission.invalid_payload(str(error))))
    except RejectedError as rejected:
        return Effect(answer=Answer(reject=rejected.reject))


def _create(network: Network, message: Message) -> Effect:
    args = Arguments.decode(CREATE, message.arg)
    fee, cycles = network.fees.creation_cycles, message.cycles
    if cycles < fee:
        raise reject(
            "IC0403",
            f"Creating a canister requires a fee of {fee} that is deducted from the canister's "
            f"initial balance but only {cycles} cycles were received with the create_canister "
            "request.",
        )
    network.check_disk()
    chosen = Settings(controllers=(message.sender,))
    given = args.optional_record("settings")
    if given is not None:
        chosen = settings.changed(chosen, given)
    canister, made = lifecycle.created(
        network,
        chosen,
        cycles,
        cause(network, message, args),
        creation_fee_cycles=fee,
        item="accepted",
    )
    reply = candid.encode((CANISTER,), ({"canister_id": canister},))
    return replace(made, answer=Answer(reply=reply), kept_cycles=cycles)
