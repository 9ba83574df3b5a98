"""The few words of HTTP that the embedded network speaks, on top of ASGI."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from datanode.localnet.state.message import RefusedError

Event: TypeAlias = MutableMapping[str, object]
Receive: TypeAlias = Callable[[], Awaitable[Event]]
Send: TypeAlias = Callable[[Event], Awaitable[None]]

CBOR: Final = b"application/cbor"
JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
_TOO_LARGE: Final = 413

CORS: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, POST, HEAD, OPTIONS"),
    (b"access-control-allow-headers", b"Accept, Content-Type, User-Agent, X-Requested-With"),
    (b"access-control-max-age", b"600"),
)
"""So that pages of any origin may speak to the network, as on the Internet Computer."""


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back.

    Attributes:
        status: HTTP status.
        body: Its bytes.
        kind: Content type.
        headers: Further headers.
    """

    status: int
    body: bytes = b""
    kind: bytes = TEXT
    headers: tuple[tuple[bytes, bytes], ...] = CORS


def text(status: int, line: str, *, cors: bool = True) -> Response:
    """Make a response of one line."""
    return Response(status, line.encode(), headers=CORS if cors else ())


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
            raise RefusedError(
                _TOO_LARGE, f"The request is too large: more than {max_bytes} bytes."
            )
        if event["type"] != "http.request" or not event.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def send_response(send: Send, response: Response) -> None:
    """Send a response."""
    headers: Iterable[tuple[bytes, bytes]] = (
        (b"content-type", response.kind),
        (b"content-length", str(len(response.body)).encode()),
        *response.headers,
    )
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
