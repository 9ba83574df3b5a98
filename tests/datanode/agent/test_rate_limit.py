"""Bytes a second are bounded, for bodies and answers, whatever asks for them at once."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.agent.rate_limit import LEAST_BYTES_S, PIECE_BYTES, RateLimit, paced
from datanode.agent.transport import Transport
from datanode.errors import UsageError


class FakeTime:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def limit_of(time: FakeTime, bytes_s: int = 100_000) -> RateLimit:
    return RateLimit(bytes_s, monotonic=time.monotonic, sleep=time.sleep)


@given(
    st.lists(st.tuples(st.integers(0, 300_000), st.floats(0, 5)), min_size=1, max_size=30),
    st.integers(LEAST_BYTES_S, 10**7),
)
def test_the_rate_is_kept_and_idle_time_gives_no_credit(
    pieces: list[tuple[int, float]], bytes_s: int
) -> None:
    time = FakeTime()
    limit = limit_of(time, bytes_s)
    for size, idle_s in pieces:
        time.now_s += idle_s
        began_s = time.now_s
        limit.take(size)
        assert time.now_s - began_s == pytest.approx(size / bytes_s, abs=1e-6)


def test_threads_share_the_rate() -> None:
    waits: list[float] = []
    limit = RateLimit(100_000, monotonic=lambda: 0.0, sleep=waits.append)
    threads = [threading.Thread(target=limit.take, args=(50_000,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(waits) == pytest.approx([0.5 * n for n in range(1, 9)])


def test_a_body_leaves_whole_in_pieces() -> None:
    time = FakeTime()
    body = bytes(range(256)) * 1_000
    pieces = list(paced(body, limit_of(time)))
    assert b"".join(pieces) == body
    assert max(map(len, pieces)) == PIECE_BYTES
    assert time.now_s == pytest.approx(len(body) / 100_000)


class _Echo(BaseHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) // 2))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])


def test_an_exchange_is_paced_in_both_directions() -> None:
    time = FakeTime()
    body = bytes(range(200)) * 200
    server = HTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.handle_request).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with server, Transport(url, limit=limit_of(time)) as transport:
        assert transport.post("/", body) == body[:20_000]
    assert time.now_s == pytest.approx(0.6)


def test_a_rate_at_which_messages_expire_is_refused() -> None:
    with pytest.raises(UsageError, match="too low"):
        RateLimit(LEAST_BYTES_S - 1)
