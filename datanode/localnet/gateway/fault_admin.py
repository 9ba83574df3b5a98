"""Faults on cue, set and cleared over HTTP; see `state.fault` and `replica.damage`.

| request | answer |
| --- | --- |
| `GET /_/faults` | every fault that is set, and what it has done |
| `POST /_/fault/set` a fault | `{"number"}` |
| `POST /_/fault/clear` `{"number"}`; null clears all | `{"cleared"}` |
| `POST /_/fault/drain` `{"canister", "level"}` | `{"balance_cycles"}` |
| `POST /_/fault/flip` `{"canister", "offset", "xor"}` | `{}` |
| `POST /_/fault/erase` `{"canister", "offset", "length"}` | `{}` |
| `POST /_/fault/mark` `{"canister", "name"}` | `{}` |
| `POST /_/fault/rollback` `{"canister", "name"}` | `{}` |
"""

import json
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, cast

from datanode.errors import FormatError, UsageError
from datanode.localnet.gateway.http import Event
from datanode.localnet.replica.damage import Damage
from datanode.localnet.state.checkpoints import StateCheckpoints
from datanode.localnet.state.drain_level import DrainLevel
from datanode.localnet.state.fault import Fault, FaultKind
from datanode.localnet.state.fault_plan import FaultPlan
from datanode.principal import Principal

Handler: TypeAlias = Callable[[Event, bytes], object]
_Fields: TypeAlias = Mapping[str, object]
_BYTE_MAX: Final = 255


class FaultAdmin:
    """Serves the requests of the table above.

    Args:
        plan: Faults on cue.
        marks: States that canisters may be put back to.
        damage: Damages canisters.

    Attributes:
        routes: The handler of each.
    """

    def __init__(self, plan: FaultPlan, marks: StateCheckpoints, damage: Damage) -> None:
        self._plan = plan
        self._marks = marks
        self._damage = damage
        self.routes: Final[Mapping[tuple[str, str], Handler]] = {
            ("GET", "/_/faults"): lambda _scope, _body: plan.standing(),
            ("POST", "/_/fault/set"): _parsed(self._set),
            ("POST", "/_/fault/clear"): _parsed(self._clear),
            ("POST", "/_/fault/drain"): _parsed(self._drain),
            ("POST", "/_/fault/flip"): _parsed(self._flip),
            ("POST", "/_/fault/erase"): _parsed(self._erase),
            ("POST", "/_/fault/mark"): _parsed(self._mark),
            ("POST", "/_/fault/rollback"): _parsed(self._roll_back),
        }

    def _set(self, fields: _Fields) -> object:
        fault = Fault.from_json(fields)
        if fault.kind is FaultKind.STALE_QUERY:
            if fault.canister is None:
                raise UsageError("a stale-query needs the canister that was marked")
            self._marks.find(fault.canister, fault.text("mark"))
        return {"number": self._plan.set(fault)}

    def _clear(self, fields: _Fields) -> object:
        number = None if fields["number"] is None else _number(fields, "number")
        return {"cleared": self._plan.clear(number)}

    def _drain(self, fields: _Fields) -> object:
        level = DrainLevel(str(fields["level"]))
        return {"balance_cycles": self._damage.drain(_canister(fields), level)}

    def _flip(self, fields: _Fields) -> object:
        xor = _number(fields, "xor")
        if not 0 < xor <= _BYTE_MAX:
            raise FormatError("xor is a number from 1 to 255")
        self._damage.flip(_canister(fields), _number(fields, "offset"), xor)
        return {}

    def _erase(self, fields: _Fields) -> object:
        self._damage.erase(_canister(fields), _number(fields, "offset"), _number(fields, "length"))
        return {}

    def _mark(self, fields: _Fields) -> object:
        self._damage.mark(_canister(fields), str(fields["name"]))
        return {}

    def _roll_back(self, fields: _Fields) -> object:
        self._damage.roll_back(_canister(fields), str(fields["name"]))
        return {}


def _parsed(handle: Callable[[_Fields], object]) -> Handler:
    def respond(_scope: Event, body: bytes) -> object:
        fields = json.loads(body)
        if not isinstance(fields, dict):
            raise FormatError("the body is not an object")
        return handle(cast("_Fields", fields))

    return respond


def _canister(fields: _Fields) -> Principal:
    return Principal.parse(str(fields["canister"]))


def _number(fields: _Fields, name: str) -> int:
    number = fields[name]
    if not isinstance(number, int) or number < 0:
        raise FormatError(f"{name} is a whole number, 0 or more")
    return number
