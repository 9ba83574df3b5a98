"""Check whether a canister's state admits a message, with the replica's codes and messages.

A message that breaks one of them on arrival is refused without a trace ("non-replicated
rejection"); one that meets it later is rejected with a certificate.
"""

from typing import Final

from datanode.errors import DiskFullError
from datanode.localnet.machine.rejects import Reject, RejectCode
from datanode.localnet.state.canister_record import Canister, CanisterState
from datanode.principal import Principal

_STOPPED_CODES: Final = {CanisterState.STOPPED: "IC0508", CanisterState.STOPPING: "IC0509"}


def not_found(canister: Principal) -> Reject:
    """Reject a message to a canister that does not exist."""
    return Reject(
        code=RejectCode.DESTINATION_INVALID,
        error_code="IC0301",
        message=f"Canister {canister} not found",
    )


def out_of_cycles(canister: Canister, missing_cycles: int, caller: Principal) -> Reject:
    """Reject a message that would take a canister below its freezing threshold.

    Only its controllers are told how much it lacks.
    """
    message = f"Canister {canister.id} is out of cycles"
    if canister.is_controlled_by(caller):
        message += (
            f": please top up the canister with at least {missing_cycles:_} additional cycles"
        )
    return Reject(code=RejectCode.SYS_TRANSIENT, error_code="IC0207", message=message)


def frozen(canister: Principal) -> Reject:
    """Reject a query to a frozen canister."""
    return Reject(
        code=RejectCode.SYS_TRANSIENT,
        error_code="IC0207",
        message=f"Canister {canister} is unable to process query calls because it's frozen. "
        "Please top up the canister with cycles and try again.",
    )


def stopped(canister: Canister) -> Reject | None:
    """Reject a message to a stopped or stopping canister; None while it runs."""
    code = _STOPPED_CODES.get(canister.status)
    if code is None:
        return None
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code=code,
        message=f"Canister {canister.id} is {canister.status.value}",
    )


def too_few_cycles(canister: Canister, cycles: int) -> Reject:
    """Reject a call that carries fewer cycles than the callee requires."""
    least = canister.settings.minimum_call_cycles
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message=f"Canister {canister.id} takes calls of canisters with at least {least} cycles; "
        f"this one has {cycles}",
    )


def unbounded_from_engine() -> Reject:
    """Refuse an unbounded-wait call from a cloud engine to another subnet."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message="Unbounded-wait calls and calls with cycles are not allowed between a CloudEngine "
        "subnet and other subnets",
    )


def disk_full(canister: Principal, error: DiskFullError) -> Reject:
    """Reject a message because this machine's disk is full."""
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0507",
        message=f"Error from Canister {canister}: {error.what}. {error.safe}",
    )


def engine_failed(canister: Principal, error: Exception) -> Reject:
    """Reject a message after an internal error of the embedded network."""
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0521",
        message=f"Error from Canister {canister}: the embedded network failed: "
        f"{type(error).__name__}: {error}. Its log says more.",
    )


def not_controller(canister: Principal, method: str) -> Reject:
    """Reject a management call that is reserved for controllers."""
    return Reject(
        code=RejectCode.CANISTER_ERROR,
        error_code="IC0512",
        message=f"Only controllers of canister {canister} can call ic00 method {method}",
    )


def only_canisters(method: str) -> Reject:
    """Reject an ingress message to a method that only canisters may call."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message=f"Only canisters can call ic00 method {method}",
    )


def only_queries(method: str) -> Reject:
    """Reject an update call to a method that is query-only."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0406",
        message=f"{method} API is only accessible in non-replicated mode",
    )


def no_management_method(method: str) -> Reject:
    """Reject a call to an unknown method of the management canister."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0407",
        message=f"Management canister has no method '{method}' on the embedded network",
    )


def invalid_payload(why: str) -> Reject:
    """Reject an invalid argument to the management canister."""
    return Reject(
        code=RejectCode.CANISTER_REJECT,
        error_code="IC0408",
        message=f"Error decoding candid: {why}",
    )
