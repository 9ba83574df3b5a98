"""The pages without HTTP: what they show, what they refuse, how much they read."""

import re
import threading
from dataclasses import replace
from html import unescape

import pytest

from datanode.agent.identity import Identity
from datanode.errors import UsageError
from datanode.localnet.gateway.http import Event, Response
from datanode.localnet.gateway.page import status_pages
from datanode.localnet.gateway.page.items import ITEMS
from datanode.localnet.gateway.page.page_facts import CANISTERS_COUNT, MESSAGES_COUNT
from datanode.localnet.gateway.page.status_pages import Pages
from datanode.localnet.state import ledger, logs
from datanode.localnet.state.canister_names import CanisterNames
from datanode.localnet.state.canister_record import Canister, CanisterSettings
from datanode.localnet.state.fault import Fault, FaultKind
from datanode.localnet.state.ledger import BillEntry
from datanode.localnet.state.message import NotAdmittedError
from datanode.localnet.state.subnet import SubnetChoice
from datanode.principal import ANONYMOUS
from datanode.units import TC
from tests.fakes.counter import argument
from tests.fakes.gateway import Gateway
from tests.fakes.gateway import RejectedError as Rejected


def get(net: Gateway, path: str, host: str = "127.0.0.1:4943") -> Response:
    path, _, query = path.partition("?")
    return Pages(net.page_facts()).respond(
        {
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"host", host.encode())],
        }
    )


def text(net: Gateway, path: str) -> str:
    response = get(net, path)
    assert (response.status, response.kind) == (200, b"text/html; charset=utf-8")
    return response.body.decode()


def sequences(page: str) -> list[int]:
    return [int(number) for number in re.findall(r'class="seq">(\d+)<', page)]


def test_page_of_empty_network(net: Gateway) -> None:
    page = text(net, "/")
    assert "There is no canister yet." in page
    assert "No message was billed yet." in page
    assert net.root_key.hex() in page
    assert net.network.topology.subnet_id.text in page
    assert "older messages" not in page


def test_shows_canister_with_its_cost(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice, 3 * TC)
    record = next(iter(net.network.records.canisters)).canister
    assert record.module_hash is not None
    for path in ("/", "/_/page/canisters", f"/_/page/canister/{canister}"):
        page = text(net, path)
        assert canister.text in page
        assert record.module_hash.hex()[:12] in page
        assert alice.principal.text in page
        assert "3.0000 TC" in page
        assert "9 years" in page


