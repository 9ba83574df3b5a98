"""datanode.agent.transport and retry: bounded, mapped, repeated only where that can help."""

import socket
import time

import httpcore
import pytest

from datanode.agent.deadline import Deadline, DeadlineBackend
from datanode.agent.retry import ATTEMPTS, SUSPECT_ATTEMPTS, retrying
from datanode.agent.transport import (
    MAX_ANSWER_BYTES,
    HttpRefusedError,
    HttpReply,
    InterceptedError,
    Transport,
    TransportError,
    is_loopback,
)
from datanode.errors import CertificateError, NetworkError, UsageError
from tests.datanode.agent.hostile_server import Talk, talking


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
        assert transport.exchange("POST", "/x", b"") == HttpReply(202, b"")


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


@pytest.mark.parametrize("status", [400, 403, 404, 405])
def test_refusals_keep_their_text(status: int) -> None:
    with (
        talking(says(f"{status} Status", b"why \x1b[1mnot")) as url,
        Transport(url) as transport,
        pytest.raises(HttpRefusedError) as caught,
    ):
        transport.get("/x")
    assert "\x1b" not in str(caught.value)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("head", "body"),
    [
        *((f"{status} Status", b"no") for status in (401, 402, 407, 413, 431, 451, 511)),
        *(
            (f"{status} Moved\r\nlocation: http://portal/\x1b[1m", b"")
            for status in (301, 302, 307)
        ),
        ("204 No Content", b""),
        ("403 Forbidden\r\ncontent-type: text/html", b"blocked"),
        ("403 Forbidden", b" <html>blocked</html>"),
        ("404 Not Found", b"\xef\xbb\xbf<!DOCTYPE html>"),
    ],
)
def test_answers_of_middleboxes_are_network_errors(head: str, body: bytes) -> None:
    with (
        talking(says(head, body)) as url,
        Transport(url) as transport,
        pytest.raises(InterceptedError, match="between this machine") as caught,
    ):
        transport.get("/x")
    assert caught.value.exit_code == NetworkError.exit_code
    assert not caught.value.retryable
    assert "\x1b" not in str(caught.value)


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


def test_last_error_is_raised_unchanged_and_bounded_by_its_kind() -> None:
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
    assert len(slept) == ATTEMPTS - 1 + SUSPECT_ATTEMPTS - 1


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


def test_rejects_unprintable_host() -> None:
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


@pytest.mark.parametrize("entry", ["[::1]", "[::1", "10.0.0.0/99", "a b", "user@host", "caf\u00e9"])
def test_odd_no_proxy_entries_stop_nothing(entry: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", f"{entry},localhost")
    monkeypatch.setenv("HTTPS_PROXY", "http://gate.invalid:3128")
    Transport("https://icp-api.invalid").close()


def test_requests_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        requests.append(b"")
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbody")

    with talking(talk) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.replace("http://", "http://me:p%40ss@"))
        with Transport("http://replica.invalid") as transport:
            assert transport.get("/x") == b"body"
    assert len(requests) == 1


def test_connection_opened_during_close_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        backend = DeadlineBackend(Deadline(), lambda: 1.0)
        early = backend.connect_tcp("127.0.0.1", server.getsockname()[1], 60.0)
        backend.close()
        with pytest.raises(httpcore.ConnectError, match="closed"):
            backend.connect_tcp("127.0.0.1", server.getsockname()[1], 60.0)
        assert early.get_extra_info("socket").fileno() == -1
        accepted = [server.accept()[0] for _ in range(2)]
        for each in accepted:
            with each:
                each.settimeout(10)
                assert each.recv(1) == b"", "the client's end is closed"
