"""The one door to HTTP: requests and answers as bytes, bounded in size and time.

One persistent client on HTTP/1.1 (HTTP/2 costs ten times the CPU a message); its connections are
shared by all threads. Answers are read in pieces and refused when they grow too large. A time-out
counts from the last byte, so that a slow line may take its time and a dead one may not.
"""

import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final
from urllib.parse import urlsplit

import httpx

from datanode.cleanup import Closing
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

_CONGESTED: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class TransportError(NetworkError):
    """No usable answer came.

    Attributes:
        retry_after_s: When the other side wants to be asked again, if it said so.
    """

    def __init__(self, what: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(what)
        self.retry_after_s = retry_after_s


class RefusedError(NodeRejectedError):
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
class Answer:
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


class Transport(Closing):
    """A connection pool to one endpoint; thread-safe.

    Args:
        url: Scheme, host and port.
        stall_s: How long a connection may be silent.
        monotonic: Clock for the bound on the whole exchange.

    Raises:
        UsageError: The URL is none, or the environment names a proxy or certificates that cannot
            be used.
    """

    def __init__(
        self,
        url: str,
        *,
        stall_s: float = STALL_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._url = printable(url, 100)
        try:
            self._client = httpx.Client(
                base_url=url,
                timeout=httpx.Timeout(stall_s, connect=min(CONNECT_S, stall_s)),
                limits=httpx.Limits(
                    max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS
                ),
                headers={"accept-encoding": "identity", "user-agent": "datanode"},
                # None are kept: they would follow the user around, and fill the memory.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                # A proxy of the environment has no business between us and ourselves.
                trust_env=not is_loopback(url),
                # Reading every authority's certificate takes longer than a call, for nothing here.
                verify=not (is_loopback(url) and urlsplit(url).scheme == "http"),
                follow_redirects=False,
            )
        except (httpx.InvalidURL, ValueError, ImportError, OSError) as error:
            raise UsageError(
                f"no connection to {printable(url, 100)} can be set up: {printable(str(error))}",
                hint="Check the address, and HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE "
                "in the environment.",
            ) from error

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def post(self, path: str, body: bytes) -> bytes:
        """Post CBOR and return the answer's body; see `exchange`."""
        return self.exchange("POST", path, body).body

    def get(self, path: str) -> bytes:
        """Get a body; see `exchange`."""
        return self.exchange("GET", path).body

    def exchange(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Send one request, once.

        Raises:
            TransportError: No answer, too slow, too large, 429, 5xx: asking again may help.
            RefusedError: Any other status than 200 and 202.
        """
        headers = {"content-type": "application/cbor"} if body is not None else None
        try:
            with self._client.stream(method, path, content=body, headers=headers) as response:
                data = self._read(response)
        except httpx.TimeoutException as error:
            raise TransportError("the network did not answer in time") from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise TransportError(
                f"the network is out of reach: {self._url}: {printable(str(error))}"
            ) from error
        status = response.status_code
        if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
            return Answer(status, data)
        if status in _CONGESTED or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            words = printable(data) or response.reason_phrase
            raise TransportError(
                f"the network is not ready ({status}): {printable(words)}",
                retry_after_s=_retry_after(response.headers.get("retry-after")),
            )
        raise RefusedError(status, printable(data))

    def _read(self, response: httpx.Response) -> bytes:
        deadline = self._monotonic() + TOTAL_S
        if response.headers.get("content-encoding", "identity") != "identity":
            raise TransportError("the network compressed an answer although it was asked not to")
        parts, size = [], 0
        for part in response.iter_raw():
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                raise TransportError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
            if self._monotonic() > deadline:
                raise TransportError("the network answered too slowly")
            parts.append(part)
        return b"".join(parts)


def _retry_after(value: str | None) -> float | None:
    if value is None or not value.isascii() or not value.isdecimal():
        return None
    return min(float(value[:9]), MAX_RETRY_AFTER_S)