def test_shows_bill_by_item(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.wall.pass_s(100)
    net.call(alice, canister, "add", argument(1))
    (entry,) = ledger.newest(net.network.records.database, 1)
    page = text(net, "/").split('<ol class="messages">')[1].split("</li>")[0]
    assert "ingress" in page
    for item, cycles in entry.items:
        assert f">{item}<" in page
        assert f">{cycles:,}<" in page
        assert ITEMS[item] in page
    assert f">{entry.total_cycles:,}<" in page
    assert f">{entry.balance_cycles:,}<" in page
    assert entry.request_id.hex() in page
    assert alice.principal.text in page


def test_shows_prices_scaled_for_subnet(net: Gateway) -> None:
    net.network.runtime.rules.choose(SubnetChoice(nodes=26))
    prices = {price.item: (price.value, price.unit) for price in net.page_facts().prices()}
    assert prices["ingress byte"] == (4_000, "cycles")
    assert prices["outcall request byte"] == (400, "cycles a node")
    assert prices["reservation longest"] == (300_000_000, "s")


def test_every_ledger_item_has_a_description() -> None:
    listed = {
        name
        for line in (ledger.__doc__ or "").splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }
    assert listed
    assert listed <= ITEMS.keys()


def test_foreign_text_is_truncated_printable_and_escaped(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    for name in ("<script>alert(1)</script>", "\u202egnp.exe\x1b[2J", "m" * 5_000, '"onclick="x'):
        with pytest.raises(Rejected):
            net.call(alice, canister, name, argument(1))
    page = text(net, "/")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert '"onclick=' not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "\\u202e" in page
    assert f'"method">{"m" * 60}...<' in page
    assert "m" * 401 not in page


def test_shows_reject_message(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    with pytest.raises(Rejected):
        net.call(alice, canister, "crash", argument(1))
    with pytest.raises(Rejected):
        net.call(alice, canister, "<b>", argument(1))
    page = text(net, "/")
    assert "Canister called `ic0.trap` with message: &#39;boom&#39;" in page
    assert "has no update method &#39;&lt;b&gt;&#39;" in page
    assert page.count("<dt>Rejected</dt>") == 2


def test_shows_canister_log(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(1))
    assert "<span>added</span>" in text(net, f"/_/page/canister/{canister}")


def test_canister_log_is_escaped(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    slot = net.network.records.canisters.find(canister)
    assert slot is not None
    lines = ["<script>alert(1)</script>", "\x1b[2J\u202e", "x" * 3_000]
    with net.network.records.database.transaction():
        logs.append(net.network.records.database, slot.canister, lines, net.wall())
    page = text(net, f"/_/page/canister/{canister}").split('<ol class="logs">')[1]
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "x" * 240 in page
    assert "x" * 241 not in page


def test_shows_active_faults(net: Gateway, alice: Identity) -> None:
    assert "Faults that are set" not in text(net, "/")
    canister = net.counter(alice)
    kind, name = FaultKind.LOSE_ANSWER, "<b>add"
    number = net.network.traffic.faults.set(
        Fault(kind=kind, canister=canister, method=name, count=1)
    )
    net.network.traffic.faults.set(Fault(kind=FaultKind.LATENCY, parameters=(("ms", 5),)))
    page = text(net, "/").split('<table class="faults">')[1].split("</table>")[0]
    assert f"<td>{number}</td>" in page
    assert "lose-answer" in page
    assert canister.text in page
    assert "&lt;b&gt;add" in page
    assert "ms 5" in page
    assert "everywhere" in page


def test_deleted_canister_keeps_its_bills(net: Gateway, alice: Identity) -> None:
    from datanode.localnet.management import interface_types

    canister = net.counter(alice)
    for method in ("stop_canister", "delete_canister"):
        net.manage(alice, method, interface_types.CANISTER, canister_id=canister)
    page = text(net, f"/_/page/canister/{canister}")
    assert "It is deleted" in page
    assert "burnt" in page
    assert canister.text not in text(net, "/_/page/canisters")


def many(net: Gateway, canisters: int, entries: int) -> None:
    """Fill a network with records, without running anything."""
    network = net.network
    base = Canister(
        id=ANONYMOUS,
        settings=CanisterSettings(controllers=(ANONYMOUS,)),
        balance_cycles=TC,
        charged_ns=net.wall(),
    )
    with network.records.database.transaction():
        slots = [
            network.records.canisters.create(replace(base, id=network.records.canisters.free_id()))
            for _ in range(canisters)
        ]
        for number in range(entries):
            ledger.append(
                network.records.database,
                BillEntry(
                    time_ns=net.wall(),
                    canister=slots[number * number % canisters].canister.id,
                    method=f"method {number}",
                    sender=ANONYMOUS,
                    request_id=bytes(32),
                    envelope_bytes=300,
                    argument_bytes=15,
                    instructions=4_000,
                    items=(("ingress", 1_800_000), ("execution", 5_000_000)),
                    balance_cycles=TC,
                    status="replied",
                ),
            )
    for slot in slots:
        network.records.canisters.enter(slot)


def test_paging_reaches_every_message_and_canister(net: Gateway) -> None:
    canisters, entries = 2 * CANISTERS_COUNT + 7, 4 * MESSAGES_COUNT + 3
    many(net, canisters, entries)
    seen: list[int] = []
    path: str | None = "/"
    while path is not None:
        page = text(net, path)
        seen += sequences(page)
        older = re.search(r'href="([^"]*)">older messages', page)
        path = unescape(older[1]) if older else None
    assert seen == list(range(entries, 0, -1))
    found: list[str] = []
    path = "/"
    while path is not None:
        page = text(net, path)
        found += re.findall(r'scope="row"><a class="id" href="/_/page/canister/([^"]*)"', page)
        more = re.search(r'href="([^"]*)">more canisters', page)
        path = unescape(more[1]) if more else None
    assert found == [slot.canister.id.text for slot in net.network.records.canisters]


def test_canister_page_shows_only_its_messages(net: Gateway) -> None:
    many(net, 5, 100)
    slot = next(iter(net.network.records.canisters))
    own = [
        e.sequence
        for e in ledger.page(net.network.records.database)
        if e.canister == slot.canister.id
    ]
    path = f"/_/page/canister/{slot.canister.id}"
    assert sequences(text(net, path)) == own[::-1]
    assert sequences(text(net, f"{path}?before={own[3]}")) == own[2::-1]


def test_shows_rent_on_request(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    for _ in range(MESSAGES_COUNT + 5):
        net.wall.pass_s(100)
        net.query(alice, canister, "get")
    with pytest.raises(Rejected):
        net.call(alice, canister, "rent", argument(1))
    last = ledger.last_sequence(net.network.records.database)
    for path in ("/", "/_/page/messages", f"/_/page/canister/{canister}"):
        assert sequences(text(net, path)) == [last, 2, 1]
    for path in ("/_/page/messages", f"/_/page/canister/{canister}"):
        found = sequences(text(net, f"{path}?rent=1"))
        assert found == list(range(last, last - MESSAGES_COUNT, -1))


def test_page_of_large_network_runs_few_bounded_queries(
    net: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(net, 1_000, 10_000)
    database = net.network.records.database
    real, read, here = database.rows, [], threading.get_ident()

    def counted(statement: str, values: tuple[int, ...] = ()) -> object:
        rows = real(statement, values)
        if threading.get_ident() != here:
            return rows  # of the timers or the housekeeper
        plan = " ".join(str(row[-1]) for row in real(f"EXPLAIN QUERY PLAN {statement}", values))
        read.append((len(rows), plan))
        return rows

    monkeypatch.setattr(database, "rows", counted)
    canister = next(iter(net.network.records.canisters)).canister.id
    for path in ("/", "/_/page/messages?before=5000", f"/_/page/canister/{canister}?before=9000"):
        read.clear()
        page = text(net, path)
        assert len(page) < 200_000
        assert sum(rows for rows, _ in read) <= MESSAGES_COUNT + 2
        assert len(read) <= 4
        assert not [plan for _, plan in read if "TEMP B-TREE" in plan]
    assert any("ledger_own (canister=? AND sequence<?)" in plan for _, plan in read)


def test_page_policy_forbids_scripts_and_other_origins(net: Gateway) -> None:
    for path in ("/", "/_/page/style.css", "/_/page/icon.svg", "/favicon.ico"):
        headers = dict(get(net, path).headers)
        policy = headers[b"content-security-policy"].decode()
        assert policy.startswith("default-src 'none'")
        assert "script" not in policy
        assert "unsafe" not in policy
        assert headers[b"x-content-type-options"] == b"nosniff"
        assert b"access-control-allow-origin" not in headers
        assert b"refresh" not in headers
    page = text(net, "/")
    assert not re.search(r"<script|style=|\son\w+=|https?:", page)


def test_refresh_header_is_sent_only_on_request(net: Gateway) -> None:
    assert dict(get(net, "/?refresh=5").headers)[b"refresh"] == b"5"
    assert b"refresh" not in dict(get(net, "/?refresh=0").headers)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4943", "127.0.0.1.evil.example", ""]
)
def test_page_requires_loopback_host(net: Gateway, host: str) -> None:
    for path in ("/", "/_/page/style.css", "/_/page/messages"):
        with pytest.raises(NotAdmittedError) as refused:
            get(net, path, host)
        assert refused.value.status == 403
    assert get(net, "/", "localhost:4943").status == 200
    assert get(net, "/", "[::1]:4943").status == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/_/page/", 404),
        ("/_/page/nothing", 404),
        ("/_/page/../facts.py", 404),
        ("/_/page/canister/", 400),
        ("/_/page/canister/x", 400),
        ("/_/page/canister/rwlgt-iiaaa-aaaaa-aaaaa-cai", 404),
        ("/_/page/messages?before=-1", 400),
        ("/_/page/messages?before=99999999999999999999", 400),
        ("/_/page/messages?before=%C2%B2", 400),
        ("/_/page/canisters?after=aaaaa", 400),
        ("/?refresh=often", 400),
        ("/?" + "a=1&" * 100, 400),
    ],
)
def test_an_error_is_a_page_with_ways_back(net: Gateway, path: str, status: int) -> None:
    response = get(net, path)
    assert (response.status, response.kind) == (status, b"text/html; charset=utf-8")
    assert '<a href="/">back to the overview</a>' in response.body.decode()
    assert status_pages.is_page(path.partition("?")[0])


def test_an_error_page_shows_a_hostile_path_as_text(net: Gateway) -> None:
    path = "/<script>x</script>" + "y" * 9_000
    scope: Event = {"path": path, "headers": [(b"host", b"localhost")]}
    response = Pages(net.page_facts()).missing(scope)
    page = response.body.decode()
    assert response.status == 404
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert len(page) < 4_000


def test_a_name_is_shown_beside_its_canister(net: Gateway, alice: Identity) -> None:
    canister = net.create(alice)
    names = CanisterNames(net.network.records.database)
    names.set(canister, "<b>main</b>")
    assert "&lt;b&gt;main&lt;/b&gt;" in text(net, "/")
    assert "&lt;b&gt;main&lt;/b&gt;" in text(net, f"/_/page/canister/{canister}")
    for wrong in ("", "x" * 65, "a\x1b[31m"):
        with pytest.raises(UsageError):
            names.set(canister, wrong)
