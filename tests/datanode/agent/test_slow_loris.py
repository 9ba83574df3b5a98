"""datanode.agent.transport against peers that never end: each exchange ends at its deadline.

Time is virtual where the peer drips: each look at the clock costs a second, so that no test depends
on the speed of the machine. Where the peer is silent, the operating system waits 0.2 s.
"""

import itertools
import socket
import time
from collections.abc import Iterator

import pytest

from datanode.agent.transport import Transport, TransportError
from tests.datanode.agent.hostile_server import talking

TOTAL_S = 40
DRIP_S = 0.001
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"
TLS_RECORD = b"\x16\x03\x03\x40\x00\x02"

DRIPS = {
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "headers": (HEAD, b"x-header: y\r\n"),
    "one header": (HEAD + b"x-header: ", b"y"),
    "interim responses": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"),
    "body": (HEAD + b"content-length: 4000000\r\n\r\n", b"x"),
    "body without length": (HEAD + b"connection: close\r\n\r\n", b"x"),
    "chunks of one byte": (CHUNKED, b"1\r\nx\r\n"),
    "size of a chunk": (CHUNKED, b"0"),
    "extension of a chunk": (CHUNKED + b"1;", b"x"),
    "one large chunk": (CHUNKED + b"100000\r\n", b"x"),
    "trailers": (CHUNKED + b"0\r\n", b"x-trailer: y\r\n"),
    "one trailer": (CHUNKED + b"0\r\nx-trailer: ", b"y"),
    "refusal": (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 4000000\r\n\r\n", b"x"),
}


class Ticking:
    """A clock that moves a second each time it is looked at."""

    def __init__(self) -> None:
        self.ticks = itertools.count()
        self.now_s = 0

    def __call__(self) -> float:
        self.now_s = next(self.ticks)
        return float(self.now_s)


def drip(connection: socket.socket, first: bytes, again: bytes) -> None:
    connection.sendall(first)
    while True:  # until the other side hangs up
        connection.sendall(again)
        time.sleep(DRIP_S)


@pytest.mark.parametrize("kind", DRIPS)
def test_dripping_peer_is_dropped_at_the_deadline(kind: str) -> None:
    clock = Ticking()
    with (
        talking(lambda connection: drip(connection, *DRIPS[kind])) as url,
        Transport(url, total_s=TOTAL_S, monotonic=clock) as transport,
        pytest.raises(TransportError),
    ):
        transport.exchange("POST", "/x", b"question")
    assert clock.now_s <= TOTAL_S + 10


def silence(connection: socket.socket) -> None:
    while connection.recv(1):
        time.sleep(DRIP_S)


def nothing(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    time.sleep(1)


@pytest.mark.parametrize("reads", [True, False])
def test_silent_peer_is_dropped_when_patience_ends(reads: object) -> None:
    with (
        talking(silence if reads else nothing, reads=bool(reads)) as url,
        Transport(url, stall_s=0.2, slowest_bytes_s=1e9) as transport,
        pytest.raises(TransportError, match="in time"),
    ):
        transport.exchange("POST", "/x", b"question" if reads else bytes(16_000_000))


@pytest.mark.parametrize("first", [b"", TLS_RECORD])
def test_dripping_tls_handshake_is_dropped(first: bytes) -> None:
    with (
        talking(lambda connection: drip(connection, first, b"\0"), reads=False) as url,
        Transport(url.replace("http:", "https:"), stall_s=0.2) as transport,
        pytest.raises(TransportError),
    ):
        transport.get("/x")


@pytest.fixture
def dripping_proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with talking(lambda talker: drip(talker, b"HTTP/1.1 200 ", b"O")) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        yield


def test_dripping_proxy_is_dropped_at_the_deadline(dripping_proxy: None) -> None:
    clock = Ticking()
    with (
        Transport("https://icp.invalid", total_s=TOTAL_S, monotonic=clock) as transport,
        pytest.raises(TransportError),
    ):
        transport.get("/x")
    assert clock.now_s <= TOTAL_S + 10
