"""Deliver requests and answers, with the delivery faults that are set.

Whatever waits here waits in the event loop and holds no thread.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from datanode.agent import envelope as envelopes
from datanode.errors import FormatError
from datanode.localnet.gateway import http
from datanode.localnet.gateway.blocks import Blocks
from datanode.localnet.gateway.http import Response
from datanode.localnet.state.fault import Asked, Fault, FaultKind, FaultPoint, FaultVerb
from datanode.localnet.state.message import IngressMessage
from datanode.localnet.state.message_traffic import MessageTraffic
from datanode.principal import Principal
from datanode.units import SECOND_NS

_MS_IN_S: Final = 1000
_TOO_MANY: Final = 429


@dataclass(frozen=True, slots=True)
class DeliverySchedule:
    """When an admitted message is executed.

    Attributes:
        delay_s: So much later.
        silent: Its sender is told 202 at once.
        again_s: After how long copies of it arrive, one number each.
    """

    delay_s: float = 0.0
    silent: bool = False
    again_s: tuple[float, ...] = ()


AT_ONCE: Final = DeliverySchedule()


class RequestDelivery:
    """Lets the faults of a network's plan strike requests and answers."""

    def __init__(
        self, traffic: MessageTraffic, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._traffic = traffic
        self._plan = traffic.faults
        self._now_s = now_s
        self._blocks: dict[Fault, Blocks] = {}

    async def carry(
        self, asked: Asked, body: bytes, serve: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Bring a request to where it is served and its answer back."""
        if not self._plan.active:
            return await serve()
        if asked.method is None:
            asked = replace(asked, method=_method(asked.verb, body))
        for fault in self._plan.strike(FaultPoint.ARRIVE, asked):
            match fault.kind:
                case FaultKind.LATENCY:
                    await asyncio.sleep(fault.number("ms") / _MS_IN_S)
                case FaultKind.LOSE_REQUEST:
                    return http.CUT
                case FaultKind.BUSY:
                    return _busy(fault)
        response = await serve()
        return http.CUT if self._plan.strike(FaultPoint.ANSWER, asked) else response

    def schedule(self, message: IngressMessage) -> DeliverySchedule:
        """Decide when an admitted message is executed, and how often it arrives."""
        if not self._plan.active:
            return AT_ONCE
        delay_s, silent, again_s = 0.0, False, list[float]()
        asked = Asked(FaultVerb.CALL, message.effective, message.method)
        for fault in self._plan.strike(FaultPoint.SCHEDULE, asked):
            match fault.kind:
                case FaultKind.LATE:
                    silent = True
                    delay_s = max(delay_s, self._late_s(fault, message))
                case FaultKind.DUPLICATE:
                    again_s += [fault.number("ms") / _MS_IN_S] * fault.number("copies")
                case FaultKind.BLOCKS:
                    delay_s = max(delay_s, self._block_s(fault, message))
        return DeliverySchedule(delay_s, silent, tuple(again_s))

    def _late_s(self, fault: Fault, message: IngressMessage) -> float:
        before = dict(fault.parameters).get("before_expiry_ms")
        if before is None:
            return fault.number("ms") / _MS_IN_S
        left_s = (message.expires_ns - self._traffic.clock.now_ns()) / SECOND_NS
        return max(0.0, left_s - int(before) / _MS_IN_S)

    def _block_s(self, fault: Fault, message: IngressMessage) -> float:
        blocks = self._blocks.get(fault)
        if blocks is None:
            blocks = self._blocks[fault] = Blocks(
                interval_s=fault.number("interval_ms") / _MS_IN_S,
                max_bytes=fault.number("bytes"),
                max_messages=fault.number("messages"),
            )
        now_s = self._now_s()
        return blocks.place(message.envelope_bytes, now_s) - now_s


def asked_of(verb: str, principal: Principal) -> Asked:
    """Say what a request asks for, as far as its URL tells."""
    return Asked(FaultVerb(verb), principal)


def _method(verb: FaultVerb | None, body: bytes) -> str | None:
    if verb is FaultVerb.READ_STATE:
        return None
    try:
        return envelopes.parse(body).method
    except FormatError:
        return None


def _busy(fault: Fault) -> Response:
    status, after_s = fault.number("status"), fault.number("retry_after_s")
    words = "Too many requests." if status == _TOO_MANY else "Service unavailable."
    response = http.text(status, f"{words} A fault on cue.")
    if after_s < 0:
        return response
    headers = (*response.headers, (b"retry-after", str(after_s).encode()))
    return Response(response.status, response.body, response.kind, headers)
