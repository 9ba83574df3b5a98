"""The server's process: started, found, stopped, killed, reset."""

import json
import os
import socket
import time
from pathlib import Path

import pytest

from datanode.agent.identity import Identity
from datanode.agent.network import Network
from datanode.errors import LocalNetworkError
from datanode.localnet import process
from datanode.localnet.api import LocalNetwork
from tests.datanode.localnet.gateway_client import Client
from tests.fakes.counter import argument, number
from tests.fakes.ledger_judge import messages


def test_network_resumes_after_stop(tmp_path: Path, alice: Identity) -> None:
    with LocalNetwork(tmp_path / "net") as net:
        key, url = net.root_key, net.url
        with Client(Network(url=url, root_key=key, name="test"), alice) as client:
            canister = client.counter()
            client.call(canister, "add", argument(5))
        net.stop()
        assert process.status(tmp_path / "net") is None
        assert not (tmp_path / "net" / "network.json").exists()
        assert messages(net.ledger())[-1].method == "add"
        net.start()
        assert (net.root_key, net.url) == (key, url)
        with Client(Network(url=url, root_key=key, name="test"), alice) as client:
            assert number(client.query(canister, "get")) == 5


def test_stale_description_of_killed_process_is_ignored(tmp_path: Path) -> None:
    with LocalNetwork(tmp_path) as net:
        net.kill()
        left = json.loads((tmp_path / "network.json").read_text())
        assert left["url"] == f"http://127.0.0.1:{left['url'].rsplit(':', 1)[1]}"
        assert process.status(tmp_path) is None
        assert process.stop(tmp_path) is False
        net.start()
        running = process.status(tmp_path)
        assert running is not None
        assert running.pid == net.pid != left["pid"]


def test_folder_runs_one_network_at_a_time(tmp_path: Path) -> None:
    with LocalNetwork(tmp_path):
        with pytest.raises(LocalNetworkError, match="already running"):
            process.start(tmp_path, port=0, detach=True)
        with pytest.raises(LocalNetworkError, match="already running"):
            LocalNetwork(tmp_path).start()


def test_names_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalNetworkError, match=f"port {port} is in use"):
            process.start(tmp_path / "net", port=port, detach=True)


def test_reset_deletes_state_and_keys(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    with LocalNetwork(folder) as net:
        key, pid = net.root_key, net.pid
        assert process.reset(folder)
        assert not folder.exists()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(LocalNetworkError, match="no network"):
            process.read_ledger(folder)
        net.start()
        assert net.root_key != key
        assert net.ledger() == []


def test_reset_refuses_folder_without_network(tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text("mine")
    assert not process.reset(tmp_path)
    assert (tmp_path / "letters.txt").read_text() == "mine"


def test_reports_damaged_seed_or_database(tmp_path: Path) -> None:
    for name in ("seed", "network.db"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(b"not what it should be" * 40)
        with pytest.raises(LocalNetworkError, match=name):
            process.start(folder, port=0, detach=True)


def test_stopped_network_has_no_address(tmp_path: Path) -> None:
    with pytest.raises(LocalNetworkError, match="not running"):
        _ = LocalNetwork(tmp_path).url


def test_interrupted_start_leaves_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(time, "sleep", interrupted)
        with pytest.raises(KeyboardInterrupt):
            process.start(tmp_path, port=0, detach=True)
    with LocalNetwork(tmp_path) as net:
        assert net.ledger() == []


def test_stops_right_after_first_answer(tmp_path: Path) -> None:
    for _ in range(5):
        process.start(tmp_path / "net", port=0, detach=True)
        assert process.stop(tmp_path / "net")
