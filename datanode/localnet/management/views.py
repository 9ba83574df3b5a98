"""Queries of the management canister: each looks at one canister, and costs nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from datanode.errors import FormatError
from datanode.localnet.execution import admission
from datanode.localnet.management import info, status
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.state.canister import Canister
from datanode.localnet.state.message import Answer, RejectedError
from datanode.localnet.state.network import Network
from datanode.principal import Principal

LOGS: Final = "fetch_canister_logs"
STATUS: Final = "canister_status"
INFO: Final = "canister_info"


def query(
    network: Network, method: str, canister: Principal, caller: Principal, arg: bytes
) -> Answer:
    """Answer a query about a canister, which the argument names too."""
    slot = network.canisters.find(canister)
    if slot is None:
        return Answer(reject=admission.not_found(canister))
    view = _VIEWS.get(method)
    if view is None:
        return Answer(reject=admission.no_management_method(method))
    try:
        return Answer(reply=view(network, slot.canister, caller, arg))
    except RejectedError as rejected:
        return Answer(reject=rejected.reject)
    except FormatError as error:
        return Answer(reject=admission.invalid_payload(str(error)))


def _status(network: Network, canister: Canister, caller: Principal, _arg: bytes) -> bytes:
    if not canister.settings.lets_see(canister.settings.status_viewers, caller):
        raise RejectedError(admission.not_controller(canister.id, STATUS))
    return status.canister_status(network, canister)


def _logs(network: Network, canister: Canister, caller: Principal, _arg: bytes) -> bytes:
    if not canister.settings.lets_see(canister.settings.log_viewers, caller):
        refused = f"Caller {caller} is not allowed to access canister logs"
        raise RejectedError(replace(admission.only_canisters(LOGS), message=refused))
    return status.canister_logs(network, canister)


def _info(_network: Network, canister: Canister, _caller: Principal, arg: bytes) -> bytes:
    return info.canister_info(canister, Arguments.decode(info.REQUEST, arg))


_VIEWS: Final[dict[str, Callable[[Network, Canister, Principal, bytes], bytes]]] = {
    STATUS: _status,
    LOGS: _logs,
    INFO: _info,
}
