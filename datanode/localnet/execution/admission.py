"""Rules that a canister's state puts before a message, in the replica's codes and words.

A message that breaks one of them on arrival is refused without a trace ("non-replicated
rejection"); one that meets it later is rejected with a certificate.
"""

from typing import Final

from datanode.errors import DiskFullError
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.state.canister import Canister, Status
from datanode.principal import Principal

_STOPPED_CODES: Final = {Status.STOPPED: "IC0508", Status.STOPPING: "IC0509"}


def not_found(canister: Principal) -> Reject:
    """Word that there is no such canister."""
    return Reject(
        code=RejectCode.DESTINATION_INVALID,
        error_code="IC0301",
        message=f"Canister {canister} not found",
    )


def out_of_cycles(canister: Canister, missing_cycles: int, caller: Principal) -> Reject:
    """Word that a canister cannot pay for a message and stay above its freezing threshold.

    Only its controllers are told how much it lacks.
    """
    message = f"Canister {canister.id} is out of cycles"
    if canister.is_controlled_by(caller):
        message += (
            f": please top up the canister with at least {missing_cycles:_} additional cycles"
        )
    return Reject(code=RejectCode.SYS_TRANSIENT, error_code="IC0207", message=message)


def frozen(canister: Principal) -> Reject:
    """Word that a frozen canister answers no queries."""
    return Reject(
        code=RejectCode.SYS_TRANSIENT,
        error_code="IC0207",
        message=f"Canister {canister} is unable to process query calls because it's frozen. "
        "Please top up the canister with cycles and try again.",
    )


def stopped(canister: Canister) -> Reject | None:
    """Word that a canister is stopped or stopping; None while it runs."""
    code = _STOPPED_CODES.get(canister.status)
    if code is None:
        return None
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code=code,
        message=f"Canister {canister.id} is {canister.status.value}",
    )


def too_few_cycles(canister: Canister, cycles: int) -> Reject:
    """Word that a call of a canister brings fewer cycles than its callee asks for."""
    least = canister.settings.minimum_call_cycles
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message=f"Canister {canister.id} takes calls of canisters with at least {least} cycles; "
        f"this one has {cycles}",
    )


def disk_full(canister: Principal, error: DiskFullError) -> Reject:
    """Word that this machine's disk has no room for what a message may write."""
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0507",
        message=f"Error from Canister {canister}: {error.what}. {error.safe}",
    )


def engine_failed(canister: Principal, error: Exception) -> Reject:
    """Word that the embedded network itself failed while it executed a message."""
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0521",
        message=f"Error from Canister {canister}: the embedded network failed: "
        f"{type(error).__name__}: {error}. Its log says more.",
    )


def not_controller(canister: Principal, method: str) -> Reject:
    """Word that only controllers may call a method of the management canister."""
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0512",
        message=f"Only controllers of canister {canister} can call ic00 method {method}",
    )


def only_canisters(method: str) -> Reject:
    """Word that a method of the management canister takes no ingress messages."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message=f"Only canisters can call ic00 method {method}",
    )


def only_queries(method: str) -> Reject:
    """Word that a method of the management canister can only be queried."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message=f"{method} API is only accessible in non-replicated mode",
    )


def no_management_method(method: str) -> Reject:
    """Word that the management canister has no such method here."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0407",
        message=f"Management canister has no method '{method}' on the embedded network",
    )


def invalid_payload(why: str) -> Reject:
    """Word that an argument of the management canister makes no sense."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0408",
        message=f"Error decoding candid: {why}",
    )
