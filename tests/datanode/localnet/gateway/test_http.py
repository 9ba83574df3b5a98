"""The embedded network over HTTP: routes, refusals, what browsers may do, the admin endpoints."""

import http.client
import json
import time
from collections.abc import Iterator

import pytest

from datanode import cbor
from datanode.agent import envelope, identity
from datanode.agent.fields import CborFields
from datanode.agent.hash_tree import HashTree
from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.agent.replica_responses import parse_query_answer
from datanode.errors import LocalNetworkError
from datanode.localnet.api import LocalNetwork, ask
from datanode.localnet.state.topology import REGISTRY, canister_id
from datanode.principal import ANONYMOUS, MANAGEMENT_CANISTER, Principal
from datanode.units import MINUTE_S, SECOND_NS
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.counter import argument, number
from tests.fakes.ledger_judge import messages

ANYWHERE = canister_id(0x8000_0000_0010_0FFF)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with LocalNetwork(tmp_path_factory.mktemp("http") / "localnet") as network:
        yield network


@pytest.fixture(scope="module")
def client(net: LocalNetwork, alice: Identity) -> Iterator[Client]:
    with Client(Network(url=net.url, root_key=net.root_key, name="test"), alice) as client:
        yield client


def request(
    net: LocalNetwork,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(net.url.rsplit(":", 1)[1]), 30)
    try:
        if headers is None and path.startswith("/api/"):
            headers = {"Content-Type": "application/cbor"}
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_the_status_names_the_root_key(net: LocalNetwork) -> None:
    code, _, body = request(net, "GET", "/api/v2/status")
    fields = CborFields(cbor.decode(body), "status")
    assert code == 200
    assert fields.data("root_key") == net.root_key
    assert fields.text("replica_health_status") == "healthy"


def test_the_root_page_says_what_this_is(net: LocalNetwork) -> None:
    code, headers, body = request(net, "GET", "/")
    assert code == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert b"Embedded network" in body
    assert "access-control-allow-origin" not in headers
    assert request(net, "HEAD", "/")[0] == 200
    assert request(net, "POST", "/")[0] == 404
    assert request(net, "GET", "/", headers={"Host": "evil.example"})[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/api/v5/canister/aaaaa-aa/call",
        "/api/v4/canister/aaaaa-aa/query",
        "/api/v2/subnet/aaaaa-aa/call",
        "/api/v2/canister/aaaaa-aa/nothing",
        "/elsewhere",
    ],
)
def test_what_is_not_there_is_404(net: LocalNetwork, path: str) -> None:
    assert request(net, "POST", path)[0] == 404


def test_a_text_that_is_no_principal_is_400(net: LocalNetwork) -> None:
    code, _, body = request(net, "POST", "/api/v4/canister/aaaaa-ab/call")
    assert (code, body) == (400, b"not a principal: 'aaaaa-ab'")


def test_a_body_that_is_too_large_is_413_at_once(net: LocalNetwork) -> None:
    path = f"/api/v4/canister/{ANYWHERE}/call"
    assert request(net, "POST", path, bytes(5 * 1024 * 1024))[0] == 413


@pytest.mark.parametrize("origin", ["http://localhost:5173", "https://127.0.0.1:8443"])
def test_pages_of_this_machine_may_speak_to_the_network(net: LocalNetwork, origin: str) -> None:
    path, asked = f"/api/v4/canister/{ANYWHERE}/call", {"Origin": origin}
    code, headers, _ = request(net, "OPTIONS", path, headers=asked)
    assert code == 204
    assert headers["access-control-allow-origin"] == "*"
    assert "Content-Type" in headers["access-control-allow-headers"]


def test_a_refusal_on_arrival_is_a_map_without_a_certificate(
    net: LocalNetwork, client: Client
) -> None:
    for version in ("v2", "v3", "v4"):
        body = client.signed(ANYWHERE, "add", argument(1))
        path = f"/api/{version}/canister/{ANYWHERE}/call"
        code, headers, answer = request(net, "POST", path, body)
        fields = CborFields(cbor.decode(answer), "answer")
        assert (code, headers["content-type"]) == (200, "application/cbor")
        assert fields.text("status") == "non_replicated_rejection"
        assert fields.number("reject_code") == 3
        assert fields.text("error_code") == "IC0301"
        assert str(ANYWHERE) in fields.text("reject_message")


