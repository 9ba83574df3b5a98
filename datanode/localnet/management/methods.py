"""The management canister, `aaaaa-aa`: which methods it has, who may call them and who pays.

Every method concerns one canister, which pays the ingress fee; the two provisional ones make
cycles out of nothing, are free and open to all, and exist on local networks only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from datanode.agent.candid import Record
from datanode.errors import FormatError
from datanode.localnet.execution import admission
from datanode.localnet.execution.effect import Effect
from datanode.localnet.machine.rejects import Reject
from datanode.localnet.management import (
    canister_info,
    canister_lifecycle,
    canister_snapshots,
    canister_status,
    chunk_store,
    installation,
    interface_types,
    snapshot_transfer,
    snapshot_types,
)
from datanode.localnet.management.arguments import Arguments
from datanode.localnet.management.call import ManagementCall
from datanode.localnet.management.provisional import CREATE, TOP_UP
from datanode.localnet.management.views import INFO, LOGS, STATUS
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import IngressMessage, NotAdmittedError
from datanode.localnet.state.topology import is_hosted
from datanode.principal import MANAGEMENT_CANISTER, Principal

DEPOSIT: Final = "deposit_cycles"
_METADATA: Final = "canister_metadata"
_OPEN_TO_ALL: Final = (TOP_UP, DEPOSIT, INFO, _METADATA)
_UPDATE_SETTINGS: Final = "update_settings"
_BAD_REQUEST: Final = 400

MAX_PAID_LATER_BYTES: Final = 366
"""Largest argument of `update_settings` that is paid for afterwards. Source: replica, 2026-06."""


@dataclass(frozen=True, slots=True)
class ManagementMethod:
    """One method: its argument, its handler, the field that names the canister."""

    argument: Record
    handle: Callable[[ManagementCall], Effect]
    canister: str = "canister_id"


_METHODS: Final[dict[str, ManagementMethod]] = {
    TOP_UP: ManagementMethod(interface_types.TOP_UP, canister_lifecycle.top_up),
    "install_code": ManagementMethod(interface_types.INSTALL, installation.install),
    "install_chunked_code": ManagementMethod(
        interface_types.INSTALL_CHUNKED, installation.install_chunked, "target_canister"
    ),
    "uninstall_code": ManagementMethod(interface_types.UNINSTALL, installation.uninstall),
    "upload_chunk": ManagementMethod(interface_types.UPLOAD_CHUNK, chunk_store.upload),
    "stored_chunks": ManagementMethod(interface_types.CANISTER, chunk_store.stored),
    "clear_chunk_store": ManagementMethod(interface_types.CANISTER, chunk_store.clear),
    _UPDATE_SETTINGS: ManagementMethod(
        interface_types.UPDATE_SETTINGS, canister_lifecycle.update_settings
    ),
    "start_canister": ManagementMethod(interface_types.CANISTER, canister_lifecycle.start),
    DEPOSIT: ManagementMethod(interface_types.CANISTER, canister_lifecycle.deposit),
    INFO: ManagementMethod(canister_info.REQUEST, canister_info.show),
    _METADATA: ManagementMethod(canister_info.METADATA_REQUEST, canister_info.show_metadata),
    "stop_canister": ManagementMethod(interface_types.CANISTER, canister_lifecycle.stop),
    "delete_canister": ManagementMethod(interface_types.CANISTER, canister_lifecycle.delete),
    STATUS: ManagementMethod(interface_types.CANISTER, canister_lifecycle.show_status),
    LOGS: ManagementMethod(interface_types.CANISTER, canister_status.fetch_logs),
    "take_canister_snapshot": ManagementMethod(snapshot_types.TAKE, canister_snapshots.take),
    "load_canister_snapshot": ManagementMethod(snapshot_types.LOAD, canister_snapshots.load),
    "list_canister_snapshots": ManagementMethod(interface_types.CANISTER, canister_snapshots.show),
    "delete_canister_snapshot": ManagementMethod(snapshot_types.ONE, canister_snapshots.delete),
    "read_canister_snapshot_metadata": ManagementMethod(
        snapshot_types.ONE, snapshot_transfer.read_metadata
    ),
    "read_canister_snapshot_data": ManagementMethod(
        snapshot_types.READ_DATA, snapshot_transfer.read_data
    ),
    "upload_canister_snapshot_metadata": ManagementMethod(
        snapshot_types.UPLOAD_METADATA, snapshot_transfer.upload_metadata
    ),
    "upload_canister_snapshot_data": ManagementMethod(
        snapshot_types.UPLOAD_DATA, snapshot_transfer.upload_data
    ),
}

_SNAPSHOT_VIEWS: Final = frozenset(
    {"list_canister_snapshots", "read_canister_snapshot_metadata", "read_canister_snapshot_data"}
)
"""Methods that those may call whom the setting `snapshot_visibility` names."""

_CANISTERS_ONLY: Final = frozenset(
    {
        *("create_canister", "deposit_cycles", "raw_rand", "canister_info", "http_request"),
        "canister_metadata",
        *("ecdsa_public_key", "sign_with_ecdsa", "schnorr_public_key", "sign_with_schnorr"),
        *("node_metrics_history", "subnet_info", "vetkd_public_key", "vetkd_derive_key"),
    }
)
"""Methods that take no ingress messages on any network."""


def effective_canister(method: str, arg: bytes, url: Principal) -> Principal:
    """Find out which canister a call concerns.

    Args:
        method: The method.
        arg: Its argument.
        url: The canister in the request's URL.

    Raises:
        RefusedError: The argument names another canister than the URL, or cannot be read.
    """
    if method == CREATE:
        if url != MANAGEMENT_CANISTER and not is_hosted(url):
            raise NotAdmittedError(_BAD_REQUEST, f"The canister {url} is not on this subnet")
        return url
    if method not in _METHODS or method == DEPOSIT:
        return url
    try:
        named = target(method, arg)
    except FormatError as error:
        raise NotAdmittedError(
            _BAD_REQUEST, f"Cannot read the argument of {method}: {error}"
        ) from error
    if named != url:
        raise NotAdmittedError(
            _BAD_REQUEST,
            f"Specified CanisterId {named} does not match effective canister id in URL {url}",
        )
    return named


def target(method: str, arg: bytes) -> Principal:
    """Return the canister that a method's argument names.

    Raises:
        FormatError: The argument is not of the method's type.
    """
    known = _METHODS.get(method)
    record = interface_types.CANISTER if known is None else known.argument
    field = "canister_id" if known is None else known.canister
    return Arguments.decode(record, arg).principal(field)


def concerns_a_canister(method: str) -> bool:
    """Whether a method's argument names the canister that it is about."""
    return method in _METHODS


