"""datanode.agent.network: a root key is pinned, configured, or asked for here and said so."""

import json
from pathlib import Path

import pytest

from datanode.agent.network import LOCAL_URL, MAINNET_ROOT_KEY, Network, connect, fetch_root_key
from datanode.errors import NetworkError, UsageError
from tests.datanode.agent.hostile_server import talking
from tests.datanode.agent.replica import Replica, serving
from tests.datanode.agent.subnet import APP, ROOT
from tests.datanode.agent.test_transport import says

KEY = ROOT.public_key_der


def never(_: str) -> None:
    raise AssertionError("nothing is to be said")


def test_mainnet_has_a_pinned_key_by_name_and_by_url() -> None:
    network = connect("ic", say=never)
    assert (network.url, network.name) == ("https://icp-api.io", "ic")
    assert network.root_key == MAINNET_ROOT_KEY
    for url in ("https://icp-api.io", "https://ic0.app/", "https://x.icp0.io"):
        assert connect(url, say=never).root_key == MAINNET_ROOT_KEY
    assert connect("ic", root_key=KEY, say=never).root_key == KEY


@pytest.mark.parametrize(
    "url",
    ["http://icp-api.io", "https://example.org", "https://evil-icp-api.io", "http://10.0.0.1:4943"],
)
def test_networks_elsewhere_need_a_configured_key(url: str) -> None:
    with pytest.raises(UsageError, match="no root key"):
        connect(url, say=never)
    assert connect(url, root_key=KEY, say=never) == Network(url, KEY, url)
    with pytest.raises(UsageError, match="must be configured"):
        fetch_root_key(url, say=never)


def test_a_network_on_this_machine_is_asked_and_that_is_said() -> None:
    said: list[str] = []
    with serving(Replica()) as replica:
        network = connect(replica.url, say=said.append)
    assert network.root_key == KEY
    assert len(said) == 1
    assert "because it is on this machine" in said[0]


def test_local_is_the_embedded_network_where_it_says_it_is(tmp_path: Path) -> None:
    state = tmp_path / "network.json"
    state.write_text(json.dumps({"url": "http://127.0.0.1:5000", "root_key": KEY.hex(), "pid": 1}))
    network = connect("local", say=never, local_state=state)
    assert network == Network("http://127.0.0.1:5000", KEY, "local")
    other = APP.public_key_der
    assert connect("local", root_key=other, say=never, local_state=state).root_key == other


@pytest.mark.parametrize(
    "text",
    ["", "[]", "[" * 65_000, "{}",
     '{"url": 1, "root_key": ""}', '{"url": "http://127.0.0.1", "root_key": "zz"}',
     '{"url": "https://example.org", "root_key": ""}', "\xff"],
)  # fmt: skip
def test_a_damaged_or_foreign_state_file_is_refused(tmp_path: Path, text: str) -> None:
    state = tmp_path / "network.json"
    state.write_text(text)
    with pytest.raises(UsageError):
        connect("local", say=never, local_state=state)


def test_without_the_embedded_network_the_usual_port_is_tried(tmp_path: Path) -> None:
    key = connect("local", root_key=KEY, say=never, local_state=tmp_path / "none.json")
    assert key.url == LOCAL_URL


@pytest.mark.parametrize(
    "name",
    ["", "mainnet", "ftp://127.0.0.1", "http://", "http://user@127.0.0.1", "http://127.0.0.1/api",
     "http://127.0.0.1:99999", "http://[::1", "http://127.0.0.1?x", "http://127.0.0.1#x",
     "http://a..b", "http://exa mple.org", "http://exam\tple.org", "http://" + 99 * "a"],
)  # fmt: skip
def test_what_is_neither_name_nor_url_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="not a network"):
        connect(name, root_key=KEY, say=never)


@pytest.mark.parametrize("body", [b"<html>", b"\xa0", b"\xa1\x68root_key\x61x"])
def test_something_else_at_the_port_is_explained(body: bytes) -> None:
    with (
        talking(says("200 OK", body)) as url,
        pytest.raises(NetworkError, match="not answer like an IC endpoint"),
    ):
        connect(url, say=never)
    with talking(says("404 Not Found")) as url, pytest.raises(NetworkError, match="like an IC"):
        connect(url, say=never)


def test_nobody_at_the_port_is_explained_with_the_next_command() -> None:
    with talking(says("200 OK")) as url:
        pass
    with pytest.raises(NetworkError, match="no network answers") as caught:
        connect(url, say=never)
    assert "localnet start" in caught.value.hint


def test_a_root_key_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="root key"):
        Network("http://127.0.0.1", KEY[:-1], "local")
