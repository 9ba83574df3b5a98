"""The page of an inference canister: certified, readable, silent about private models."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from datanode.agent.client import Agent
from datanode.agent.hash_tree import UNKNOWN, HashTree
from datanode.errors import DataNodeError
from datanode.inference.client import InferenceNode
from datanode.node import deploy
from datanode.node.canister import CanisterNode
from datanode.node.port import Visibility
from datanode.reader.proof import TrustedVersion, trust_witness
from tests.inference.http_certification import Answer, get, verify
from tests.inference.tiny_node import MODEL, World, loaded

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def public(world: World, agent: Agent, node: InferenceNode) -> Iterator[World]:
    """The node, while its model is loaded and public."""
    loaded(node)
    storage = CanisterNode(agent, world.canister)
    storage.set_visibility(MODEL, Visibility.PUBLIC)
    yield world
    storage.set_visibility(MODEL, Visibility.PRIVATE)


def page_of(world: World, path: str = "/") -> Answer:
    """Get a page, and verify it."""
    answer = get(world.network.url, world.canister, path)
    check(world, answer, path)
    return answer


def check(world: World, answer: Answer, path: str = "/") -> None:
    verify(
        answer,
        path,
        root_key=world.network.root_key,
        canister=world.canister,
        now_ns=time.time_ns(),
    )


def test_page_follows_what_the_canister_runs(public: World, node: InferenceNode) -> None:
    page = page_of(public)
    assert page.status == 200
    for text in (MODEL, "fast", "the whole model", ">loaded<", "256 tokens"):
        assert text in page.text
    node.configure(MODEL, exact=True)
    steps = node.load(max_instructions=20_000_000)
    first = next(steps)
    assert not first.done
    page = page_of(public)
    assert "exact" in page.text
    assert f"loading: {first.chunks_count} of {first.total_count} chunks" in page.text
    list(steps)
    assert ">loaded<" in page_of(public).text


def test_page_says_nothing_of_a_private_model(
    world: World, agent: Agent, node: InferenceNode
) -> None:
    loaded(node)
    private = page_of(world)
    assert MODEL not in private.text
    assert "loaded" not in private.text
    bare = deploy.create_node(agent)
    deploy.promote_node(agent, bare)
    assert get(world.network.url, bare, "/").body == private.body
    storage = CanisterNode(agent, world.canister)
    storage.set_visibility(MODEL, Visibility.PUBLIC)
    try:
        assert MODEL in page_of(world).text
        deploy.upgrade_node(agent, world.canister)
        assert "not loaded" in page_of(world).text
    finally:
        storage.set_visibility(MODEL, Visibility.PRIVATE)
    assert page_of(world).body == private.body


def test_every_path_has_a_certified_answer(public: World) -> None:
    for path in ("/", "/?a=b", "/!", "/index.html", "/a/b?c", "/<$>", "/%3C%2A%3E", "/~"):
        answer = page_of(public, path)
        assert answer.status == (200 if path.startswith("/?") or path == "/" else 404), path
        assert "default-src 'none'" in answer.headers["content-security-policy"]
    for method in ("HEAD", "POST"):
        assert get(public.network.url, public.canister, "/", method).status == 200


def test_no_altered_answer_is_believed(public: World) -> None:
    page, missing = page_of(public), page_of(public, "/missing")
    forged = [
        (Answer(page.status, page.headers, bytes([page.body[0] ^ 1, *page.body[1:]])), "/"),
        (Answer(404, page.headers, page.body), "/"),
        (page.with_header("content-security-policy", "default-src *"), "/"),
        (page, "/missing"),
        (missing, "/"),
    ]
    proof = page.headers["ic-certificate"]
    for at in range(len("certificate=:"), len(proof), 97):
        other = "B" if proof[at] == "A" else "A"
        forged.append(
            (page.with_header("ic-certificate", proof[:at] + other + proof[at + 1 :]), "/")
        )
    for answer, path in forged:
        with pytest.raises((DataNodeError, ValueError, KeyError, AssertionError)):
            check(public, answer, path)


def test_witnesses_prove_models_beside_the_page(public: World, agent: Agent) -> None:
    storage = CanisterNode(agent, public.canister)

    def proven() -> TrustedVersion:
        return trust_witness(
            storage.witness(MODEL),
            root_key=public.network.root_key,
            node=public.canister,
            model=MODEL,
            version=None,
            now_ns=time.time_ns(),
        )

    before = proven()
    storage.set_visibility(MODEL, Visibility.PRIVATE)
    storage.set_visibility(MODEL, Visibility.PUBLIC)
    assert proven().manifest == before.manifest
    shown = HashTree.parse(storage.witness(MODEL).witness)
    assert shown.subtree([b"http_expr"]) is UNKNOWN
    page_of(public)


@contextmanager
def chromium() -> Iterator[Page]:
    """A page that may complain of nothing."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing; CI installs it")
        pytest.skip(f"{CHROMIUM} is not installed: apt-get install chromium")
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        browser.close()
    assert not complaints


def test_a_browser_shows_the_page(public: World) -> None:
    site = public.network.url.replace("127.0.0.1", f"{public.canister}.localhost")
    with chromium() as page:
        page.goto(site)
        assert page.title() == "Inference canister"
        assert page.locator("tr", has_text="Name").locator("td").inner_text() == MODEL
        assert page.locator("tr", has_text="State").locator("td").inner_text() == "loaded"
        assert page.evaluate("getComputedStyle(document.querySelector('th')).textAlign") == "left"
        assert page.locator("script, iframe, form").count() == 0
        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == 390
