"""datanode.agent.transport and retry: bounded, mapped, repeated only where that can help."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from datanode.agent.retry import ATTEMPTS, retrying
from datanode.agent.transport import (
    MAX_ANSWER_BYTES,
    Answer,
    RefusedError,
    Transport,
    TransportError,
    is_loopback,
)
from datanode.errors import CertificateError, NetworkError, NodeRejectedError, UsageError

Talk = Callable[[socket.socket], None]


@contextmanager
def talking(talk: Talk) -> Iterator[str]:
    """A server that reads a request and then talks as it likes."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(5)
    stopped = threading.Event()

    def serve() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(5)
                try:
                    received = b""
                    while b"\r\n\r\n" not in received:
                        received += connection.recv(65_536)
                    if not stopped.is_set():
                        talk(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stopped.set()
        # Wakes the thread out of accept.
        with socket.create_connection(listener.getsockname()) as wake:
            wake.sendall(b"\r\n\r\n")
        thread.join()
        listener.close()


def says(head: str, body: bytes = b"") -> Talk:
    def talk(connection: socket.socket) -> None:
        length = "" if "transfer" in head else f"content-length: {len(body)}\r\n"
        connection.sendall(f"HTTP/1.1 {head}\r\n{length}connection: close\r\n\r\n".encode() + body)

    return talk


def test_bodies_come_back_with_status_200_and_202() -> None:
    with talking(says("200 OK", b"body")) as url, Transport(url) as transport:
        assert transport.get("/x") == b"body"
        assert transport.post("/x", b"question") == b"body"
    with talking(says("202 Accepted")) as url, Transport(url) as transport:
        assert transport.exchange("POST", "/x", b"") == Answer(202, b"")


@pytest.mark.parametrize(
    ("head", "retry_after_s"),
    [
        ("429 Too Many Requests\r\nretry-after: 3", 3.0),
        ("503 Service Unavailable\r\nretry-after: 999999999999", 60.0),
        ("503 Service Unavailable\r\nretry-after: Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("500 Internal Server Error", None),
        ("599 What", None),
    ],
)
def test_what_may_pass_is_a_network_error_with_its_pause(
    head: str, retry_after_s: float | None
) -> None:
    with talking(says(head, b"\x1b[2Jbusy")) as url, Transport(url) as transport:
        with pytest.raises(NetworkError, match="not ready") as caught:
            transport.get("/x")
        assert isinstance(caught.value, TransportError)
        assert caught.value.retry_after_s == retry_after_s
        assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 400, 403, 404, 413, 204, 100 + 99])
def test_any_other_status_is_a_refusal_with_its_text(status: int) -> None:
    why = b"" if status in (204, 199) else b"why \x1b[1mnot"
    with (
        talking(says(f"{status} Status\r\nlocation: http://elsewhere", why)) as url,
        Transport(url, stall_s=0.2) as transport,
        pytest.raises((NodeRejectedError, TransportError)) as caught,
    ):  # fmt: skip
        transport.get("/x")
    assert "\x1b" not in str(caught.value)
    if isinstance(caught.value, RefusedError):
        assert caught.value.status == status


def flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    piece = b"10000\r\n" + bytes(65_536) + b"\r\n"
    for _ in range(2 * MAX_ANSWER_BYTES // 65_536):
        connection.sendall(piece)


def silence(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
    time.sleep(0.5)


def hang_up(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (flood, "more than"),
        (silence, "in time"),
        (hang_up, "out of reach"),
        (lambda connection: connection.sendall(b"\x16\x03 not http\r\n\r\n"), "out of reach"),
        (says("200 OK\r\ncontent-encoding: gzip", b"x"), "compressed"),
        (lambda talker: talker.sendall(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 99_999), "reach"),
    ],
)  # fmt: skip
def test_endless_silent_and_broken_answers_are_given_up(talk: Talk, words: str) -> None:
    with (
        talking(talk) as url,
        Transport(url, stall_s=0.2) as transport,
        pytest.raises(TransportError, match=words),
    ):
        transport.get("/x")


def test_a_dripping_answer_is_given_up_in_the_end() -> None:
    ticks = iter(range(0, 10_000, 200))

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
        for _ in range(20):
            connection.sendall(b"x")
            time.sleep(0.02)

    with (
        talking(drip) as url,
        Transport(url, stall_s=1, monotonic=lambda: float(next(ticks))) as transport,
        pytest.raises(TransportError, match="too slowly"),
    ):
        transport.get("/x")


def test_nobody_there_is_a_network_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Transport(url) as transport, pytest.raises(TransportError, match="out of reach"):
        transport.get("/x")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:4943", True),
        ("http://127.8.8.8", True),
        ("http://localhost:8000", True),
        ("http://abc.localhost:8000", False),
        ("http://[::1]:4943", True),
        ("https://icp-api.io", False),
        ("http://127.evil.example", False),
        ("http://localhost.evil.example", False),
        ("http://192.168.0.1", False),
        ("", False),
    ],
)
def test_only_this_machine_is_loopback(url: str, expected: object) -> None:
    assert is_loopback(url) is expected


def test_retryable_errors_are_tried_again_with_growing_pauses() -> None:
    slept: list[float] = []
    tries = iter([NetworkError("a"), TransportError("b", retry_after_s=7.0), None])

    def action() -> str:
        error = next(tries)
        if error is not None:
            raise error
        return "done"

    assert retrying(action, sleep=slept.append) == "done"
    assert slept[1] == 7.0
    assert len(slept) == 2


def test_the_last_error_leaves_as_it_came_and_others_at_once() -> None:
    slept: list[float] = []

    def lost() -> None:
        raise NetworkError("lost")

    def wrong() -> None:
        raise CertificateError("wrong")

    with pytest.raises(NetworkError, match="lost"):
        retrying(lost, sleep=slept.append)
    assert len(slept) == ATTEMPTS - 1
    assert all(0 <= pause <= 8 for pause in slept)
    with pytest.raises(CertificateError):
        retrying(wrong, sleep=slept.append)
    with pytest.raises(ZeroDivisionError):
        retrying(lambda: 1 // 0, sleep=slept.append)
    assert len(slept) == ATTEMPTS - 1


@pytest.mark.parametrize(
    "variables",
    [
        {"ALL_PROXY": "socks5://127.0.0.1:1"},
        {"HTTPS_PROXY": "garbage://x"},
        {"SSL_CERT_FILE": "/nonexistent"},
    ],
)
def test_an_environment_that_cannot_be_used_is_explained(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="can be set up") as caught:
        Transport("https://icp-api.invalid")
    assert "ALL_PROXY" in caught.value.hint
    Transport("http://127.0.0.1:1").close()


def test_a_url_that_httpx_refuses_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="set up"):
        Transport("http://exam\x1bple.org")


def test_no_cookie_is_kept() -> None:
    requests = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nset-cookie: who=you; path=/\r\ncontent-length: 0\r\n\r\n"
        )
        requests.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    with talking(talk) as url, Transport(url) as transport:
        transport.get("/x")
        transport.get("/x")
    assert b"GET /x" in requests[0]
    assert b"cookie" not in requests[0].lower()
