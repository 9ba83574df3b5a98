"""The embedded network over HTTP: an ASGI application without a framework, on the loopback only.

| request | answer |
| --- | --- |
| `GET /api/v2/status` | health and root key |
| `POST /api/v2/canister/<id>/call` | 202 once admitted |
| `POST /api/v3/canister/<id>/call`, v4 | 200 with a certificate, 202 after ten seconds |
| `POST /api/v2/canister/<id>/query`, v3 | 200, signed by the node |
| `POST /api/v2/canister/<id>/read_state`, v3 | 200 with a certificate |
| `POST /api/v2/subnet/<id>/read_state`, v3 | the same, about subnets |
| `POST /api/v4/subnet/<id>/call`, v3 query | of the management canister, about no canister |
| `GET /`, `/_/page/...` | see `page`; not part of the Internet Computer |
| `/_/...` | see `admin`; not part of the Internet Computer |
| anything at `<id>.localhost`, or with `?canisterId=<id>` | what a canister serves: see `sites` |

Pages that come from another machine are refused: see `guard`.

Faults on cue strike on the way in, before execution and on the way out; see `delivery`.

A request that is refused gets a status of 400 and more and a line of text. Work is done in two
small pools of threads, so that updates that wait for their canister do not hold up queries.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from datanode import cbor
from datanode.errors import DataNodeError, FormatError
from datanode.localnet.gateway import guard, http, sites
from datanode.localnet.gateway.admin import Admin
from datanode.localnet.gateway.fault_admin import FaultAdmin
from datanode.localnet.gateway.http import Event, Receive, Response, Send
from datanode.localnet.gateway.ic_interface import PATIENCE_S, Interface
from datanode.localnet.gateway.page import status_pages
from datanode.localnet.gateway.page.page_facts import PageFacts
from datanode.localnet.gateway.page.status_pages import Pages
from datanode.localnet.gateway.request_delivery import RequestDelivery, asked_of
from datanode.localnet.gateway.sites import Sites
from datanode.localnet.gateway.subnet_admin import SubnetAdmin
from datanode.localnet.gateway.waiting import answered
from datanode.localnet.machine.rejects import Reject
from datanode.localnet.replica.damage import Damage
from datanode.localnet.replica.housekeeping import Housekeeper
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.message import IngressMessage, NotAdmittedError, RejectedError
from datanode.principal import Principal
from datanode.text import printable
from datanode.units import MIB, MINUTE_S

MAX_BODY_BYTES: Final = 4 * MIB
"""Largest body that is read; an ingress message has its own, smaller limit."""

UPDATE_THREADS: Final = 16
QUERY_THREADS: Final = 8

_STATUS: Final = "/api/v2/status"
_API: Final = re.compile(r"/api/(v[234])/(canister|subnet)/([a-z0-9-]*)/(call|query|read_state)")
_SHARDS_SINCE: Final = {
    ("canister", "call"): "v4",
    ("canister", "query"): "v3",
    ("canister", "read_state"): "v3",
    ("subnet", "call"): "v4",
    ("subnet", "query"): "v3",
}
"""Since which version a delegation shows its ranges in shards. Source: replica, 2026."""
_VERSIONS: Final = {
    ("canister", "call"): ("v2", "v3", "v4"),
    ("canister", "query"): ("v2", "v3"),
    ("canister", "read_state"): ("v2", "v3"),
    ("subnet", "call"): ("v4",),
    ("subnet", "query"): ("v3",),
    ("subnet", "read_state"): ("v2", "v3"),
}
_log: Final = logging.getLogger("datanode.localnet")
T = TypeVar("T")


class Application:
    """The ASGI application."""

    def __init__(self, interface: Interface) -> None:
        self._interface = interface
        network = interface.network
        runtime, traffic, records = network.runtime, network.traffic, network.records
        damage = Damage(
            runtime=runtime,
            traffic=traffic,
            host=interface.host,
            certification=network.certification,
        )
        faults = FaultAdmin(traffic.faults, records.marks, damage)
        self._admin = Admin(records, SubnetAdmin(runtime, traffic), faults)
        self._pages = Pages(PageFacts(runtime, traffic, records, network.topology))
        self._housekeeper = Housekeeper(runtime.canister_time, records, interface.rent)
        self._delivery = RequestDelivery(traffic)
        self._updates = ThreadPoolExecutor(UPDATE_THREADS, "update")
        self._queries = ThreadPoolExecutor(QUERY_THREADS, "query")
        self._sites = Sites(interface, self._queries, self._updates)
        self._running: set[asyncio.Task[bytes | None]] = set()
        self._forgetting: asyncio.Task[None] | None = None

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            response = guard.refusal(scope) or await self._respond(scope, receive)
            if response is http.CUT:
                await http.cut(scope)
            else:
                await http.send_response(send, response, receive)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            event = await receive()
            if event["type"] == "lifespan.startup":
                self._forgetting = asyncio.create_task(self._forget())
                self._housekeeper.start()
                await send({"type": "lifespan.startup.complete"})
            elif event["type"] == "lifespan.shutdown":
                if self._forgetting is not None:
                    self._forgetting.cancel()
                for execution in self._running:
                    execution.cancel()  # what has begun ends all the same
                await asyncio.to_thread(self._close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _close(self) -> None:
        self._housekeeper.stop()
        self._updates.shutdown()
        self._queries.shutdown()
        self._interface.network.close()

    async def _forget(self) -> None:
        traffic = self._interface.network.traffic
        while True:
            await asyncio.sleep(MINUTE_S)
            try:
                await self._in(
                    self._queries, lambda: traffic.requests.forget(traffic.clock.earliest_ns())
                )
            except DataNodeError as error:  # e.g. a full disk; a minute later it may be done
                _log.warning("old answers stay: %s", error.what)

    async def _respond(self, scope: Event, receive: Receive) -> Response:
        try:
            canister = sites.addressed(scope)
            if canister is None:
                return await self._route(scope, receive)
            body = await http.read_body(receive, MAX_BODY_BYTES)
            serve = partial(self._sites.respond, scope, canister, body)
            return await self._delivery.carry(sites.asked(canister), b"", serve)
        except NotAdmittedError as refused:
            cors = not _is_ours(str(scope["path"]))
            return http.text(refused.status, refused.text, cors=cors)
        except RejectedError as rejected:
            return _rejection(rejected.reject)
        except DataNodeError as error:
            # What was asked has not happened, and the same bytes may be sent again.
            _log.error("%s: %s", printable(str(scope["path"])), error.what)
            return http.text(503, error.what)
        except Exception:  # noqa: BLE001 - one request must not end the server; it is logged
            _log.exception("%s failed", printable(str(scope["path"])))
            return http.text(500, "The embedded network failed; its log says why.")

    async def _route(self, scope: Event, receive: Receive) -> Response:
        method, path = str(scope["method"]), str(scope["path"])
        if _is_ours(path):
            return await self._ours(scope, receive)
        if method == "OPTIONS":
            return Response(204)
        if method in ("GET", "HEAD"):
            return await self._read(scope, path)
        match = _API.fullmatch(path)
        version, kind, text, verb = match.groups() if match else ("", "", "", "")
        if method != "POST" or version not in _VERSIONS.get((kind, verb), ()):
            return http.text(404, f"There is nothing at {path}.")
        http.check_cbor(scope)
        try:
            principal = Principal.parse(text)
        except FormatError as error:
            return http.text(400, error.what)
        body = await http.read_body(receive, MAX_BODY_BYTES)
        serve = partial(self._api, version, kind, verb, principal, body)
        return await self._delivery.carry(asked_of(verb, principal), body, serve)

    async def _ours(self, scope: Event, receive: Receive) -> Response:
        """Serve what is beside the Internet Computer's interface."""
        if scope["method"] in ("GET", "HEAD") and status_pages.is_page(str(scope["path"])):
            return await self._in(self._queries, partial(self._pages.respond, scope))
        body = await http.read_body(receive, MAX_BODY_BYTES)
        return await self._in(self._queries, partial(self._admin.respond, scope, body))

    async def _read(self, scope: Event, path: str) -> Response:
        if path == _STATUS:
            return Response(200, self._interface.status(), http.CBOR)
        if http.wants_html(scope):
            return await self._in(self._queries, partial(self._pages.missing, scope))
        return http.text(404, f"There is nothing at {path}.")

    async def _api(
        self, version: str, kind: str, verb: str, principal: Principal, body: bytes
    ) -> Response:
        interface = self._interface
        if kind == "subnet" and verb != "read_state":
            principal = interface.management_of(principal)
        since = _SHARDS_SINCE.get((kind, verb))
        form = RangesForm.SHARDS if since and version >= since else RangesForm.LEAF
        if verb == "call":
            return await self._call(body, principal, version, form)
        if verb == "query":
            work = partial(interface.query, body, principal, form)
        elif kind == "subnet":
            work = partial(interface.read_subnet_state, body, principal, form)
        else:
            work = partial(interface.read_state, body, principal, form)
        return Response(200, await self._in(self._queries, work), http.CBOR)

    async def _call(
        self, body: bytes, principal: Principal, version: str, form: RangesForm
    ) -> Response:
        """Answer a call: refused, executed and certified, or on its way."""
        interface = self._interface
        admitted = await self._in(self._updates, partial(interface.admit, body, principal))
        if admitted.refused is not None and admitted.refused.reject is not None:
            return _rejection(admitted.refused.reject)
        schedule = self._delivery.schedule(admitted.message)
        execution = self._go_on(self._execute(admitted.message, form, schedule.delay_s))
        for delay_s in schedule.again_s:
            self._go_on(self._deliver_again(body, principal, form, delay_s))
        if version == "v2" or schedule.silent:
            return Response(202)
        until = asyncio.get_running_loop().time() + PATIENCE_S
        done, _ = await asyncio.wait({execution}, timeout=PATIENCE_S)
        if not done:
            return http.text(202, "The message is being executed; ask for it with read_state.")
        certified = execution.result()
        if certified is None:
            certified = await self._answer(admitted.message, form, until)
        if certified is None:
            return http.text(202, "The message is being executed; ask for it with read_state.")
        return Response(200, certified, http.CBOR)

    async def _answer(
        self, message: IngressMessage, form: RangesForm, until: float
    ) -> bytes | None:
        """Certify the answer of a message that waits for other canisters; None if it comes late."""
        requests = self._interface.network.traffic.requests
        if not await answered(requests, message.request_id, self._queries, until):
            return None
        return await self._in(self._updates, partial(self._interface.outcome, message, form))

    def _go_on(self, work: Coroutine[None, None, bytes | None]) -> "asyncio.Task[bytes | None]":
        """Do something that its sender need not wait for."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(_note_failure)
        return task

    async def _execute(
        self, message: IngressMessage, form: RangesForm, delay_s: float
    ) -> bytes | None:
        if delay_s:
            await asyncio.sleep(delay_s)
            if self._interface.network.traffic.clock.now_ns() > message.expires_ns:
                _log.warning("fault: %s expired before it was executed", message.request_id.hex())
                return None
        return await self._in(self._updates, partial(_execute, self._interface, message, form))

    async def _deliver_again(
        self, body: bytes, principal: Principal, form: RangesForm, delay_s: float
    ) -> bytes | None:
        await asyncio.sleep(delay_s)
        admitted = await self._in(self._updates, partial(self._interface.admit, body, principal))
        if admitted.refused is not None:
            return None
        return await self._execute(admitted.message, form, 0.0)

    async def _in(self, pool: Executor, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)


def _is_ours(path: str) -> bool:
    return path.startswith("/_/") or status_pages.is_page(path)


def _execute(interface: Interface, message: IngressMessage, form: RangesForm) -> bytes | None:
    """Execute a message and certify its answer in one go, on one thread."""
    interface.execute(message)
    return interface.outcome(message, form)


def _rejection(reject: Reject) -> Response:
    body = cbor.encode(
        {
            "status": "non_replicated_rejection",
            "reject_code": reject.code,
            "reject_message": reject.message,
            "error_code": reject.error_code,
        },
        tagged=True,
    )
    return Response(200, body, http.CBOR)


def _note_failure(execution: "asyncio.Task[bytes | None]") -> None:
    """Log what went wrong in a call that nobody waits for any more."""
    if not execution.cancelled() and execution.exception() is not None:
        _log.error("a message failed: %s", execution.exception())
