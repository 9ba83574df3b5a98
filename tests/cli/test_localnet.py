"""`datanode localnet start`, `time` and `ledger`: what is billed, when, and how it is read."""

import http.client
import json
from collections.abc import Iterator

import pytest

from datanode.agent import identity
from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.localnet.api import LocalNetwork
from datanode.principal import Principal
from datanode.units import DAY_S
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.counter import argument
from uploader.cli import main


class Run:
    """Runs commands on one network and reads what they say."""

    def __init__(self, net: LocalNetwork, capsys: pytest.CaptureFixture[str]) -> None:
        self._net = net
        self._capsys = capsys

    def __call__(self, *command: str, code: int = 0) -> str:
        self._capsys.readouterr()
        words = ["localnet", *command, "--state-dir", str(self._net.directory)]
        assert main(words) == code
        said = self._capsys.readouterr()
        return said.out + said.err

    def json(self, *command: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self(*command, "--json").splitlines()]


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return identity.generate(tmp_path_factory.mktemp("alice") / "identity.pem")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    folder = tmp_path_factory.mktemp("localnet")
    with LocalNetwork(
        folder, fees="code", metering="2026-06", subnet_nodes=34, subnet_used_gib=7
    ) as running:
        yield running


@pytest.fixture(scope="module")
def canisters(net: LocalNetwork, alice: Identity) -> list[Principal]:
    with Client(Network(url=net.url, root_key=net.root_key, name="test"), alice) as client:
        made = [client.counter(), client.counter()]
        for number in range(30):
            client.call(made[0], "add", argument(number))
        client.call(made[1], "add", argument(1))
    return made


@pytest.fixture
def run(net: LocalNetwork, capsys: pytest.CaptureFixture[str]) -> Run:
    return Run(net, capsys)


def test_the_status_says_what_kind_of_subnet_bills(run: Run) -> None:
    told = "34 nodes, fees 'code', metering '2026-06', 7 GiB used by others"
    assert told in run("status")
    (said,) = run.json("status")
    assert said["subnet"] == {
        "fees": "code",
        "metering": "2026-06",
        "nodes": 34,
        "sev": False,
        "used_gib": 7,
    }


def test_prices_may_change_while_it_runs(net: LocalNetwork, run: Run) -> None:
    net.change_subnet(nodes=28, sev=True)
    assert net.subnet()["nodes"] == 28
    assert "28 nodes under SEV" in run("status")
    net.change_subnet(nodes=34, sev=False)
    assert "from now on the subnet is 28 nodes" in (net.directory / "log.txt").read_text()


def test_a_subnet_that_there_cannot_be_is_refused(run: Run) -> None:
    assert "no fee schedule 'cheap'" in run("start", "--fees", "cheap", code=2)


def test_time_passes_on_request_and_is_paid_for(
    net: LocalNetwork, run: Run, canisters: list[Principal]
) -> None:
    before = net.ledger()[-1].sequence
    assert "30h" not in run("time")
    (said,) = run.json("time", "--advance", "30d")
    ahead = said["ahead_ns"]
    assert isinstance(ahead, int)
    assert ahead >= 30 * DAY_S * 10**9
    while len(rents := [e for e in net.ledger(after=before) if e.method == "rent"]) < 2:
        pass
    assert {entry.canister for entry in rents} == set(canisters)
    assert all(dict(entry.items)["base"] >= 10_000 * 34 // 13 * 30 * DAY_S for entry in rents)
    assert "2 times as fast" in run("time", "--rate", "2")
    net.set_rate(1)
    assert net.time()["rate"] == 1


def test_a_time_that_is_none_is_refused(run: Run) -> None:
    assert "is no time" in run("time", "--advance", "soon", code=2)
    assert "ends in the year 2255" in run("time", "--advance", "999999999999d", code=50)


@pytest.mark.usefixtures("canisters")
def test_the_ledger_shows_the_newest_entries_and_says_how_to_see_others(run: Run) -> None:
    shown = run("ledger", "--limit", "5")
    assert "5 of " in shown
    assert "--limit 0 shows all" in shown
    assert shown.count(" add ") <= 5
    assert "ingress" in shown
    assert "instructions" in shown
    page = run.json("ledger", "--after", "3", "--limit", "2")
    assert [line["sequence"] for line in page if line["type"] == "item"] == [4, 5]


def test_the_ledger_of_one_canister_adds_up_to_its_balance(
    net: LocalNetwork, run: Run, canisters: list[Principal]
) -> None:
    *lines, _ = found = run.json("ledger", "--canister", canisters[1].text)
    items = [line for line in lines if line["type"] == "item"]
    assert {line["canister"] for line in items} == {canisters[1].text}
    (balance,) = [
        each["balance_cycles"] for each in net.canisters() if each["canister"] == canisters[1].text
    ]
    summary = found[-1]
    assert summary["cycles"] == -int(str(balance))
    totals = summary["items"]
    assert isinstance(totals, dict)
    assert sum(totals.values()) == summary["cycles"]


def test_status_names_the_page_of_the_network(net: LocalNetwork, run: Run) -> None:
    (said,) = run.json("status")
    assert said["page"] == f"{net.url}/"
    assert f"its page is {net.url}/" in run("status")
    page = http.client.HTTPConnection("127.0.0.1", int(net.url.rsplit(":", 1)[1]), timeout=30)
    page.request("GET", "/")
    assert b"<title>Embedded network</title>" in page.getresponse().read()
    page.close()
