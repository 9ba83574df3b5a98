"""Attacks by web pages on a network that runs on the visitor's machine."""

import http.client
import json
from collections.abc import Iterator

import pytest

from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.localnet.gateway import guard
from datanode.localnet.gateway.http import Event
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.counter import argument, number

STATUS = "/api/v2/status"
CBOR = {"Content-Type": "application/cbor"}
JSON = {"Content-Type": "application/json"}
ADVANCE = json.dumps({"advance_s": 1_000_000}).encode()


class Browser:
    """Sends what a page has it send."""

    def __init__(self, net: LocalNetwork, client: Client) -> None:
        self.port = int(net.url.rsplit(":", 1)[1])
        self.net, self.client = net, client
        self.canister = client.counter()
        self.own = f"http://{self.canister}.localhost:{self.port}"

    def send(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, 30)
        try:
            host = {"Host": f"localhost:{self.port}"}
            connection.request(method, path, body, host | headers)
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, alice: Identity) -> Iterator[Browser]:
    with (
        LocalNetwork(tmp_path_factory.mktemp("guard") / "localnet") as net,
        Client(Network(url=net.url, root_key=net.root_key, name="test"), alice) as client,
    ):
        yield Browser(net, client)


FOREIGN = [
    "https://evil.example",
    "http://localhost.evil.example",
    "http://evillocalhost",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1@evil.example",
    "http://192.168.1.7:8000",
    "http://[::1",
    "file://localhost",
    "chrome-extension://localhost",
    "null",
    "",
]
OURS = [
    "http://localhost",
    "http://LOCALHOST:5173",
    "https://app.localhost",
    "http://127.0.0.1:1",
    "http://127.8.8.8",
    "http://[::1]:3000",
]


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_from_elsewhere_is_refused_whatever_it_asks(browser: Browser, origin: str) -> None:
    call = browser.client.signed(browser.canister, "add", argument(1))
    path = f"/api/v4/canister/{browser.canister}/call"
    before = number(browser.client.query(browser.canister, "get"))
    asked = {"Origin": origin}
    for status, headers, _ in (
        browser.send("GET", STATUS, asked),
        browser.send("OPTIONS", path, asked),
        browser.send("POST", path, asked | CBOR, call),
        browser.send("GET", "/_/ledger", asked),
        browser.send("POST", "/_/time", asked | JSON, ADVANCE),
        browser.send("GET", "/", asked | {"Host": f"{browser.canister}.localhost"}),
        browser.send("GET", f"/?canisterId={browser.canister}", asked),
    ):
        assert status == 403
        assert "access-control-allow-origin" not in headers
    assert number(browser.client.query(browser.canister, "get")) == before


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", ""])
def test_a_name_that_was_pointed_at_this_machine_is_refused(browser: Browser, host: str) -> None:
    """So a page that a rebound name serves is not of the network's origin."""
    call = browser.client.signed(browser.canister, "add", argument(1))
    asked = {"Host": host, "Origin": f"http://{host}"}
    for headers in (asked, {"Host": host}):
        assert browser.send("GET", STATUS, headers)[0] == 403
        assert browser.send("GET", "/_/ledger", headers)[0] == 403
        assert browser.send("GET", f"/?canisterId={browser.canister}", headers)[0] == 403
        path = f"/api/v4/canister/{browser.canister}/call"
        assert browser.send("POST", path, headers | CBOR, call)[0] == 403


@pytest.mark.parametrize("origin", OURS)
def test_a_page_of_this_machine_calls_canisters(browser: Browser, origin: str) -> None:
    call = browser.client.signed(browser.canister, "add", argument(1))
    path = f"/api/v4/canister/{browser.canister}/call"
    status, headers, _ = browser.send("POST", path, {"Origin": origin} | CBOR, call)
    assert status == 200
    assert headers["access-control-allow-origin"] == "*"


def test_not_even_a_canisters_own_page_reaches_the_admin_interface(browser: Browser) -> None:
    ahead = browser.send("GET", "/_/time", {})
    assert ahead[0] == 200
    for asked in (
        {"Origin": browser.own},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        assert browser.send("POST", "/_/time", asked | JSON, ADVANCE)[0] == 403
        assert browser.send("GET", "/_/ledger", asked)[0] == 403
    itself = {"Origin": f"http://localhost:{browser.port}", "Sec-Fetch-Site": "same-origin"}
    assert browser.send("GET", "/_/ledger", itself)[0] == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_form_can_send_is_no_message(browser: Browser, kind: str) -> None:
    call = browser.client.signed(browser.canister, "add", argument(1))
    for verb in ("call", "query", "read_state"):
        path = f"/api/v3/canister/{browser.canister}/{verb}"
        status, _, told = browser.send("POST", path, {"Content-Type": kind}, call)
        assert (status, told) == (400, b"Unexpected content-type, expected application/cbor.")


def scope(**headers: str) -> Event:
    return {"headers": [(name.encode(), value.encode()) for name, value in headers.items()]}


def test_a_second_origin_hides_nothing() -> None:
    twice = scope(origin="http://localhost")
    assert guard.refusal(twice) is None
    twice["headers"] = [(b"origin", b"http://localhost"), (b"origin", b"https://evil.example")]
    assert guard.refusal(twice) is not None


@pytest.mark.parametrize("host", ["10.0.0.7:4943", "[fe80::1]:80", "x.localhost.", "localhost"])
def test_numbers_and_local_names_are_the_networks(host: str) -> None:
    assert guard.refusal(scope(host=host)) is None
