"""Administrative interface of the embedded network, beside the IC's HTTP interface.

| request | answer |
| --- | --- |
| `GET /_/ledger?after=N` | at most a thousand entries behind the N-th |
| `GET /_/canisters` | id, status, balance, memory, module hash of every canister |
| `POST /_/find` `{"canister", "needle"}` | where the bytes (hex) lie in stable memory |
| `POST /_/name` `{"canister", "name"}` | names a canister, for the page |
| `/_/time`, `/_/subnet` | see `subnet_admin` |
| `GET /_/faults`, `POST /_/fault/...` | see `fault_admin` |

Only for programs on this machine: what a browser says of where a request comes from must name the
network itself, the Host header must name the loopback, so that no page of the web can reach it
under a name of its own, and a POST must be JSON, which a foreign page may not send without asking
first; it is never allowed.
"""

import json

from datanode.errors import DataNodeError, FormatError
from datanode.localnet.gateway import guard, http
from datanode.localnet.gateway.fault_admin import FaultAdmin, Handler
from datanode.localnet.gateway.http import Event, Response
from datanode.localnet.gateway.subnet_admin import SubnetAdmin
from datanode.localnet.state import ledger
from datanode.localnet.state.canister_names import CanisterNames
from datanode.localnet.state.canister_records import CanisterRecords
from datanode.localnet.state.canisters import Slot
from datanode.localnet.state.message import NotAdmittedError
from datanode.principal import Principal


class Admin:
    """Serves the requests of the table above.

    Args:
        records: State of the canisters.
        subnet: Serves what concerns the subnet and its time.
        faults: Serves what concerns faults.
    """

    def __init__(self, records: CanisterRecords, subnet: SubnetAdmin, faults: FaultAdmin) -> None:
        self._records = records
        self._subnet = subnet
        self._faults = faults

    def respond(self, scope: Event, body: bytes) -> Response:
        """Serve one request.

        Raises:
            RefusedError: It comes from elsewhere, or makes no sense.
        """
        guard.check_own_page(scope)
        routes: dict[tuple[str, str], Handler] = {
            ("GET", "/_/ledger"): self._ledger,
            ("GET", "/_/canisters"): self._canisters,
            ("POST", "/_/find"): self._find,
            ("POST", "/_/name"): self._name,
            **self._subnet.routes,
            **self._faults.routes,
        }
        handle = routes.get((str(scope["method"]), str(scope["path"])))
        if handle is None:
            raise NotAdmittedError(404, f"There is nothing at {scope['path']}.")
        kind = dict(http.headers(scope)).get("content-type")
        if scope["method"] == "POST" and kind != http.JSON.decode():
            raise NotAdmittedError(415, "Send application/json.")
        try:
            answer = handle(scope, body)
        except DataNodeError as error:
            raise NotAdmittedError(400, error.what) from error
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise NotAdmittedError(400, f"The request makes no sense: {error}") from error
        return Response(200, json.dumps(answer).encode(), http.JSON, ())

    def _ledger(self, scope: Event, _body: bytes) -> object:
        after = int(http.question(scope).get("after", "0"))
        return [entry.to_json() for entry in ledger.page(self._records.database, after=after)]

    def _canisters(self, _scope: Event, _body: bytes) -> object:
        return [
            {
                "canister": each.id.text,
                "status": each.status.value,
                "balance_cycles": each.balance_cycles,
                "memory_bytes": each.memory_bytes,
                "stable_bytes": each.stable_bytes,
                "module_hash": None if each.module_hash is None else each.module_hash.hex(),
                "controllers": [who.text for who in each.settings.controllers],
            }
            for each in (slot.canister for slot in self._records.canisters)
        ]

    def _find(self, _scope: Event, body: bytes) -> object:
        wanted = json.loads(body)
        slot = self._slot(wanted["canister"])
        with slot.lock:
            return {"offset": slot.machine.find_stable(bytes.fromhex(wanted["needle"]))}

    def _name(self, _scope: Event, body: bytes) -> object:
        wanted = json.loads(body)
        canister = self._slot(wanted["canister"]).canister.id
        CanisterNames(self._records.database).set(canister, str(wanted["name"]))
        return {"canister": canister.text, "name": wanted["name"]}

    def _slot(self, text: str) -> Slot:
        slot = self._records.canisters.find(Principal.parse(text))
        if slot is None:
            raise FormatError(f"there is no canister {text}")
        return slot
