"""The one door to HTTP: requests and answers as bytes, bounded in size and time.

One persistent pool of HTTP/1.1 connections, shared by all threads (HTTP/2 costs ten times the CPU a
message). Answers are read in pieces and refused when they grow too large. A connection may be
silent for `STALL_S`, longer only while our own bytes still leave; a whole exchange, from the wait
for a connection to the last trailer, ends after `TOTAL_S`.
"""

import ipaddress
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpcore

from datanode.agent.deadline import Deadline, DeadlineBackend
from datanode.agent.http_pool import open_pool
from datanode.agent.rate_limit import RateLimit, paced
from datanode.agent.throughput import Throughput
from datanode.cleanup import SafeClose
from datanode.errors import NetworkError, NodeRejectedError, UsageError
from datanode.text import printable
from datanode.units import MIB

MAX_ANSWER_BYTES: Final = 4 * MIB
"""Largest answer that is read: a reply of 3 MiB with its certificate."""
STALL_S: Final = 60.0
"""A connection without a byte for so long is given up. Ours."""
TOTAL_S: Final = 300.0
"""Nothing takes longer than an ingress message lives. Ours."""
CONNECT_S: Final = 10.0
MAX_CONNECTIONS: Final = 32
"""Sender threads and a few readers. Ours."""
MAX_RETRY_AFTER_S: Final = 60.0
SLOWEST_BYTES_S: Final = 20_000.0
"""Uplink that is assumed before anything is measured. Ours: two full messages in `TOTAL_S`."""
MEASURED_BYTES: Final = 65_536
"""Smaller requests say more about the other side than about the line. Ours."""
RATE_MARGIN: Final = 1.5
"""How much slower than measured a line may become before it counts as silent. Ours."""

_CONGESTED: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_MIDDLEBOX: Final = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.PAYMENT_REQUIRED,
    HTTPStatus.PROXY_AUTHENTICATION_REQUIRED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
    HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS,
    HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED,
)
"""Statuses that no replica gives; a proxy, firewall or portal on the way does."""
_MARKUP: Final = (b"<", b"\xef\xbb\xbf<")


