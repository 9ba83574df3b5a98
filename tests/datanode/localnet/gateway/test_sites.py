"""Canisters as websites: what reaches them, what is sent of their answers, and what is not."""

import http.client
import socket
from collections.abc import Iterator

import pytest

from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.principal import Principal
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.website import answer, part, streamed, website_wasm

ABSENT = "r7inp-6aaaa-aaaaa-aaabq-cai"
UPDATE_SLOT = 9


class Site:
    """A canister that answers as told, and a browser without a mind of its own."""

    def __init__(self, net: LocalNetwork, client: Client) -> None:
        self.port = int(net.url.rsplit(":", 1)[1])
        self.client, self.net = client, net
        self.canister = client.canister(website_wasm())

    def answers(self, reply: bytes, slot: int = 0) -> None:
        self.client.call(self.canister, "set", bytes([slot]) + reply)

    def get(
        self,
        path: str = "/",
        *,
        host: str | None = None,
        method: str = "GET",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], bytes]:
        host = f"{self.canister}.localhost:{self.port}" if host is None else host
        connection = http.client.HTTPConnection("127.0.0.1", self.port, 30)
        try:
            connection.request(method, path, headers={"host": host, **(headers or {})})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, alice: Identity) -> Iterator[Site]:
    with (
        LocalNetwork(tmp_path_factory.mktemp("sites") / "localnet") as net,
        Client(Network(url=net.url, root_key=net.root_key, name="test"), alice) as client,
    ):
        yield Site(net, client)


def test_a_canister_answers_at_a_host_of_its_own(site: Site) -> None:
    site.answers(answer(b"hello", status=201, headers=[("Content-Type", "text/x-mine")]))
    status, headers, body = site.get("/any/path?x=1")
    assert (status, headers["content-type"], body) == (201, "text/x-mine", b"hello")
    assert headers["content-length"] == "5"
    assert headers["x-datanode-certification"] == "not verified"
    assert "content-security-policy" not in headers


@pytest.mark.parametrize("form", ["{}.raw.localhost", "{}.LOCALHOST:80", "name.{}.localhost"])
def test_the_host_may_be_written_as_gateways_know_it(site: Site, form: str) -> None:
    site.answers(answer(b"hello"))
    assert site.get(host=form.format(site.canister))[2] == b"hello"


def test_a_canister_named_in_the_query_is_sandboxed(site: Site) -> None:
    site.answers(answer(b"hello"))
    status, headers, body = site.get(f"/?canisterId={site.canister}", host=f"localhost:{site.port}")
    assert (status, body) == (200, b"hello")
    assert headers["content-security-policy"].startswith("sandbox ")
    assert "allow-same-origin" not in headers["content-security-policy"]


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_without_a_body_does_not_smuggle_in_another_answer(
    site: Site, status: int
) -> None:
    forged = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"
    site.answers(answer(forged, status=status))
    asked = f"GET / HTTP/1.1\r\nHost: {site.canister}.localhost\r\n"
    with socket.create_connection(("127.0.0.1", site.port), 30) as connection:
        connection.sendall(f"{asked}Connection: close\r\n\r\n".encode())
        told = b"".join(iter(lambda: connection.recv(4096), b""))
    assert told.startswith(f"HTTP/1.1 {status} ".encode())
    assert told.endswith(b"\r\n\r\n")
    assert b"evil" not in told


@pytest.mark.parametrize("path", ["/_/canisters", "/_/ledger", "/api/v2/status"])
def test_the_networks_own_paths_belong_to_the_canister_at_its_host(site: Site, path: str) -> None:
    site.answers(answer(b"mine"))
    assert site.get(path)[2] == b"mine"
    assert site.get(path, method="POST")[2] == b"mine"


@pytest.mark.parametrize("path", ["/_/canisters", "/api/v2/status"])
def test_a_canister_in_the_query_does_not_take_the_networks_paths(site: Site, path: str) -> None:
    site.answers(answer(b"mine"))
    status, _, body = site.get(f"{path}?canisterId={site.canister}", host=f"127.0.0.1:{site.port}")
    assert status == 200
    assert body != b"mine"


def test_nothing_that_is_not_a_canister_has_a_site(site: Site) -> None:
    assert site.get(host="www.localhost")[0] == 400
    assert site.get("/?canisterId=nonsense", host="localhost")[0] == 400
    assert site.get("/?" + "a=1&" * 1001, host="localhost")[0] == 400
    status, _, body = site.get(host=f"{ABSENT}.localhost")
    assert (status, body) == (404, f"Canister {ABSENT} not found".encode())


def test_a_reject_is_a_bad_gateway_in_the_gateways_words(site: Site) -> None:
    counter = site.client.counter()
    status, _, body = site.get(host=f"{counter}.localhost")
    assert status == 502
    assert body.startswith(b"Replica Error: reject code CanisterError, message ")
    assert body.endswith(b'error code Some("IC0536")')


def test_a_request_is_made_again_as_an_update_when_the_canister_asks(site: Site) -> None:
    site.answers(answer(b"query", upgrade=True))
    site.answers(answer(b"update"), UPDATE_SLOT)
    assert site.get(method="POST")[::2] == (200, b"update")
    site.answers(answer(b"query", upgrade=False))
    assert site.get(method="POST")[::2] == (200, b"query")


