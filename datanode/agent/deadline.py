"""Network streams whose every read and write counts against one deadline an exchange.

A timeout of a socket starts again with each byte, so that a peer that drips bytes (headers,
interim responses, chunk extensions, trailers) holds a request for ever. Here each operation waits
at most until the deadline of the exchange that its thread carries out.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ssl import SSLContext

import httpcore


class Deadline:
    """The end of the exchange of each thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._local = threading.local()

    @contextmanager
    def within(self, total_s: float) -> Iterator[None]:
        """Bound all network operations of this thread in the block."""
        self._local.end_s = self._monotonic() + total_s
        try:
            yield
        finally:
            self._local.end_s = None

    def now_s(self) -> float:
        """Return the time by the clock of the deadline."""
        return self._monotonic()

    def left_s(self, limit_s: float | None, expired: type[httpcore.TimeoutException]) -> float:
        """Return how long an operation may take, at most `limit_s`.

        Raises:
            TimeoutException: The deadline has passed; of the type `expired`.
        """
        end_s: float | None = getattr(self._local, "end_s", None)
        limits = [] if limit_s is None else [limit_s]
        if end_s is not None:
            limits.append(end_s - self._monotonic())
        left_s = min(limits, default=0.0)
        if left_s <= 0:
            raise expired("the deadline of the exchange has passed")
        return left_s


class DeadlineBackend(httpcore.NetworkBackend):
    """Opens TCP connections whose operations end with the deadline.

    Args:
        deadline: The end of the exchange.
        patience_s: How long a connection may be silent; asked again while it is, since it depends
            on what else is in flight.
    """

    def __init__(self, deadline: Deadline, patience_s: Callable[[], float]) -> None:
        self._deadline = deadline
        self._patience_s = patience_s
        self._backend = httpcore.SyncBackend()
        self._open = _OpenStreams()

    def close(self) -> None:
        """Close every connection, also one that a thread is about to use; no new one is opened.

        The pool closes what it knows; a connection that a thread is just opening is not among it.
        """
        self._open.close()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect within the deadline; looking the name up is bounded by the resolver only."""
        left_s = self._deadline.left_s(timeout, httpcore.ConnectTimeout)
        stream = self._backend.connect_tcp(host, port, left_s, local_address, socket_options)
        opened = _Stream(stream, self._deadline, self._patience_s, self._open, tls_layers=0)
        self._open.add(opened)
        return opened


class _OpenStreams:
    """The streams that are open; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams: set[_Stream] = set()
        self._closed = False

    def add(self, stream: "_Stream") -> None:
        """Keep a stream until it is closed.

        Raises:
            ConnectError: All were closed meanwhile; so is this one.
        """
        with self._lock:
            if not self._closed:
                self._streams.add(stream)
                return
        stream.close()
        raise httpcore.ConnectError("the connections of this agent are closed")

    def discard(self, stream: "_Stream") -> None:
        with self._lock:
            self._streams.discard(stream)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            streams = list(self._streams)
        for stream in streams:
            stream.close()


class _Stream(httpcore.NetworkStream):
    def __init__(
        self,
        stream: httpcore.NetworkStream,
        deadline: Deadline,
        patience_s: Callable[[], float],
        opened: _OpenStreams,
        *,
        tls_layers: int,
    ) -> None:
        self._stream = stream
        self._deadline = deadline
        self._patience_s = patience_s
        self._open = opened
        self._tls_layers = tls_layers

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        started_s = self._deadline.now_s()
        while True:
            quiet_s = self._deadline.now_s() - started_s
            limit_s = self._patience_s() - quiet_s if timeout is None else timeout
            left_s = self._deadline.left_s(limit_s, httpcore.ReadTimeout)
            try:
                return self._stream.read(max_bytes, left_s)
            except httpcore.ReadTimeout:
                if timeout is not None:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        sock = self._stream.get_extra_info("socket")
        if self._tls_layers > 1 or not isinstance(sock, socket.socket):
            self._stream.write(buffer, self._deadline.left_s(timeout, httpcore.WriteTimeout))
            return
        rest = memoryview(buffer)
        try:
            while rest:
                sock.settimeout(self._deadline.left_s(timeout, httpcore.WriteTimeout))
                rest = rest[sock.send(rest) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._open.discard(self)
        self._stream.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self._deadline.left_s(timeout, httpcore.ConnectTimeout)
        secured = self._stream.start_tls(ssl_context, server_hostname, left_s)
        layers = self._tls_layers + 1
        upper = _Stream(secured, self._deadline, self._patience_s, self._open, tls_layers=layers)
        self._open.discard(self)
        self._open.add(upper)
        return upper

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
