"""The ASGI application itself: what becomes of a request when something gives way."""

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

import pytest

from datanode import cbor
from datanode.agent.fields import CborFields
from datanode.agent.identity import Identity
from datanode.errors import LocalNetworkError
from datanode.localnet.gateway import http
from datanode.localnet.gateway.application import Application
from datanode.localnet.gateway.http import Event, Response
from datanode.localnet.state.canister_record import Canister
from tests.fakes.counter import argument, number
from tests.fakes.gateway import Gateway

PARTS = 1_000


class Reader:
    """A browser that leaves after so many pieces of the body, or stays to the end."""

    def __init__(self, leaves_after: int | None = None) -> None:
        self.leaves_after = leaves_after
        self.sent: list[Event] = []
        self._gone = asyncio.Event()

    async def receive(self) -> Event:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Event) -> None:
        self.sent.append(event)
        if len(self.sent) - 1 == self.leaves_after:
            self._gone.set()
        await asyncio.sleep(0)

    @property
    def body(self) -> bytes:
        return b"".join(cast("bytes", each.get("body", b"")) for each in self.sent)


async def made(counted: list[int]) -> AsyncGenerator[bytes, None]:
    try:
        for number_of_part in range(PARTS):
            counted.append(number_of_part)
            yield b"x"
    finally:
        counted.append(-1)


def sent(leaves_after: int | None) -> tuple[Reader, list[int]]:
    counted: list[int] = []

    async def run() -> Reader:
        reader = Reader(leaves_after)
        response = Response(200, b"", rest=made(counted))
        await http.send_response(reader.send, response, reader.receive)
        assert len(asyncio.all_tasks()) <= 2
        return reader

    return asyncio.run(run()), counted


def test_a_body_whose_reader_left_is_not_made_any_further() -> None:
    reader, counted = sent(leaves_after=10)
    assert counted[-1] == -1
    assert 9 <= len(counted) - 1 < 20
    assert reader.sent[-1].get("more_body") is True


def test_a_body_whose_reader_stays_comes_whole() -> None:
    reader, counted = sent(leaves_after=None)
    assert counted == [*range(PARTS), -1]
    assert reader.body == b"x" * PARTS
    assert not reader.sent[-1].get("more_body")


def posted(net: Gateway, path: str, body: bytes) -> tuple[int, bytes]:
    """Post CBOR to an application of its own."""
    told: list[Event] = []
    scope: Event = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/cbor")],
        "query_string": b"",
    }

    async def receive() -> Event:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(event: Event) -> None:
        told.append(event)

    asyncio.run(Application(net.interface)(scope, receive, send))
    return cast("int", told[0]["status"]), cast("bytes", told[1]["body"])


@pytest.mark.parametrize("version", ["v3", "v4"])
def test_a_message_that_cannot_be_committed_may_be_sent_again(
    net: Gateway, alice: Identity, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    canister = net.counter(alice)
    body = net.signed_call(alice, canister, "add", argument(3))
    path = f"/api/{version}/canister/{canister}/call"

    def fails(_: Canister) -> None:
        raise LocalNetworkError("the database failed: disk I/O error")

    with monkeypatch.context() as patch:
        patch.setattr(net.network.records.canisters, "save", fails)
        assert posted(net, path, body) == (503, b"the database failed: disk I/O error")
    assert number(net.query(alice, canister, "get")) == 0
    for _ in range(2):
        status, answer = posted(net, path, body)
        assert status == 200
        assert CborFields(cbor.decode(answer), "answer").text("status") == "replied"
        assert number(net.query(alice, canister, "get")) == 3