def test_a_reply_to_head_has_no_body(site: Site) -> None:
    site.answers(answer(b"hello"))
    status, headers, body = site.get(method="HEAD")
    assert (status, headers["content-length"], body) == (200, "5", b"")


def test_a_redirect_is_passed_on(site: Site) -> None:
    site.answers(answer(status=308, headers=[("location", "/elsewhere")]))
    status, headers, _ = site.get()
    assert (status, headers["location"]) == (308, "/elsewhere")


def test_a_body_goes_on_with_its_callback_until_there_is_no_token(site: Site) -> None:
    site.answers(streamed(b"one ", site.canister, "part", 1))
    site.answers(part(b"two ", 2), 1)
    site.answers(part(b"three", None), 2)
    assert site.get()[::2] == (200, b"one two three")


def test_a_large_body_comes_whole(site: Site) -> None:
    piece = bytes(range(256)) * 7000
    site.answers(streamed(piece, site.canister, "part", 1))
    site.answers(part(piece, 2), 1)
    site.answers(part(piece, None), 2)
    assert site.get()[2] == piece * 3


def test_a_body_without_end_is_cut_off(site: Site) -> None:
    site.answers(streamed(b"x", site.canister, "part", 1))
    site.answers(part(b"x", 1), 1)
    with pytest.raises(http.client.IncompleteRead) as cut:
        site.get()
    assert len(cut.value.partial) == 1001


@pytest.mark.parametrize("token", [b"", b"DIDL\0\1\x7d\1"])
def test_a_callback_that_answers_nonsense_cuts_the_body_off(site: Site, token: bytes) -> None:
    site.answers(streamed(b"x", site.canister, "part", 1))
    site.answers(token, 1)
    with pytest.raises(http.client.IncompleteRead):
        site.get()


def test_an_answer_of_a_part_is_completed_range_by_range(site: Site) -> None:
    for slot, text in ((0, b"abc"), (3, b"def"), (6, b"gh")):
        span = f"bytes {slot}-{slot + len(text) - 1}/8"
        site.answers(answer(text, status=206, headers=[("content-range", span)]), slot)
    assert site.get()[2] == b"abcdefgh"
    asked = site.get(headers={"range": "bytes=3-"})
    assert (asked[0], asked[1]["content-range"], asked[2]) == (206, "bytes 3-5/8", b"def")


@pytest.mark.parametrize(
    "span", [None, "bytes 0-1/8", "bytes 0-2/3x", "bytes 3-5/2", "bytes 5-3/9", "items 0-2/8"]
)
def test_a_range_that_makes_no_sense_is_refused(site: Site, span: str | None) -> None:
    headers = [] if span is None else [("content-range", span)]
    site.answers(answer(b"abc", status=206, headers=headers))
    assert site.get()[0] == 502


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"hello",
        b"DIDL\0\0",
        answer(status=101),
        answer(status=999),
        answer(headers=[("set cookie", "a")]),
        answer(headers=[("x", "a\r\nset-cookie: b")]),
        answer(headers=[("x", "\u2603")]),
        answer(headers=[("x", "a")] * 129),
        answer(headers=[("x", "a" * 70_000)]),
        answer(b"hello")[:-1],
    ],
)
def test_an_answer_that_cannot_be_sent_is_a_bad_gateway(site: Site, reply: bytes) -> None:
    site.answers(reply)
    status, headers, body = site.get()
    assert status == 502
    assert "set-cookie" not in headers
    assert body.startswith(f"The canister {site.canister} speaks no HTTP: ".encode())


def test_headers_about_the_connection_are_not_passed_on(site: Site) -> None:
    headers = [("Transfer-Encoding", "chunked"), ("content-length", "99"), ("Connection", "x")]
    site.answers(answer(b"hello", headers=headers))
    status, found, body = site.get()
    assert (status, found["content-length"], body) == (200, "5", b"hello")
    assert "transfer-encoding" not in found


def test_the_canisters_of_a_callback_may_be_others(site: Site) -> None:
    other = Site.__new__(Site)
    other.port, other.client, other.net = site.port, site.client, site.net
    other.canister = site.client.canister(website_wasm())
    other.answers(part(b"there", None), 1)
    site.answers(streamed(b"here and ", Principal.parse(other.canister.text), "part", 1))
    assert site.get()[2] == b"here and there"


@pytest.mark.parametrize(("kind", "method"), [("busy", None), ("busy", "http_request")])
def test_a_site_is_busy_on_cue(site: Site, kind: str, method: str | None) -> None:
    site.answers(answer(b"hello"))
    site.net.faults.set(kind, canister=site.canister, method=method, status=429, count=1)
    assert site.get()[0] == 429
    assert site.get()[::2] == (200, b"hello")


@pytest.mark.parametrize("kind", ["lose-request", "lose-answer"])
def test_a_site_is_lost_on_cue(site: Site, kind: str) -> None:
    site.answers(answer(b"hello"))
    site.net.faults.set(kind, verb="query", canister=site.canister, count=1)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError)):
        site.get()
    assert site.get()[::2] == (200, b"hello")
