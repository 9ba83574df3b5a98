"""Serves canisters to browsers, as the Internet Computer's HTTP gateways do.

A canister is at `http://<id>.localhost:<port>/`, an origin of its own, and at any other path than
the network's own with `?canisterId=<id>`. There it shares the network's origin, so its pages are
sandboxed: they cannot act as pages of the network.

1. The request is a query of `http_request`; when the reply asks for it, an update of
   `http_request_update`; both from nobody.
2. A body that is not complete is got by its callback, or range by range, while it is sent.

What a gateway of the Internet Computer does besides, this one does not: it verifies no certified
answer, and each of its answers says so in `x-datanode-certification`.
"""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar
from urllib.parse import parse_qs

from datanode.agent import envelope, identity
from datanode.agent.reject import RejectError
from datanode.agent.replica_responses import parse_query_answer
from datanode.errors import FormatError
from datanode.limits import INGRESS_TTL_NS
from datanode.localnet.gateway import http, web
from datanode.localnet.gateway.http import Event, Response
from datanode.localnet.gateway.ic_interface import PATIENCE_S, Interface
from datanode.localnet.gateway.waiting import answered
from datanode.localnet.gateway.web import CanisterHttpReply, CanisterHttpRequest, StreamingCallback
from datanode.localnet.machine.rejects import RejectCode
from datanode.localnet.state.certificates import RangesForm
from datanode.localnet.state.fault import Asked, FaultVerb
from datanode.localnet.state.message import IngressReply, NotAdmittedError
from datanode.principal import ANONYMOUS, Principal

MAX_PARTS: Final = 1000
"""Most queries for one body. Source: ic-http-gateway, 2026."""

_DOMAIN: Final = ".localhost"
_MAX_FIELDS: Final = 1000
_BODILESS: Final = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
_OURS: Final = ("/api/", "/_/")
_NOTE: Final = (b"x-datanode-certification", b"not verified")
_SANDBOX: Final = (
    b"content-security-policy",
    b"sandbox allow-scripts allow-forms allow-popups allow-modals allow-downloads",
)
_NONCE_BYTES: Final = 16
_NAMES: Final[dict[int, str]] = {
    RejectCode.SYS_FATAL: "SysFatal",
    RejectCode.SYS_TRANSIENT: "SysTransient",
    RejectCode.DESTINATION_INVALID: "DestinationInvalid",
    RejectCode.CANISTER_REJECT: "CanisterReject",
    RejectCode.CANISTER_ERROR: "CanisterError",
}
_log: Final = logging.getLogger("datanode.localnet")
T = TypeVar("T")


