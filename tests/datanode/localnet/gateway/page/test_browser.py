"""The pages in a real browser: nothing runs, everything is read, at every width."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, Request, sync_playwright

from datanode.agent import identity
from datanode.agent.network import Network
from datanode.errors import DataNodeError
from datanode.localnet.api import LocalNetwork
from datanode.principal import Principal
from datanode.units import TC
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.counter import argument
from tests.fakes.ledger_judge import messages

CHROMIUM = Path("/usr/bin/chromium")
WIDTHS = (1280, 820, 390)
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"

CONTRASTS = """() => {
  const channel = c => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const rgb = text => text.match(/[0-9.]+/g).map(Number);
  const behind = element => {
    for (; element; element = element.parentElement) {
      const colour = rgb(getComputedStyle(element).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
    found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), element.className]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing; CI installs it")
        pytest.skip(f"{CHROMIUM} is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that may say nothing on the console, open no dialog and ask nobody else."""
    complaints: list[str] = []

    def failed(request: Request) -> None:
        # A page that is left before its icon has come gives the icon up; that is no complaint.
        if (request.failure, request.url.rsplit("/", 1)[-1]) != ("net::ERR_ABORTED", "icon.svg"):
            complaints.append(request.url)

    def dismissed(dialog: Dialog) -> None:
        complaints.append(dialog.message)
        dialog.dismiss()

    page = browser.new_page()
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", dismissed)
    page.on("requestfailed", failed)
    yield page
    page.close()
    assert not complaints


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNetwork]:
    with LocalNetwork(tmp_path_factory.mktemp("page") / "localnet") as network:
        yield network


@pytest.fixture(scope="module")
def canister(net: LocalNetwork) -> Principal:
    where = Network(url=net.url, root_key=net.root_key, name="test")
    with Client(where, identity.generate(net.directory / "alice.pem")) as client:
        canister = client.counter(3 * TC)
        client.call(canister, "add", argument(2))
        with pytest.raises(DataNodeError):
            client.call(canister, HOSTILE, argument(1))
    return canister


def test_a_browser_shows_canisters_and_messages(
    net: LocalNetwork, canister: Principal, page: Page
) -> None:
    page.goto(net.url)
    assert page.title() == "Embedded network"
    assert canister.text in page.inner_text("table.canisters")
    shown = page.locator(".messages > li").all()
    assert len(shown) == len(messages(net.ledger()))
    assert HOSTILE[:20] in page.inner_text(".messages")
    assert page.locator("script, iframe, form").count() == 0
    assert page.locator(".messages img").count() == 0


def test_bill_opens_without_script(net: LocalNetwork, canister: Principal, page: Page) -> None:
    page.goto(net.url)
    entry = messages(net.ledger())[-2]
    line = page.locator(".messages > li", has_text="add").first
    assert not line.locator(".bill").is_visible()
    line.locator("summary").click()
    assert line.locator(".bill").is_visible()
    bill = line.locator(".bill").inner_text()
    for item, cycles in entry.items:
        assert item in bill
        assert f"{cycles:,}" in bill
    assert entry.request_id.hex() in bill


def test_links_lead_to_canister_and_back(
    net: LocalNetwork, canister: Principal, page: Page
) -> None:
    page.goto(net.url)
    page.click("table.canisters a")
    assert page.url == f"{net.url}/_/page/canister/{canister}"
    assert canister.text in page.inner_text("h1")
    assert "added" in page.inner_text(".logs")
    page.click("text=Messages >> nth=0")
    assert page.url == f"{net.url}/_/page/messages"
    page.click("text=Embedded network >> nth=0")
    assert page.url == f"{net.url}/"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_fits_its_window(
    net: LocalNetwork, canister: Principal, page: Page, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", "/_/page/canisters", "/_/page/messages", f"/_/page/canister/{canister}"):
        page.goto(net.url + path)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(
    net: LocalNetwork, canister: Principal, page: Page, scheme: str
) -> None:
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for path in ("/", f"/_/page/canister/{canister}"):
        page.goto(net.url + path)
        for summary in page.locator("summary").all():
            summary.click()
        page.mouse.move(0, 0)
        found = page.evaluate(CONTRASTS)
        assert len(found) > 50
        assert not [(ratio, name) for ratio, name in found if ratio < 4.5]


def test_page_is_accessible(net: LocalNetwork, canister: Principal, page: Page) -> None:
    for path in ("/", "/_/page/canisters", "/_/page/messages", f"/_/page/canister/{canister}"):
        page.goto(net.url + path)
        assert page.get_attribute("html", "lang") == "en"
        assert page.title()
        assert page.locator("h1").count() == 1
        assert page.locator("main").count() == page.locator("nav[aria-label]").count() == 1
        tables = page.locator("table").all()
        assert all(table.locator("caption").count() == 1 for table in tables)
        assert page.locator("th:not([scope])").count() == 0
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(set(ids)) == len(ids)


def test_page_refreshes_on_request(net: LocalNetwork, canister: Principal, page: Page) -> None:
    page.goto(net.url)
    page.click("text=keep up to date")
    assert page.url == f"{net.url}/?refresh=5"
    with page.expect_navigation(timeout=30_000):
        pass
    page.click("text=stop")
    assert page.url == f"{net.url}/"
