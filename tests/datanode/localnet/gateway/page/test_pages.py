"""The pages without HTTP: what they show, what they refuse, how much they read."""

import re
import threading
from dataclasses import replace
from html import unescape

import pytest

from datanode.agent.identity import Identity
from datanode.localnet.gateway.http import Response
from datanode.localnet.gateway.page import pages
from datanode.localnet.gateway.page.facts import CANISTERS_COUNT, MESSAGES_COUNT, Facts
from datanode.localnet.gateway.page.items import ITEMS
from datanode.localnet.gateway.page.pages import Pages
from datanode.localnet.state import ledger, logs
from datanode.localnet.state.canister import Canister, Settings
from datanode.localnet.state.fault import Fault, Kind
from datanode.localnet.state.ledger import Entry
from datanode.localnet.state.message import RefusedError
from datanode.localnet.state.subnet import SubnetChoice
from datanode.principal import ANONYMOUS
from datanode.units import TC
from tests.fakes.counter import argument
from tests.fakes.gateway import Gateway
from tests.fakes.gateway import RejectedError as Rejected


def get(net: Gateway, path: str, host: str = "127.0.0.1:4943") -> Response:
    path, _, query = path.partition("?")
    return Pages(net.network).respond(
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


def test_an_empty_network_has_a_page(net: Gateway) -> None:
    page = text(net, "/")
    assert "There is no canister yet." in page
    assert "No message was billed yet." in page
    assert net.root_key.hex() in page
    assert net.network.topology.subnet_id.text in page
    assert "older messages" not in page


def test_a_canister_is_shown_with_what_it_costs(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice, 3 * TC)
    record = next(iter(net.network.canisters)).canister
    assert record.module_hash is not None
    for path in ("/", "/_/page/canisters", f"/_/page/canister/{canister}"):
        page = text(net, path)
        assert canister.text in page
        assert record.module_hash.hex()[:12] in page
        assert alice.principal.text in page
        assert "3.0000 TC" in page
        assert "9 years" in page


def test_a_bill_is_shown_item_by_item(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.wall.pass_s(100)
    net.call(alice, canister, "add", argument(1))
    (entry,) = ledger.newest(net.network.database, 1)
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


def test_prices_are_those_of_the_subnet_whatever_they_are_scaled_by(net: Gateway) -> None:
    net.network.choose(SubnetChoice(nodes=26))
    prices = {price.item: (price.value, price.unit) for price in Facts(net.network).prices()}
    assert prices["ingress byte"] == (4_000, "cycles")
    assert prices["outcall request byte"] == (400, "cycles a node")
    assert prices["reservation longest"] == (300_000_000, "s")


def test_every_item_of_the_ledger_has_its_words() -> None:
    listed = {
        name
        for line in (ledger.__doc__ or "").splitlines()
        if line.startswith("| `")
        for name in re.findall(r"`([a-z_]+)`", line.split("|")[1])
    }
    assert listed
    assert listed <= ITEMS.keys()


def test_foreign_texts_are_cut_printable_and_escaped(net: Gateway, alice: Identity) -> None:
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


def test_a_rejection_is_told_in_words(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    with pytest.raises(Rejected):
        net.call(alice, canister, "crash", argument(1))
    with pytest.raises(Rejected):
        net.call(alice, canister, "<b>", argument(1))
    page = text(net, "/")
    assert "Canister called `ic0.trap` with message: &#39;boom&#39;" in page
    assert "has no update method &#39;&lt;b&gt;&#39;" in page
    assert page.count("<dt>Rejected</dt>") == 2


def test_what_a_canister_printed_is_shown(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    net.call(alice, canister, "add", argument(1))
    assert "<span>added</span>" in text(net, f"/_/page/canister/{canister}")


def test_what_a_canister_printed_does_nothing_to_the_page(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    slot = net.network.canisters.find(canister)
    assert slot is not None
    lines = ["<script>alert(1)</script>", "\x1b[2J\u202e", "x" * 3_000]
    with net.network.database.transaction():
        logs.append(net.network.database, slot.canister, lines, net.wall())
    page = text(net, f"/_/page/canister/{canister}").split('<ol class="logs">')[1]
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert "x" * 240 in page
    assert "x" * 241 not in page


def test_faults_that_are_set_are_shown(net: Gateway, alice: Identity) -> None:
    assert "Faults that are set" not in text(net, "/")
    canister = net.counter(alice)
    kind, name = Kind.LOSE_ANSWER, "<b>add"
    number = net.network.set_fault(Fault(kind=kind, canister=canister, method=name, count=1))
    net.network.set_fault(Fault(kind=Kind.LATENCY, parameters=(("ms", 5),)))
    page = text(net, "/").split('<table class="faults">')[1].split("</table>")[0]
    assert f"<td>{number}</td>" in page
    assert "lose-answer" in page
    assert canister.text in page
    assert "&lt;b&gt;add" in page
    assert "ms 5" in page
    assert "everywhere" in page


def test_a_deleted_canister_keeps_its_bills(net: Gateway, alice: Identity) -> None:
    from datanode.localnet.management import types

    canister = net.counter(alice)
    for method in ("stop_canister", "delete_canister"):
        net.manage(alice, method, types.CANISTER, canister_id=canister)
    page = text(net, f"/_/page/canister/{canister}")
    assert "It is deleted" in page
    assert "burnt" in page
    assert canister.text not in text(net, "/_/page/canisters")


def many(net: Gateway, canisters: int, entries: int) -> None:
    """Fill a network with records, without running anything."""
    network = net.network
    base = Canister(
        id=ANONYMOUS,
        settings=Settings(controllers=(ANONYMOUS,)),
        balance_cycles=TC,
        charged_ns=net.wall(),
    )
    with network.database.transaction():
        slots = [
            network.canisters.create(replace(base, id=network.canisters.free_id()))
            for _ in range(canisters)
        ]
        for number in range(entries):
            ledger.append(
                network.database,
                Entry(
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
        network.canisters.enter(slot)


def test_every_message_and_canister_is_reached_page_by_page(net: Gateway) -> None:
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
    assert found == [slot.canister.id.text for slot in net.network.canisters]


def test_one_canister_shows_its_own_messages_alone(net: Gateway) -> None:
    many(net, 5, 100)
    slot = next(iter(net.network.canisters))
    own = [e.sequence for e in ledger.page(net.network.database) if e.canister == slot.canister.id]
    path = f"/_/page/canister/{slot.canister.id}"
    assert sequences(text(net, path)) == own[::-1]
    assert sequences(text(net, f"{path}?before={own[3]}")) == own[2::-1]


def test_rent_is_shown_when_it_is_asked_for(net: Gateway, alice: Identity) -> None:
    canister = net.counter(alice)
    for _ in range(MESSAGES_COUNT + 5):
        net.wall.pass_s(100)
        net.query(alice, canister, "get")
    with pytest.raises(Rejected):
        net.call(alice, canister, "rent", argument(1))
    last = ledger.last_sequence(net.network.database)
    for path in ("/", "/_/page/messages", f"/_/page/canister/{canister}"):
        assert sequences(text(net, path)) == [last, 2, 1]
    for path in ("/_/page/messages", f"/_/page/canister/{canister}"):
        found = sequences(text(net, f"{path}?rent=1"))
        assert found == list(range(last, last - MESSAGES_COUNT, -1))


def test_a_page_reads_little_of_a_large_network(
    net: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(net, 1_000, 10_000)
    database = net.network.database
    real, read, here = database.rows, [], threading.get_ident()

    def counted(statement: str, values: tuple[int, ...] = ()) -> object:
        rows = real(statement, values)
        if threading.get_ident() != here:
            return rows  # of the timers or the housekeeper
        plan = " ".join(str(row[-1]) for row in real(f"EXPLAIN QUERY PLAN {statement}", values))
        read.append((len(rows), plan))
        return rows

    monkeypatch.setattr(database, "rows", counted)
    canister = next(iter(net.network.canisters)).canister.id
    for path in ("/", "/_/page/messages?before=5000", f"/_/page/canister/{canister}?before=9000"):
        read.clear()
        page = text(net, path)
        assert len(page) < 200_000
        assert sum(rows for rows, _ in read) <= MESSAGES_COUNT + 2
        assert len(read) <= 3
        assert not [plan for _, plan in read if "TEMP B-TREE" in plan]
    assert "ledger_own (canister=? AND sequence<?)" in read[0][1]


def test_a_page_allows_nothing_from_elsewhere_and_no_script(net: Gateway) -> None:
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


def test_a_page_is_loaded_again_only_when_asked(net: Gateway) -> None:
    assert dict(get(net, "/?refresh=5").headers)[b"refresh"] == b"5"
    assert b"refresh" not in dict(get(net, "/?refresh=0").headers)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4943", "127.0.0.1.evil.example", ""]
)
def test_a_page_is_shown_under_a_name_of_this_machine_only(net: Gateway, host: str) -> None:
    for path in ("/", "/_/page/style.css", "/_/page/messages"):
        with pytest.raises(RefusedError) as refused:
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
def test_what_makes_no_sense_is_refused(net: Gateway, path: str, status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        get(net, path)
    assert refused.value.status == status
    assert pages.is_page(path.partition("?")[0])