class Sites:
    """The canisters as websites.

    Args:
        interface: The network.
        queries: Threads that run queries.
        updates: Threads that run updates.
    """

    def __init__(self, interface: Interface, queries: Executor, updates: Executor) -> None:
        self._interface = interface
        self._queries = queries
        self._updates = updates

    async def respond(self, scope: Event, canister: Principal, body: bytes) -> Response:
        """Serve one request.

        Raises:
            RefusedError: The canister does not answer, or its answer cannot be sent.
        """
        request = _request(scope, body)
        try:
            reply = web.parse_reply(
                await self._query(StreamingCallback(canister, "http_request", request.query_arg()))
            )
            if reply.wants_update:
                arg = request.update_arg()
                reply = web.parse_reply(await self._update(canister, arg))
            return _response(reply, self._rest(canister, request, reply), scope)
        except FormatError as error:
            raise NotAdmittedError(
                HTTPStatus.BAD_GATEWAY, f"The canister {canister} speaks no HTTP: {error.what}"
            ) from error

    def _rest(
        self, canister: Principal, request: CanisterHttpRequest, reply: CanisterHttpReply
    ) -> AsyncGenerator[bytes, None] | None:
        if request.method == "HEAD":
            return None
        if reply.callback is not None:
            return self._called_back(reply.callback)
        if reply.status == HTTPStatus.PARTIAL_CONTENT and request.header("range") is None:
            there, whole = reply.span()
            return None if there == whole else self._ranges(canister, request, there, whole)
        return None

    async def _called_back(self, callback: StreamingCallback) -> AsyncGenerator[bytes, None]:
        following: StreamingCallback | None = callback
        for _ in range(MAX_PARTS):
            if following is None:
                return
            body, following = web.parse_part(await self._query(following), following)
            yield body
        if following is not None:
            raise FormatError(f"a body has more than {MAX_PARTS} parts")

    async def _ranges(
        self, canister: Principal, request: CanisterHttpRequest, there: int, whole: int
    ) -> AsyncGenerator[bytes, None]:
        for _ in range(MAX_PARTS):
            headers = (*request.headers, ("range", f"bytes={there}-"))
            arg = replace(request, headers=headers).query_arg()
            reply = web.parse_reply(
                await self._query(StreamingCallback(canister, "http_request", arg))
            )
            end, length = reply.span()
            if length != whole or end - len(reply.body) != there:
                raise FormatError("a part is not the one that was asked for")
            there = end
            yield reply.body
            if there == whole:
                return
        raise FormatError(f"a body has more than {MAX_PARTS} parts")

    async def _query(self, callback: StreamingCallback) -> bytes:
        content = envelope.query_content(
            callback.canister,
            callback.method,
            callback.arg,
            sender=ANONYMOUS,
            ingress_expiry_ns=self._expiry_ns(),
        )
        body = envelope.sign(identity.anonymous(), content)
        # The older form of certificate, because every release of the verifiers understands it.
        ask = self._interface.query
        answer = await self._in(self._queries, ask, body, callback.canister, RangesForm.LEAF)
        found = parse_query_answer(answer).result
        if isinstance(found, RejectError):
            raise _refusal(found.code, found.error_code, found.message)
        return found

    async def _update(self, canister: Principal, arg: bytes) -> bytes:
        """Make an update and wait for its answer."""
        until = asyncio.get_running_loop().time() + PATIENCE_S
        content = envelope.call_content(
            canister,
            "http_request_update",
            arg,
            sender=ANONYMOUS,
            ingress_expiry_ns=self._expiry_ns(),
            nonce=secrets.token_bytes(_NONCE_BYTES),
        )
        body = envelope.sign(identity.anonymous(), content)
        admitted = await self._in(self._updates, self._interface.admit, body, canister)
        if admitted.refused is not None:
            return _settled(admitted.refused)
        await self._in(self._updates, self._interface.execute, admitted.message)
        request_id, requests = admitted.message.request_id, self._interface.network.traffic.requests
        await answered(requests, request_id, self._queries, until)
        known = await self._in(self._queries, requests.find, request_id)
        if known is None or known.answer is None:
            raise NotAdmittedError(
                HTTPStatus.GATEWAY_TIMEOUT, f"The canister {canister} has not answered yet."
            )
        return _settled(known.answer)

    def _expiry_ns(self) -> int:
        return self._interface.network.traffic.clock.now_ns() + INGRESS_TTL_NS

    async def _in(self, pool: Executor, work: Callable[..., T], *arguments: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(pool, partial(work, *arguments))


def asked(canister: Principal) -> Asked:
    """Say what a browser asks of a canister, for faults on cue."""
    return Asked(FaultVerb.QUERY, canister, "http_request")


def addressed(scope: Event) -> Principal | None:
    """Tell which canister a request is for; None when it is for the network itself.

    Raises:
        RefusedError: It is for something that is no canister.
    """
    label = _label(scope)
    if label is not None:
        return _principal(label)
    query = scope.get("query_string", b"")
    if str(scope["path"]).startswith(_OURS) or not isinstance(query, bytes):
        return None
    try:
        named = parse_qs(query.decode("latin-1"), max_num_fields=_MAX_FIELDS).get("canisterId")
    except ValueError as error:
        raise NotAdmittedError(HTTPStatus.BAD_REQUEST, "The query has too many fields.") from error
    return _principal(named[0]) if named else None


def _label(scope: Event) -> str | None:
    """Return what stands before `.localhost`, or before `.raw.localhost`, in the host's name."""
    host = (web.header(http.headers(scope), "host") or "").lower()
    name = host.partition(":")[0].rstrip(".")
    if not name.endswith(_DOMAIN):
        return None
    return name.removesuffix(_DOMAIN).removesuffix(".raw").rpartition(".")[2]


def _principal(text: str) -> Principal:
    try:
        return Principal.parse(text)
    except FormatError as error:
        raise NotAdmittedError(HTTPStatus.BAD_REQUEST, error.what) from error


def _request(scope: Event, body: bytes) -> CanisterHttpRequest:
    path, query = scope.get("raw_path") or b"", scope.get("query_string") or b""
    url = path if isinstance(path, bytes) else b""
    if isinstance(query, bytes) and query:
        url += b"?" + query
    return CanisterHttpRequest(
        method=str(scope["method"]),
        url=url.decode("latin-1"),
        headers=tuple(http.headers(scope)),
        body=body,
    )


def _response(
    reply: CanisterHttpReply, rest: AsyncGenerator[bytes, None] | None, scope: Event
) -> Response:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    headers.append(_NOTE)
    if _label(scope) is None:
        headers.append(_SANDBOX)
    if reply.status in _BODILESS:
        # A browser would take the bytes of a body for the next response of the connection.
        return Response(reply.status, b"", b"", tuple(headers))
    return Response(reply.status, reply.body, b"", tuple(headers), rest)


def _settled(answer: IngressReply) -> bytes:
    if answer.reject is not None:
        reject = answer.reject
        raise _refusal(reject.code, reject.error_code, reject.message)
    return answer.reply or b""


def _refusal(code: int, error_code: str, message: str) -> NotAdmittedError:
    """Word a reject as the gateways do."""
    if code == RejectCode.DESTINATION_INVALID:
        return NotAdmittedError(HTTPStatus.NOT_FOUND, message)
    return NotAdmittedError(
        HTTPStatus.BAD_GATEWAY,
        f"Replica Error: reject code {_NAMES.get(code, code)}, message {message}, "
        f'error code Some("{error_code}")',
    )
