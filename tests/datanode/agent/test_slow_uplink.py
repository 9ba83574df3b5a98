"""A slow line is no dead line: nothing is given up, and so sent twice, while our bytes leave."""

import socket
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datanode.agent.throughput import HORIZON_S, Throughput
from datanode.agent.transport import TOTAL_S, Transport, TransportError
from datanode.agent.window import QUEUE_S, Window
from datanode.limits import MAX_MESSAGE_FRAMES_BYTES, MESSAGE_EXPIRY_NS
from tests.datanode.agent.hostile_server import talking

MESSAGE = MAX_MESSAGE_FRAMES_BYTES
STEP_S = 0.5


@dataclass
class Sent:
    at_s: float
    left: float = float(MESSAGE)
    answer_s: float | None = None


@dataclass
class Line:
    """A line that all messages in flight share fairly, without loss, in virtual time."""

    rate_bytes_s: float
    latency_s: float
    now_s: float = 0.0
    flying: list[Sent] = field(default_factory=list)
    longest_s: float = 0.0

    def upload(self, count: int) -> None:
        transport = Transport("http://127.0.0.1:1", monotonic=lambda: self.now_s)
        window = Window(max_messages=16, max_bytes=64_000_000, monotonic=lambda: self.now_s)
        while count or self.flying:
            while count and window.try_acquire(MESSAGE):
                transport._uplink.start(MESSAGE)
                self.flying.append(Sent(self.now_s))
                count -= 1
            self.step()
            for message in list(self.flying):
                silent_s = self.now_s - message.at_s
                if message.answer_s is None or message.answer_s > self.now_s:
                    assert silent_s < transport.patience_s(), "given up while bytes still leave"
                    continue
                self.flying.remove(message)
                self.longest_s = max(self.longest_s, silent_s)
                transport._uplink.finish(MESSAGE, arrived=True)
                window.release(MESSAGE)
        transport.close()

    def step(self) -> None:
        self.now_s += STEP_S
        leaving = [message for message in self.flying if message.answer_s is None]
        for message in leaving:
            message.left -= self.rate_bytes_s * STEP_S / len(leaving)
            if message.left <= 0:
                message.answer_s = self.now_s + self.latency_s


@pytest.mark.parametrize("rate_bytes_s", [24_000.0, 125_000.0])
def test_nothing_is_given_up_on_a_slow_line(rate_bytes_s: float) -> None:
    line = Line(rate_bytes_s, latency_s=3.0)
    line.upload(20)
    assert line.longest_s < MESSAGE_EXPIRY_NS / 1e9 < TOTAL_S


@given(st.floats(24_000, 50_000_000), st.floats(0, 15))
def test_nothing_is_given_up_on_any_line(rate_bytes_s: float, latency_s: float) -> None:
    line = Line(rate_bytes_s, latency_s)
    line.upload(12)
    assert line.longest_s < MESSAGE_EXPIRY_NS / 1e9


def test_window_follows_the_rate_down_to_one_message() -> None:
    now = [0.0]
    window = Window(max_messages=16, max_bytes=64_000_000, monotonic=lambda: now[0])
    assert window.try_acquire(MESSAGE)
    assert window.try_acquire(MESSAGE)
    now[0] = 100.0
    window.release(MESSAGE)
    assert MESSAGE / 100 * QUEUE_S < MESSAGE
    assert not window.try_acquire(MESSAGE)
    window.release(MESSAGE)
    assert window.try_acquire(MESSAGE)
    assert not window.try_acquire(1)


def test_rate_is_that_of_busy_time_and_forgets() -> None:
    now = [0.0]
    throughput = Throughput(lambda: now[0])
    assert throughput.rate_bytes_s() is None
    throughput.start(1000)
    now[0] = 10.0
    throughput.finish(1000, arrived=True)
    now[0] = 1000.0
    assert throughput.rate_bytes_s() == 100.0
    throughput.start(500)
    now[0] = 1005.0
    throughput.finish(500, arrived=False)
    assert throughput.rate_bytes_s() == pytest.approx(1000 / 15)
    assert throughput.in_flight_bytes == 0
    for _ in range(20):
        throughput.start(10_000)
        now[0] += HORIZON_S
        throughput.finish(10_000, arrived=True)
    assert throughput.rate_bytes_s() == pytest.approx(10_000 / HORIZON_S, rel=0.01)


def test_throttled_line_gets_its_time_and_a_silent_one_does_not() -> None:
    """The peer reads 400 KB at 400 KB/s with a stall of 0.2 s; a mere question is given up."""
    body = bytes(400_000)
    requests: list[int] = []

    def slowly(connection: socket.socket) -> None:
        requests.append(1)
        left = len(body) - 65_536
        while left > 0:
            left -= len(connection.recv(min(left, 8_000)))
            time.sleep(0.02)
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")

    with talking(slowly) as url, Transport(url, stall_s=0.2) as transport:
        assert transport.exchange("POST", "/x", body).body == b"ok"
        assert len(requests) == 1
    with (
        talking(lambda _: time.sleep(1)) as url,
        Transport(url, stall_s=0.2) as transport,
        pytest.raises(TransportError, match="in time"),
    ):
        transport.exchange("POST", "/x", b"question")