class TransportError(NetworkError):
    """No usable answer came.

    Attributes:
        retry_after_s: When the other side wants to be asked again, if it said so.
    """

    def __init__(self, what: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s


class InterceptedError(TransportError):
    """Something on the way answered in place of the network: a proxy, a firewall, a portal."""

    retryable = False
    default_hint = (
        "Open the network's address from here, and check HTTP_PROXY, HTTPS_PROXY and NO_PROXY in "
        "the environment."
    )


class HttpRefusedError(NodeRejectedError):
    """The endpoint refused a request as such (HTTP 4xx), before it was taken up.

    Attributes:
        status: The HTTP status.
        text: What the endpoint wrote, made printable.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"the network refused the request ({status}): {text or 'no reason given'}")
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An HTTP answer of status 200 or 202."""

    status: int
    body: bytes


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Transport(SafeClose):
    """A connection pool to one endpoint; thread-safe.

    Args:
        url: Scheme, host and port.
        stall_s: How long a connection may be silent.
        total_s: How long an exchange may take.
        slowest_bytes_s: Uplink that is assumed before anything is measured.
        monotonic: Clock of the bounds.
        limit: Paces bodies and answers; None: as fast as the line.

    Raises:
        UsageError: The URL is none, or the environment names a proxy or certificates that cannot
            be used.
    """

    def __init__(
        self,
        url: str,
        *,
        stall_s: float = STALL_S,
        total_s: float = TOTAL_S,
        slowest_bytes_s: float = SLOWEST_BYTES_S,
        monotonic: Callable[[], float] = time.monotonic,
        limit: RateLimit | None = None,
    ) -> None:
        self._limit = limit
        self._shown = printable(url, 100)
        self._stall_s = stall_s
        self._total_s = total_s
        self._slowest_bytes_s = slowest_bytes_s
        self._deadline = Deadline(monotonic)
        self._uplink = Throughput(monotonic)
        try:
            self._url = httpcore.URL(_encoded(url))
            self._backend = DeadlineBackend(self._deadline, self.patience_s)
            self._pool = open_pool(
                url,
                self._backend,
                # A proxy of the environment has no business between us and ourselves.
                is_local=is_loopback(url),
                max_connections=MAX_CONNECTIONS,
            )
        except (ValueError, RuntimeError, ImportError, OSError) as error:
            raise UsageError(
                f"no connection to {self._shown} can be set up: {printable(str(error))}",
                hint="Check the address, and HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE "
                "in the environment.",
            ) from error

    def close(self) -> None:
        """Close all connections."""
        try:
            self._pool.close()
        finally:
            self._backend.close()

    def post(self, path: str, body: bytes) -> bytes:
        """Post CBOR and return the answer's body; see `exchange`."""
        return self.exchange("POST", path, body).body

    def get(self, path: str) -> bytes:
        """Get a body; see `exchange`."""
        return self.exchange("GET", path).body

    def exchange(self, method: str, path: str, body: bytes | None = None) -> HttpReply:
        """Send one request, once.

        Raises:
            TransportError: No answer, too slow, too large, 429, 5xx: asking again may help.
            InterceptedError: Something on the way answered.
            HttpRefusedError: Any other status than 200 and 202.
        """
        size = len(body or b"")
        self._uplink.start(size)
        arrived = False
        try:
            with self._deadline.within(self._total_s):
                status, headers, data = self._roundtrip(method, path, body)
            arrived = True
        except httpcore.TimeoutException as error:
            raise TransportError("the network did not answer in time") from error
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.ProxyError,
            httpcore.UnsupportedProtocol,
            OSError,
            UnicodeError,
        ) as error:
            raise TransportError(
                f"the network is out of reach: {self._shown}: {printable(str(error))}"
            ) from error
        finally:
            self._uplink.finish(size, arrived=arrived and size >= MEASURED_BYTES)
        return _judged(status, headers, data)

    def patience_s(self) -> float:
        """How long the answer to what is in flight may take: longer while bytes still leave."""
        rate_bytes_s = self._uplink.rate_bytes_s()
        slow_bytes_s = self._slowest_bytes_s if rate_bytes_s is None else rate_bytes_s / RATE_MARGIN
        return self._stall_s + self._uplink.in_flight_bytes / slow_bytes_s

    def _roundtrip(
        self, method: str, path: str, body: bytes | None
    ) -> tuple[int, dict[str, str], bytes]:
        headers: dict[bytes | str, bytes | str] = {
            "accept-encoding": "identity",
            "user-agent": "datanode",
        }
        if body is not None:
            headers["content-type"] = "application/cbor"
        content: bytes | Iterator[bytes] | None = body
        if body is not None and self._limit is not None:
            content = paced(body, self._limit)
            headers["content-length"] = str(len(body))
        target = httpcore.URL(
            scheme=self._url.scheme,
            host=self._url.host,
            port=self._url.port,
            target=path.encode("ascii"),
        )
        timeouts = {
            "connect": min(CONNECT_S, self._stall_s),
            # Without "read": a stream asks for the patience while it waits.
            "write": self.patience_s(),
            "pool": self._total_s,
        }
        with self._pool.stream(
            method, target, headers=headers, content=content, extensions={"timeout": timeouts}
        ) as response:
            received = {
                name.decode("latin-1").lower(): value.decode("latin-1")
                for name, value in response.headers
            }
            return response.status, received, _read(response, received, self._limit)


def _encoded(url: str) -> str:
    """Write an international host name in ASCII."""
    host = urlsplit(url).hostname or ""
    return url if host.isascii() else url.replace(host, host.encode("idna").decode(), 1)


def _read(response: httpcore.Response, headers: dict[str, str], limit: RateLimit | None) -> bytes:
    if headers.get("content-encoding", "identity") != "identity":
        raise TransportError("the network compressed an answer although it was asked not to")
    parts, size = [], 0
    for part in response.iter_stream():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise TransportError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        parts.append(part)
        if limit is not None:
            limit.take(len(part))
    return b"".join(parts)


def _judged(status: int, headers: dict[str, str], data: bytes) -> HttpReply:
    """Tell an answer of the network from one of something on the way to it.

    Raises:
        DataNodeError: As `Transport.exchange`.
    """
    if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
        return HttpReply(status, data)
    if status in _CONGESTED or (
        status >= HTTPStatus.INTERNAL_SERVER_ERROR and status not in _MIDDLEBOX
    ):
        words = printable(data) or f"status {status}"
        raise TransportError(
            f"the network is not ready ({status}): {words}",
            retry_after_s=_retry_after(headers.get("retry-after")),
        )
    is_page = "html" in headers.get("content-type", "") or data.lstrip().startswith(_MARKUP)
    if is_page or status in _MIDDLEBOX or status < HTTPStatus.BAD_REQUEST:
        where = headers.get("location", "")
        words = f"it leads to {printable(where, 100)}" if where else printable(data, 120)
        raise InterceptedError(
            f"something between this machine and the network answered ({status}): "
            f"{words or 'no reason given'}"
        )
    raise HttpRefusedError(status, printable(data))


def _retry_after(value: str | None) -> float | None:
    if value is None or not value.isascii() or not value.isdecimal():
        return None
    return min(float(value[:9]), MAX_RETRY_AFTER_S)
