"""Queries of the management canister: each looks at one canister, and costs nothing."""

from dataclasses import replace
from typing import Final

from datanode.errors import FormatError
from datanode.fees import FeeSchedule
from datanode.localnet.execution import admission
from datanode.localnet.management import canister_info, canister_status
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.state.canister_record import Canister
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.message import IngressReply, RejectedError
from datanode.localnet.state.network_database import NetworkDatabase
from datanode.localnet.state.query_stats import QueryStats
from datanode.localnet.state.subnet_runtime import SubnetRuntime
from datanode.principal import Principal

LOGS: Final = "fetch_canister_logs"
STATUS: Final = "canister_status"
INFO: Final = "canister_info"


def query(
    runtime: SubnetRuntime,
    records: CanisterRecords,
    canister: Principal,
    *,
    method: str,
    caller: Principal,
    arg: bytes,
) -> IngressReply:
    """Answer a query about a canister, which the argument names too."""
    slot = records.canisters.find(canister)
    if slot is None:
        return IngressReply(reject=admission.not_found(canister))
    record = slot.canister
    try:
        if method == STATUS:
            reply = _status(runtime.fees, records.query_stats, record, caller)
        elif method == LOGS:
            reply = _logs(records.database, record, caller)
        elif method == INFO:
            asked = Arguments.decode(canister_info.REQUEST, arg)
            reply = canister_info.canister_info(record, asked)
        else:
            return IngressReply(reject=admission.no_management_method(method))
        return IngressReply(reply=reply)
    except RejectedError as rejected:
        return IngressReply(reject=rejected.reject)
    except FormatError as error:
        return IngressReply(reject=admission.invalid_payload(str(error)))


def _status(
    fees: FeeSchedule, query_stats: QueryStats, canister: Canister, caller: Principal
) -> bytes:
    if not canister.settings.lets_see(canister.settings.status_viewers, caller):
        raise RejectedError(admission.not_controller(canister.id, STATUS))
    return canister_status.canister_status(fees, query_stats, canister)


def _logs(database: NetworkDatabase, canister: Canister, caller: Principal) -> bytes:
    if not canister.settings.lets_see(canister.settings.log_viewers, caller):
        refused = f"Caller {caller} is not allowed to access canister logs"
        raise RejectedError(replace(admission.only_canisters(LOGS), message=refused))
    return canister_status.canister_logs(database, canister)