def method_of(message: IngressMessage) -> ManagementMethod:
    """Look up the method of a message that is admissible."""
    return _METHODS[message.method]


def is_free(message: IngressMessage) -> bool:
    """Tell whether nobody pays for the message's ingress."""
    return message.method == TOP_UP


def pays_later(message: IngressMessage) -> bool:
    """Tell whether the message is paid for after it is executed, if the canister then can.

    So controllers can thaw a canister whose freezing threshold they set too high.
    """
    return message.method == _UPDATE_SETTINGS and len(message.arg) <= MAX_PAID_LATER_BYTES


def inadmissible(
    method: str,
    canister: Principal,
    sender: Principal,
    slot: Slot | None,
    *,
    from_canister: bool = False,
) -> Reject | None:
    """Say why a call is refused before its argument is read; None when it may be executed."""
    if method in _CANISTERS_ONLY and not from_canister:
        return admission.only_canisters(method)
    if method == LOGS and not from_canister:
        return admission.only_queries(method)
    if method not in _METHODS:
        return admission.no_management_method(method)
    if slot is None or slot.deleted:
        return admission.not_found(canister)
    settings = slot.canister.settings
    viewers = "controllers"
    if method == STATUS:
        viewers = settings.status_viewers
    elif method == LOGS:
        viewers = settings.log_viewers
    elif method in _SNAPSHOT_VIEWS:
        viewers = settings.snapshot_viewers
    if method in _OPEN_TO_ALL or settings.lets_see(viewers, sender):
        return None
    return admission.not_controller(canister, method)