def test_version_two_answers_202_and_tells_later(net: LocalNetwork, client: Client) -> None:
    canister = client.counter()
    body = client.signed(canister, "add", argument(7))
    code, _, answer = request(net, "POST", f"/api/v2/canister/{canister}/call", body)
    assert (code, answer) == (202, b"")
    assert number(client.settled(canister, envelope.parse(body).request_id)) == 7


def test_a_call_to_the_subnet_creates_a_canister(net: LocalNetwork, client: Client) -> None:
    subnet = json.loads((net.directory / "network.json").read_text())["subnet"]
    method = "provisional_create_canister_with_cycles"
    body = client.signed(MANAGEMENT_CANISTER, method, b"DIDL\x01\x6c\0\x01\0")
    code, _, answer = request(net, "POST", f"/api/v4/subnet/{subnet}/call", body)
    assert code == 200
    assert CborFields(cbor.decode(answer), "answer").text("status") == "replied"
    path = f"/api/v4/subnet/{REGISTRY}/call"
    assert request(net, "POST", path, body)[0] == 400


def test_a_number_that_is_too_large_makes_no_sense(net: LocalNetwork) -> None:
    code, _, body = request(net, "GET", f"/_/ledger?after={1 << 70}")
    assert (code, body[:25]) == (400, b"The request makes no sens")


def test_the_ledger_and_the_canisters_are_told(net: LocalNetwork, client: Client) -> None:
    canister = client.counter()
    client.call(canister, "add", argument(2))
    code, headers, body = request(net, "GET", "/_/ledger?after=0")
    assert code == 200
    assert "access-control-allow-origin" not in headers
    told = json.loads(body)
    assert [one for one in told if one["method"] != "rent"] == [
        entry.to_json() for entry in messages(net.ledger())
    ]
    assert messages(net.ledger())[-1].method == "add"
    (mine,) = [each for each in net.canisters() if each["canister"] == canister.text]
    entries = [entry for entry in net.ledger() if entry.canister == canister]
    assert mine["balance_cycles"] in [entry.balance_cycles for entry in entries[-2:]]
    assert mine["status"] == "running"


def test_a_stored_byte_is_found_and_changed(net: LocalNetwork, client: Client) -> None:
    canister = client.counter()
    client.call(canister, "add", argument(0x1122334455667788))
    offset = net.find(canister, bytes.fromhex("8877665544332211"))
    assert offset == 0
    net.flip(canister, offset, 1)
    assert number(client.query(canister, "get")) == 0x1122334455667789
    assert net.find(canister, b"\xee" * 9) is None


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/_/fault/flip", {"canister": str(ANYWHERE), "offset": 0, "xor": 1}),
        ("/_/fault/flip", {"canister": "x", "offset": 0, "xor": 1}),
        ("/_/find", {"needle": "00"}),
        ("/_/nothing", {}),
    ],
)
def test_admin_requests_that_make_no_sense_are_refused(
    net: LocalNetwork, path: str, body: dict[str, object]
) -> None:
    with pytest.raises(LocalNetworkError, match="refused"):
        ask(net.url, path, body)


def test_pages_of_the_web_reach_no_admin_endpoint(net: LocalNetwork) -> None:
    assert request(net, "GET", "/_/ledger", headers={"Host": "evil.example:80"})[0] == 403
    body = json.dumps({"canister": str(ANYWHERE), "needle": "00"}).encode()
    assert request(net, "POST", "/_/find", body, {"Content-Type": "text/plain"})[0] == 415
    code, headers, _ = request(net, "OPTIONS", "/_/find")
    assert code == 404
    assert "access-control-allow-origin" not in headers


