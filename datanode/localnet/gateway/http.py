"""Minimal HTTP helpers on top of ASGI."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Final, TypeAlias, cast
from urllib.parse import parse_qs

from datanode.errors import DataNodeError
from datanode.localnet.state.message import NotAdmittedError
from datanode.text import printable

Event: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]

CBOR: Final = b"application/cbor"
JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_BAD_REQUEST, _TOO_LARGE = 400, 413
_MAX_FIELDS: Final = 16
_log: Final = logging.getLogger("datanode.localnet")

CORS: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"Accept, Content-Type, User-Agent, X-Requested-With"),
    (b"access-control-max-age", b"600"),
)
"""So that pages of another server may speak to the network; `guard` says which servers."""


@dataclass(frozen=True, slots=True)
class Response:
    """HTTP response.

    Attributes:
        status: HTTP status.
        body: Its bytes.
        kind: Content type; none where the headers have it.
        headers: Further headers.
        rest: What follows the body, made while it is sent.
    """

    status: int
    body: bytes = b""
    kind: bytes = TEXT
    headers: tuple[tuple[bytes, bytes], ...] = CORS
    rest: AsyncGenerator[bytes, None] | None = None


CUT: Final = Response(0)
"""No response: the connection is cut instead."""

ABORT: Final = "datanode.abort"
"""Where a request's scope holds what cuts its connection."""


def text(status: int, line: str, *, cors: bool = True) -> Response:
    """Make a response of one line."""
    return Response(status, line.encode(), headers=CORS if cors else ())


def is_loopback(scope: Event) -> bool:
    """Whether a request names this machine, not a name that somebody's DNS points at it."""
    return dict(headers(scope)).get("host", "").rsplit(":", 1)[0] in _LOOPBACK


def wants_html(scope: Event) -> bool:
    """Whether a request comes from somebody who reads pages: a browser."""
    return "text/html" in dict(headers(scope)).get("accept", "")


def check_cbor(scope: Event) -> None:
    """Check that a body is sent as CBOR, which a foreign page may not do without asking first.

    Raises:
        RefusedError: It is sent as something else.
    """
    kinds = [value for name, value in headers(scope) if name == "content-type"]
    if not any(kind.partition(";")[0].strip().lower() == CBOR.decode() for kind in kinds):
        raise NotAdmittedError(_BAD_REQUEST, "Unexpected content-type, expected application/cbor.")


def question(scope: Event) -> dict[str, str]:
    """Read what stands behind the `?` of a request; of a name that repeats, the first value.

    Raises:
        RefusedError: It is not ASCII, or has too many fields.
    """
    raw = scope.get("query_string", b"")
    try:
        text = raw.decode("ascii") if isinstance(raw, bytes) else ""
        fields = parse_qs(text, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise NotAdmittedError(_BAD_REQUEST, "The request makes no sense.") from error
    return {name: values[0] for name, values in fields.items()}


async def read_body(receive: Receive, max_bytes: int) -> bytes:
    """Read a request's body, refusing it as soon as it is too long.

    Raises:
        RefusedError: It has more than `max_bytes`.
    """
    parts: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        part = event.get("body", b"")
        if isinstance(part, bytes) and part:
            parts.append(part)
            size += len(part)
        if size > max_bytes:
            raise NotAdmittedError(
                _TOO_LARGE, f"The request is too large: more than {max_bytes} bytes."
            )
        if event["type"] != "http.request" or not event.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def cut(scope: Event) -> None:
    """Cut the connection of a request."""
    abort = cast("Callable[[], None]", scope[ABORT])
    abort()
    # Back to the event loop, so that the server notices before it misses a response.
    await asyncio.sleep(0)


async def send_response(send: Send, response: Response, receive: Receive) -> None:
    """Send a response that is one.

    When the rest of a body fails, the connection ends without the end of the body, so that nobody
    takes it for whole. When its reader has left, the rest is not made.
    """
    fields = list(response.headers)
    if response.kind:
        fields.append((b"content-type", response.kind))
    if response.rest is None:
        fields.append((b"content-length", str(len(response.body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": fields})
    if response.rest is not None:
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        try:
            if not await _send_rest(send, response.rest, receive):
                return
        except (DataNodeError, NotAdmittedError) as error:
            _log.warning("a body was cut off: %s", printable(str(error)))
            return
    last = response.body if response.rest is None else b""
    await send({"type": "http.response.body", "body": last})


async def _send_rest(send: Send, rest: AsyncGenerator[bytes, None], receive: Receive) -> bool:
    """Send part after part as it is made; False when the reader leaves before the end."""
    leaving = asyncio.ensure_future(_left(receive))
    try:
        async for part in rest:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            if leaving.done():
                return False
        return True
    finally:
        leaving.cancel()
        await rest.aclose()


async def _left(receive: Receive) -> None:
    """Wait until the reader of a response leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


def headers(scope: Event) -> list[tuple[str, str]]:
    """Return a request's headers, names in lower case."""
    found = scope.get("headers", ())
    pairs = found if isinstance(found, list | tuple) else ()
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs]
