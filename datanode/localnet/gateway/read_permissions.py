"""Read permissions for paths of the state tree, as the replica enforces them.

| path | who |
| --- | --- |
| `/time`, `/subnet/...`, `/canister_ranges/...`, `/api_boundary_nodes/...` | everybody |
| `/canister/<id>/{module_hash,controllers}` | everybody, at that canister's URL |
| `/canister/<id>/metadata/<name>` | the same; a private section only controllers |
| `/request_status/<id>/...` | who sent the request, at the URL of the canister it concerned |

Anything else is refused: 404 for paths that do not exist, 403 for those of others, 400 for
nonsense.
"""

from collections.abc import Sequence
from typing import Final

from datanode.localnet.state.canisters import Canisters
from datanode.localnet.state.message import NotAdmittedError
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.state_tree import Path
from datanode.principal import MANAGEMENT_CANISTER, MAX_PRINCIPAL_BYTES, Principal

_REQUEST_ID_BYTES: Final = 32
_MAX_PATHS: Final = 1000
_STATUS_FIELDS: Final = (b"status", b"reply", b"reject_code", b"reject_message", b"error_code")
_BAD_REQUEST, _FORBIDDEN, _NOT_FOUND = 400, 403, 404


def check_canister_paths(
    traffic: MessageTraffic,
    canisters: Canisters,
    paths: Sequence[Path],
    *,
    reader: Principal,
    canister: Principal,
) -> None:
    """Check what is read at a canister's URL.

    Raises:
        RefusedError: One of the paths is not for this reader.
    """
    _check_statuses(traffic, paths, reader, canister)
    for path in paths:
        match path:
            case (b"canister", of, b"module_hash" | b"controllers"):
                _check_same(of, canister)
            case (b"canister", of, b"metadata", name):
                _check_same(of, canister)
                _check_metadata(canisters, canister, name, reader)
            case _:
                _check_public(path)


def check_subnet_paths(
    traffic: MessageTraffic, paths: Sequence[Path], *, reader: Principal
) -> None:
    """Check what is read at a subnet's URL.

    Raises:
        RefusedError: One of the paths is not about subnets.
    """
    _check_statuses(traffic, paths, reader, MANAGEMENT_CANISTER)
    for path in paths:
        _check_public(path)


def _check_statuses(
    traffic: MessageTraffic, paths: Sequence[Path], reader: Principal, canister: Principal
) -> None:
    if len(paths) > _MAX_PATHS:
        raise NotAdmittedError(_NOT_FOUND, f"At most {_MAX_PATHS} paths can be read at once.")
    asked = {path[1] for path in paths if _is_status(path)}
    if len(asked) > 1:
        raise NotAdmittedError(
            _BAD_REQUEST, "More than one request id exists in request_status paths."
        )
    for label in asked:
        _check_request(traffic, label, reader, canister)


def _check_public(path: Path) -> None:
    if _is_status(path):
        return
    match path:
        case (
            (b"time",)
            | (b"subnet",)
            | (b"subnet", _)
            | (b"subnet", _, b"public_key" | b"canister_ranges" | b"node" | b"type" | b"metrics")
            | (b"subnet", _, b"node", _)
            | (b"subnet", _, b"node", _, b"public_key")
            | (b"canister_ranges", _)
            | (b"canister_ranges", _, _)
            | (b"api_boundary_nodes",)
            | (b"api_boundary_nodes", _)
            | (b"api_boundary_nodes", _, b"domain" | b"ipv4_address" | b"ipv6_address")
        ):
            return
    raise NotAdmittedError(_NOT_FOUND, "Invalid path requested.")


def _is_status(path: Path) -> bool:
    match path:
        case (b"request_status", _):
            return True
        case (b"request_status", _, field):
            return field in _STATUS_FIELDS
    return False


def _check_same(label: bytes, canister: Principal) -> None:
    if len(label) > MAX_PRINCIPAL_BYTES:
        raise NotAdmittedError(_BAD_REQUEST, "A canister id in the paths is not a principal.")
    if label != canister.raw:
        raise NotAdmittedError(
            _BAD_REQUEST,
            f"Effective principal id in URL {canister} does not match requested principal id: "
            f"{Principal(label)}.",
        )


def _check_metadata(canisters: Canisters, canister: Principal, name: bytes, who: Principal) -> None:
    try:
        text = name.decode()
    except UnicodeDecodeError:
        raise NotAdmittedError(_BAD_REQUEST, "Could not parse the custom section name.") from None
    slot = canisters.find(canister)
    if slot is None or slot.canister.is_controlled_by(who):
        return
    section = slot.sections().get(text)
    if section is not None and section[0] != "public":
        raise NotAdmittedError(
            _FORBIDDEN,
            f"Custom section {text:.100} can only be requested by the controllers of the canister.",
        )


def _check_request(
    traffic: MessageTraffic, label: bytes, who: Principal, canister: Principal
) -> None:
    if len(label) != _REQUEST_ID_BYTES:
        raise NotAdmittedError(
            _BAD_REQUEST,
            "Invalid request id in paths. Maybe the request ID is not of 32 bytes in length?!",
        )
    known = traffic.requests.find(label)
    if known is None:
        return
    if known.sender != who:
        raise NotAdmittedError(
            _FORBIDDEN, "The user tries to access Request ID not signed by the caller."
        )
    if known.effective != canister:
        raise NotAdmittedError(
            _FORBIDDEN,
            f"The request concerned the canister {known.effective}, not {canister} of the URL.",
        )