def test_an_identity_of_another_curve_is_understood(net: LocalNetwork) -> None:
    where = Network(url=net.url, root_key=net.root_key, name="test")
    with Client(where, identity.anonymous()) as nobody:
        assert number(nobody.call(nobody.counter(), "add", argument(1))) == 1


def ranges_forms(raw: bytes, subnet: Principal) -> tuple[bool, bool]:
    """Tell whether a certificate's delegation shows its ranges as a leaf, and in shards."""
    delegation = CborFields(
        CborFields(cbor.decode(raw), "certificate").take("delegation"), "delegation"
    )
    inner = CborFields(cbor.decode(delegation.data("certificate")), "certificate")
    tree = HashTree.from_cbor(inner.take("tree"))
    leaf = tree.lookup([b"subnet", subnet.raw, b"canister_ranges"])
    shard = tree.lookup([b"canister_ranges", subnet.raw, canister_id(0).raw])
    return isinstance(leaf, bytes), isinstance(shard, bytes)


@pytest.mark.parametrize(
    ("kind", "version", "in_shards"),
    [("canister", "v2", False), ("canister", "v3", True), ("subnet", "v3", False)],
)
def test_a_delegation_shows_its_ranges_as_the_version_asks(
    net: LocalNetwork, client: Client, kind: str, version: str, *, in_shards: bool
) -> None:
    canister = client.counter()
    subnet = Principal.parse(json.loads((net.directory / "network.json").read_text())["subnet"])
    whom = canister if kind == "canister" else subnet
    content = envelope.read_state_content(
        [[b"time"]], sender=ANONYMOUS, ingress_expiry_ns=time.time_ns() + MINUTE_S * SECOND_NS
    )
    body = envelope.sign(identity.anonymous(), content)
    code, _, answer = request(net, "POST", f"/api/{version}/{kind}/{whom}/read_state", body)
    assert code == 200
    certificate = CborFields(cbor.decode(answer), "answer").data("certificate")
    assert ranges_forms(certificate, subnet) == (not in_shards, in_shards)


@pytest.mark.parametrize(("version", "in_shards"), [("v2", False), ("v3", True)])
def test_a_canister_gets_a_certificate_of_the_querys_version(
    net: LocalNetwork, client: Client, version: str, *, in_shards: bool
) -> None:
    canister = client.counter()
    subnet = Principal.parse(json.loads((net.directory / "network.json").read_text())["subnet"])
    for _ in range(2):
        content = envelope.query_content(
            canister,
            "certified",
            b"DIDL\0\0",
            sender=ANONYMOUS,
            ingress_expiry_ns=time.time_ns() + MINUTE_S * SECOND_NS,
        )
        body = envelope.sign(identity.anonymous(), content)
        _, _, answer = request(net, "POST", f"/api/{version}/canister/{canister}/query", body)
        certificate = parse_query_answer(answer).result
        assert isinstance(certificate, bytes)
        assert ranges_forms(certificate, subnet) == (not in_shards, in_shards)


def test_a_browser_that_goes_astray_gets_a_way_back(net: LocalNetwork) -> None:
    code, _, body = request(net, "GET", "/elsewhere", headers={"Accept": "text/html,*/*"})
    assert code == 404
    assert b'href="/"' in body
    code, _, body = request(net, "GET", "/elsewhere")
    assert (code, body) == (404, b"There is nothing at /elsewhere.")
    evil = {"Accept": "text/html", "Host": "evil.example"}
    assert request(net, "GET", "/elsewhere", headers=evil)[0] == 403


def test_names_of_canisters_are_checked(net: LocalNetwork) -> None:
    canister = net.create_canister(name="a counter").id
    _, _, page = request(net, "GET", f"/_/page/canister/{canister}")
    assert b"a counter" in page
    for body in ({"canister": canister.text, "name": ""}, {"canister": "aaaaa-aa", "name": "x"}):
        headers = {"Content-Type": "application/json"}
        said = request(net, "POST", "/_/name", json.dumps(body).encode(), headers=headers)
        assert said[0] == 400
