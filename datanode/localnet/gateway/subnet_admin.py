"""Administrative requests about time and subnet.

| request | answer |
| --- | --- |
| `GET /_/time` | canister time, its rate, how far it is ahead of the clock |
| `POST /_/time` `{"advance_s", "rate"}` | changes it; both may be left out |
| `GET /_/subnet` | fees, metering, nodes, SEV, GiB used by others, bytes used in all |
| `POST /_/subnet` with `fees`, `metering`, `nodes`, `sev`, `used_gib` | changes it; all optional |

Every change is logged.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final

from datanode.errors import FormatError
from datanode.localnet.gateway.http import Event
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.localnet.state.subnet import SubnetChoice
from datanode.localnet.state.subnet_runtime import SubnetRuntime

_log: Final = logging.getLogger("datanode.localnet")
_CHOICES: Final[Mapping[str, type]] = {
    "fees": str,
    "metering": str,
    "nodes": int,
    "sev": bool,
    "used_gib": int,
}


class SubnetAdmin:
    """Serves the requests of the table above.

    Attributes:
        routes: Handlers by method and path.
    """

    def __init__(self, runtime: SubnetRuntime, traffic: MessageTraffic) -> None:
        self._runtime = runtime
        self._traffic = traffic
        self.routes: dict[tuple[str, str], Callable[[Event, bytes], object]] = {
            ("GET", "/_/time"): self._time,
            ("POST", "/_/time"): self._change_time,
            ("GET", "/_/subnet"): self._subnet,
            ("POST", "/_/subnet"): self._change_subnet,
        }

    def _time(self, _scope: Event, _body: bytes) -> object:
        time = self._runtime.canister_time
        clock_ns = self._traffic.clock.now_ns()
        now_ns = time.now_ns()
        return {
            "canister_time_ns": now_ns,
            "ahead_ns": now_ns - clock_ns,
            "rate": time.rate,
        }

    def _change_time(self, scope: Event, body: bytes) -> object:
        wanted = _fields(body, {"advance_s": int, "rate": int})
        time = self._runtime.canister_time
        if wanted.get("rate") is not None:
            time.set_rate(int(str(wanted["rate"])))
            _log.warning("canister time runs %s times as fast from now on", wanted["rate"])
        if wanted.get("advance_s") is not None:
            time.advance(int(str(wanted["advance_s"])))
            _log.warning("canister time is advanced by %s s", wanted["advance_s"])
        return self._time(scope, body)

    def _subnet(self, _scope: Event, _body: bytes) -> object:
        return {**asdict(self._runtime.rules.subnet), "used_bytes": self._runtime.used_bytes()}

    def _change_subnet(self, scope: Event, body: bytes) -> object:
        wanted = _fields(body, _CHOICES)
        fees, metering, nodes, sev, used = (wanted.get(name) for name in _CHOICES)
        self._runtime.rules.choose(
            SubnetChoice(
                fees=fees if isinstance(fees, str) else None,
                metering=metering if isinstance(metering, str) else None,
                nodes=nodes if isinstance(nodes, int) else None,
                sev=sev if isinstance(sev, bool) else None,
                used_gib=used if isinstance(used, int) else None,
            )
        )
        return self._subnet(scope, body)


def _fields(body: bytes, known: Mapping[str, type]) -> Mapping[str, object]:
    """Read a JSON object of known names and types; None stands for a name that is left out."""
    found = json.loads(body)
    if not isinstance(found, dict):
        raise FormatError("the body is not an object")
    for name, value in found.items():
        kind = known.get(name)
        if kind is None or (value is not None and type(value) is not kind):
            raise FormatError(f"{name} is not known, or of the wrong type")
    return found
